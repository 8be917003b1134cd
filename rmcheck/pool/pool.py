"""A pool: prompts, each with its responses, labels and slices."""

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, overload

import numpy as np

from rmcheck.pool.columns import Bools, Floats, PoolColumns, Strings
from rmcheck.pool.keys import Keys, as_keys

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: Who speaks.
        content: What is said.
        more: JSON object of what else a chat template reads of a conversation with tools, see
            `rmcheck.pool.tool_calls`; empty for nearly all.
    """

    role: str
    content: str
    more: str = ""

    @property
    def turn(self) -> dict[str, Any]:
        """The turn as pools have it."""
        more = json.loads(self.more) if self.more else {}
        return {"role": self.role, "content": self.content, **more}


@dataclass(frozen=True, slots=True)
class WrongLength:
    """Stands for a column that has neither one value nor one a response."""

    values: int
    responses: int


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
        columns: Further columns, for rewards that ask for them: a tuple has one value a response,
            anything else is the prompt's own value.

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
    columns: Mapping[str, Any] = field(default_factory=dict)
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
    def question(self) -> str:
        """The last turn of the user; empty where there is none."""
        return next((turn.content for turn in reversed(self.messages) if turn.role == "user"), "")

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
    conversation = hashlib.blake2b(digest_size=16)
    for message in messages:
        conversation.update(f"{len(message.role)}:{message.role}".encode())
        content = message.content.encode("utf-8", "surrogatepass")
        conversation.update(b"%d:" % len(content))
        conversation.update(content)
        if message.more:
            more = message.more.encode("utf-8", "surrogatepass")
            conversation.update(b"more%d:" % len(more) + more)
    conversation.update(b"\x00response\x00")
    keys = []
    for response in responses:
        digest = conversation.copy()
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
        prompt_id: The row's id, where it has one.
        action: What was done about it: the row failed the read, was dropped, or was kept.
        path: File it stands in, as the user named it.
    """

    kind: FaultKind
    line: int
    prompt_id: str
    detail: str
    action: FaultAction
    path: str = ""


class LazyPrompts(Sequence[Prompt]):
    """Prompts that are read with all their texts when one of them is asked for.

    Args:
        keys: Gives the (M,) keys of their texts.
        fingerprint: Of their pool, where it is known; else empty.
    """

    def __init__(
        self,
        columns: PoolColumns,
        keys: Callable[[], Keys],
        read: Callable[[], Iterable[Prompt]],
        fingerprint: str = "",
    ) -> None:
        self.columns = columns
        self.fingerprint = fingerprint
        self._keys = keys
        self._read = read

    @cached_property
    def keys(self) -> Keys:
        """(M,) `text_keys`, prompt by prompt."""
        return self._keys()

    @cached_property
    def _prompts(self) -> tuple[Prompt, ...]:
        return tuple(self._read())

    def __len__(self) -> int:
        return int(self.columns.counts.size)

    @overload
    def __getitem__(self, at: int) -> Prompt: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[Prompt, ...]: ...

    def __getitem__(self, at: int | slice) -> Prompt | tuple[Prompt, ...]:
        return self._prompts[at]

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self._prompts)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Sequence) and self._prompts == tuple(other))

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Pool:
    """Prompts × responses, as read.

    Attributes:
        path: File or folder as the suite named it, resolved.
        faults: Everything found on the way, whatever was done about it.
        rows_read: Rows in the file before anything was dropped.
    """

    path: Path
    format: str
    prompts: Sequence[Prompt]
    faults: tuple[Fault, ...] = ()
    rows_read: int = 0

    def __repr__(self) -> str:
        responses = self.columns.indices.size
        return f"<Pool {self.path.name}: {len(self.prompts)} prompts, {responses} responses>"

    @cached_property
    def columns(self) -> PoolColumns:
        """All but the texts, of P prompts and M responses."""
        known = isinstance(self.prompts, LazyPrompts)
        return self.prompts.columns if known else _columns(self.prompts)  # type: ignore[attr-defined]

    @cached_property
    def keys(self) -> Keys:
        """(M,) `text_keys` of all responses, prompt by prompt."""
        if isinstance(self.prompts, LazyPrompts):
            return self.prompts.keys
        return as_keys([key for prompt in self.prompts for key in prompt.text_keys])

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Names of the label columns that any prompt has."""
        return tuple(self.columns.labels)

    @property
    def slice_columns(self) -> tuple[str, ...]:
        """Names of the slice columns that any prompt has."""
        return tuple(self.columns.slices)

    def part(
        self,
        prompts: Bools,
        responses: Bools | None = None,
        labels: Mapping[str, Floats] = MappingProxyType({}),
    ) -> "Pool":
        """Some of the prompts with some of their responses; no text is read for it.

        Responses keep their places in their source rows (`Prompt.indices`), so scores found under
        `(prompt_id, index)` stay theirs.

        Args:
            prompts: (P,) which are kept.
            responses: (M,) which of theirs are kept; None keeps all.
            labels: Column to (M,) numbers that take the place of their own, NaN for none.
        """
        kept = self.columns.per_response(prompts)
        kept = kept if responses is None else kept & responses
        columns = replace(self.columns, labels={**self.columns.labels, **labels})
        lazy = LazyPrompts(
            columns.part(prompts, kept),
            lambda: self.keys[kept],
            lambda: self._cut(prompts, kept, labels),
        )
        return replace(self, prompts=lazy)

    def _cut(
        self, prompts: Bools, responses: Bools, labels: Mapping[str, Floats]
    ) -> Iterator[Prompt]:
        ends = self.columns.ends
        for i in np.flatnonzero(prompts).tolist():
            prompt, here = self.prompts[i], slice(*ends[i : i + 2])
            new = {c: _as_labels(v[here]) for c, v in labels.items() if c in prompt.labels}
            kept = np.flatnonzero(responses[here]).tolist()
            if len(kept) == len(prompt.responses) and not new:
                yield prompt
                continue
            every = {**prompt.labels, **new}
            part = replace(
                prompt,
                responses=tuple(prompt.responses[k] for k in kept),
                labels={name: tuple(values[k] for k in kept) for name, values in every.items()},
                indices=tuple(prompt.indices[k] for k in kept),
                columns={
                    name: tuple(value[k] for k in kept) if isinstance(value, tuple) else value
                    for name, value in prompt.columns.items()
                },
            )
            part.set_text_keys([prompt.text_keys[k] for k in kept])
            yield part

    def fingerprint(self) -> str:
        """SHA-256 of ids, conversations, responses, labels and slices: same data, same string."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        if isinstance(self.prompts, LazyPrompts) and self.prompts.fingerprint:
            return self.prompts.fingerprint
        columns, ends = self.columns, self.columns.ends.tolist()
        keys = self.keys.tobytes()
        labels = [
            (name.encode(), columns.labelled[name].tolist(), values.astype("<f8").tobytes())
            for name, values in sorted(columns.labels.items())
        ]
        slices = [(name, values.tolist()) for name, values in sorted(columns.slices.items())]
        digest = hashlib.sha256(b"2")  # of how it is made
        for i, names in enumerate(zip(columns.prompt_ids, columns.clusters, strict=True)):
            start, end = ends[i], ends[i + 1]
            texts = keys[16 * start : 16 * end]
            texts = texts or text_keys(self.prompts[i].messages, [""])[0]
            mine = [(name, values[i]) for name, values in slices if values[i] is not None]
            words = [*names, *(word for item in mine for word in item)]
            parts = [texts, *(word.encode("utf-8", "surrogatepass") for word in words)]
            for name, has, numbers in labels:
                if has[i]:
                    parts += [name, numbers[8 * start : 8 * end]]
            lengths = [len(mine), *map(len, parts)]
            digest.update(struct.pack(f"<{len(lengths) + 1}q", len(lengths), *lengths))
            digest.update(b"".join(parts))
        return digest.hexdigest()


def _columns(prompts: Sequence[Prompt]) -> PoolColumns:
    """The columns of prompts in memory."""
    labels = dict.fromkeys(column for p in prompts for column in p.labels)
    slices = dict.fromkeys(column for p in prompts for column in p.slices)
    return PoolColumns(
        _strings([p.prompt_id for p in prompts]),
        _strings([p.cluster for p in prompts]),
        _strings([p.path for p in prompts]),
        np.array([p.line for p in prompts], np.int64),
        np.array([len(p.responses) for p in prompts], np.int64),
        np.array([index for p in prompts for index in p.indices], np.int64),
        np.array([len(text) for p in prompts for text in p.responses], np.int64),
        {column: _numbers(prompts, column) for column in labels},
        {column: np.array([column in p.labels for p in prompts], bool) for column in labels},
        {column: _strings([p.slices.get(column) for p in prompts]) for column in slices},
    )


def _numbers(prompts: Sequence[Prompt], column: str) -> Floats:
    values = (p.labels.get(column, (None,) * len(p.responses)) for p in prompts)
    return np.array([value for of_prompt in values for value in of_prompt], np.float64)


def _strings(values: list[Any]) -> Strings:
    found = np.empty(len(values), object)
    found[:] = values
    return found


def _as_labels(values: Floats) -> tuple[float | None, ...]:
    return tuple(None if value != value else value for value in values.tolist())
