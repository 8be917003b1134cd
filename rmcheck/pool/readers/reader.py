"""What a reader of one format is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Any

from rmcheck.pool.conversation import same_conversation, split_answer
from rmcheck.pool.pool import Message, Prompt
from rmcheck.pool.row import Row, RowFault

# Labels of (better, worse) and of a pair without a winner.
WIN = (1.0, 0.0)
TIE = (0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Reader:
    """One format in the wild.

    Attributes:
        name: What `format:` calls it.
        fields: Its key fields, as messages show them.
        matches: Whether a row has the shape of this format; fields only, never the file's name.
        prompts: The prompts of one row, without their place in the file, without ids where the
            format has none, and with an empty cluster unless the format knows better than "same
            conversation". It raises a RowFault that ends the row, and yields one that does not.
        grouped: True where a row holds one response, and the rows of one conversation (or of one
            prompt id) make one prompt.
    """

    name: str
    fields: str
    matches: Callable[[Row], bool]
    prompts: Callable[[Row], Iterator[Prompt | RowFault]]
    grouped: bool = False


def has(row: Row, *names: str) -> bool:
    """Whether a row has all these fields."""
    return all(name in row for name in names)


def has_text(row: Row, *names: str) -> bool:
    """Whether all these fields are text."""
    return all(isinstance(row.values.get(name), str) for name in names)


def has_list(row: Row, *names: str, of: type | UnionType = dict) -> bool:
    """Whether all these fields are lists that begin with an item of this type."""
    values = [row.values.get(name) for name in names]
    return all(isinstance(v, list) and v and isinstance(v[0], of) for v in values)


def pair_of_conversations(
    row: Row,
    chosen: tuple[Message, ...],
    rejected: tuple[Message, ...],
    *,
    prompt: tuple[Message, ...] = (),
    prompt_id: str = "",
    labels: dict[str, tuple[float | None, ...]] | None = None,
    slices: dict[str, str] | None = None,
    columns: dict[str, Any] | None = None,
) -> Prompt:
    """The prompt of two conversations (or completions of `prompt`) that end in an answer each.

    Raises:
        RowFault: Their answers belong to different conversations.
    """
    asked, better = split_answer(chosen, "chosen", prompt)
    also_asked, worse = split_answer(rejected, "rejected", prompt)
    return Prompt(
        prompt_id=prompt_id,
        messages=same_conversation(asked, also_asked),
        responses=(better, worse),
        labels={"golden": WIN} | (labels or {}),
        slices=slices or {},
        columns=columns or {},
    )
