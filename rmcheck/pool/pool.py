"""A pool: prompts, each with its responses, labels and slices."""

import hashlib
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """The text asked and its responses.

    Attributes:
        prompt_id: Unique in the pool.
        messages: The conversation that the responses answer; ends with a turn that is not theirs.
        responses: N answers.
        labels: Column name to one number a response (`golden` by convention, higher is better);
            None where a response was not judged.
        slices: Column name to the prompt's value, such as `category`.
        cluster: Name of the independent unit; prompts cut from one source row share it.
        line: Where it was read: line of the file, or row number counted from 1.
        path: File it was read from, as the user named it.
        indices: Position of each response in its source row. They stay as they are when a
            response is left out, so that a response keeps its name; 0, 1, … unless given.

    Raises:
        ValueError: A label column or `indices` has not one entry a response.
    """

    prompt_id: str
    messages: tuple[Message, ...]
    responses: tuple[str, ...]
    labels: Mapping[str, tuple[float | None, ...]]
    slices: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""
    line: int = 0
    path: str = ""
    indices: tuple[int, ...] = ()
    # No argument, so that no changed copy takes them over.
    _text_keys: tuple[bytes, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.indices:
            object.__setattr__(self, "indices", tuple(range(len(self.responses))))
        for column, values in (*self.labels.items(), ("indices", self.indices)):
            if len(values) != len(self.responses):
                raise ValueError(
                    f"prompt {self.prompt_id!r} has {len(self.responses)} responses "
                    f"and {len(values)} {column}"
                )

    @property
    def text_keys(self) -> tuple[bytes, ...]:
        """`text_keys` of the conversation with each response, hashed once."""
        if not self._text_keys:
            self.set_text_keys(text_keys(self.messages, self.responses))
        return self._text_keys

    def set_text_keys(self, keys: Sequence[bytes]) -> None:
        """Take over keys that were hashed before."""
        object.__setattr__(self, "_text_keys", tuple(keys))


def text_keys(messages: Sequence[Message], responses: Iterable[str]) -> list[bytes]:
    """16 bytes for each response, which name it and its conversation, whatever pool it stands in.

    Scores are stored under them.
    """
    asked = hashlib.blake2b(digest_size=16)
    for message in messages:
        asked.update(f"{len(message.role)}:{message.role}".encode())
        content = message.content.encode("utf-8", "surrogatepass")
        asked.update(b"%d:" % len(content))
        asked.update(content)
    asked.update(b"\x00response\x00")
    keys = []
    for response in responses:
        digest = asked.copy()
        digest.update(response.encode("utf-8", "surrogatepass"))
        keys.append(digest.digest())
    return keys


FaultKind = Literal[
    "malformed_row",  # a field is missing or of another type, or the line is not JSON
    "duplicate_prompt_id",  # two rows have one prompt_id
    "duplicate_row",  # same conversation and same responses as an earlier row
    "identical_answers",  # two responses of a prompt are the same text
    "empty_answer",  # a response is empty or white space
    "differing_prompts",  # chosen and rejected do not answer the same conversation
    "repeated_role",  # two turns in a row by one role
    "missing_label",  # a response without the golden label that others have
]
FaultAction = Literal["fail", "drop", "keep"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with one row of a pool file.

    Attributes:
        kind: What sort of fault.
        line: Line of the file, or row number counted from 1.
        prompt_id: The row's id, where it has one.
        detail: The field and the offending value, in one sentence.
        action: What was done about it: the row failed the read, was dropped, or was kept.
        path: File it stands in, as the user named it.
    """

    kind: FaultKind
    line: int
    prompt_id: str
    detail: str
    action: FaultAction
    path: str = ""


@dataclass(frozen=True)
class Pool:
    """Prompts × responses, as read.

    Attributes:
        path: File or folder as the suite named it, resolved.
        format: Name of the reader that read it.
        prompts: In file order, without the dropped ones.
        faults: Everything found on the way, whatever was done about it.
        rows_read: Rows in the file before anything was dropped.
    """

    path: Path
    format: str
    prompts: tuple[Prompt, ...]
    faults: tuple[Fault, ...] = ()
    rows_read: int = 0

    def __repr__(self) -> str:
        responses = sum(len(p.responses) for p in self.prompts)
        return f"<Pool {self.path.name}: {len(self.prompts)} prompts, {responses} responses>"

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Names of the label columns that any prompt has."""
        return tuple(dict.fromkeys(c for p in self.prompts for c in p.labels))

    @property
    def slice_columns(self) -> tuple[str, ...]:
        """Names of the slice columns that any prompt has."""
        return tuple(dict.fromkeys(c for p in self.prompts for c in p.slices))

    def fingerprint(self) -> str:
        """SHA-256 of ids, conversations, responses, labels and slices: same data, same string."""
        digest = hashlib.sha256(b"2")  # of how it is made
        for prompt in self.prompts:
            texts = prompt.text_keys or text_keys(prompt.messages, [""])
            names = [prompt.prompt_id, prompt.cluster]
            names += [word for item in sorted(prompt.slices.items()) for word in item]
            parts = [b"".join(texts), *(name.encode("utf-8", "surrogatepass") for name in names)]
            for column, values in sorted(prompt.labels.items()):
                numbers = [math.nan if value is None else value for value in values]
                parts += [column.encode(), struct.pack(f"<{len(numbers)}d", *numbers)]
            lengths = [len(prompt.slices), *map(len, parts)]
            digest.update(struct.pack(f"<{len(lengths) + 1}q", len(lengths), *lengths))
            digest.update(b"".join(parts))
        return digest.hexdigest()
