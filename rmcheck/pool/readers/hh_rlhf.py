r"""HH-RLHF: two transcripts with `\n\nHuman:` and `\n\nAssistant:` before each turn.

Copies that cut the transcripts into `prompt`, `chosen` and `rejected` are put together first.
"""

from collections.abc import Iterator

from rmcheck.pool.conversation import marked_turns
from rmcheck.pool.pool import Prompt
from rmcheck.pool.readers.reader import Reader, has_text, pair_of_conversations
from rmcheck.pool.row import Row, RowFault

FIRST_MARKER = "\n\nHuman:"


def hh_rlhf_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One pair."""
    start = row.text("prompt") if "prompt" in row else ""
    yield pair_of_conversations(
        row,
        marked_turns(start + row.text("chosen"), "chosen"),
        marked_turns(start + row.text("rejected"), "rejected"),
    )


def is_hh_rlhf(row: Row) -> bool:
    """Whether the first text of the transcript opens with the human's turn."""
    first = row.values.get("prompt", row.values.get("chosen"))
    return (
        has_text(row, "chosen", "rejected")
        and isinstance(first, str)
        and first.startswith(FIRST_MARKER)
    )


READERS = (
    Reader(
        name="hh_rlhf",
        fields=r"chosen, rejected (texts that begin with '\n\nHuman:')",
        matches=is_hh_rlhf,
        prompts=hh_rlhf_prompts,
    ),
)
