"""Columns of a pool's rows that a reward asks for by name, and what the pool gives."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rmcheck.errors import near_miss
from rmcheck.pool.pool import Pool, Prompt, WrongLength
from rmcheck.wording import listed

# A reward never reads what it is judged by; a suite may call that otherwise.
GOLDEN = frozenset({"golden"})
# Column names that a message lists.
COLUMNS_SHOWN = 30


@dataclass(frozen=True, slots=True)
class AskedColumns:
    """Columns that a reward asks for.

    Attributes:
        needed: Every row must have them.
        optional: Given where the pool has them; None in rows that have not.
        rest: Whether all other columns are given as well, in the same way.
        variables: What the reward can name beside columns, for near misses.
        inside: Column to another one, whose object holds it where rows have no such column.
    """

    needed: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    rest: bool = False
    variables: tuple[str, ...] = ()
    inside: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.needed or self.optional or self.rest)


class Given:
    """The columns that prompts give to a reward."""

    def __init__(self, asked: AskedColumns, pool: Pool, hidden: frozenset[str] = GOLDEN) -> None:
        self._asked, self._pool, self._hidden = asked, pool, hidden
        there = dict.fromkeys(name for prompt in pool.prompts for name in _names(prompt))
        inside = [n for n, outer in asked.inside.items() if outer in there and outer not in hidden]
        self._there = [name for name in dict.fromkeys([*there, *inside]) if name not in hidden]
        named = (*asked.needed, *(n for n in asked.optional if n in self._there))
        rest = self._sound() if asked.rest else ()
        self.names = tuple(dict.fromkeys([*named, *rest]))

    def of(self, prompt: Prompt) -> list[dict[str, Any]]:
        """Column to value, for each of N responses; None where a response has none."""
        columns = {name: self._values(prompt, name) for name in self.names}
        return [
            {name: values[i] for name, values in columns.items()}
            for i in range(len(prompt.responses))
        ]

    def _values(self, prompt: Prompt, name: str) -> tuple[Any, ...]:
        found, outer = _values(prompt, name), self._asked.inside.get(name)
        if outer is None:
            return found
        objects = _values(prompt, outer)
        held = (o.get(name) if isinstance(o, Mapping) else None for o in objects)
        return tuple(other if own is None else own for own, other in zip(found, held, strict=True))

    def _sound(self) -> list[str]:
        """Columns that can be given though nobody named them."""
        wrong = {
            name
            for prompt in self._pool.prompts
            for name, value in prompt.columns.items()
            if isinstance(value, WrongLength)
        }
        return [name for name in self._there if name not in wrong]

    def problem(self) -> str:
        """What the reward asks for and the pool cannot give; empty where it gives everything."""
        return next(self._problems(), "")

    def _problems(self) -> Iterator[str]:
        for name in self._asked.needed:
            if name in self._hidden:
                yield f"column {name!r} is what rewards are judged by, and no reward may read it"
            elif name not in self._there:
                near = near_miss(name, [*self._there, *self._asked.variables])
                there = listed(self._there, COLUMNS_SHOWN)
                yield f"the pool has no column {name!r}.{near} Its columns: {there}."
        for name in self.names:
            yield from self._faults_of(name)

    def _faults_of(self, name: str) -> Iterator[str]:
        lacking = []
        for prompt in self._pool.prompts:
            value = prompt.columns.get(name)
            if isinstance(value, WrongLength):
                yield (
                    f"column {name!r} has {value.values} values for {value.responses} responses "
                    f"({_place(prompt)}); a list has one value a response, and a list of the "
                    f'prompt\'s own stands in an object: {{"{name}": {{"values": […]}}}}'
                )
                return
            if any(value is None for value in self._values(prompt, name)):
                lacking.append(prompt)
        if lacking and name in self._asked.needed:
            yield (
                f"{len(lacking)} of {len(self._pool.prompts)} prompts have no column {name!r}, or "
                f"null in it; the first is {_place(lacking[0])}"
            )


def columns_key(key: bytes, columns: Mapping[str, Any]) -> bytes:
    """A key for rewards that depend on columns as well as on the text.

    Args:
        key: Of the text, or of what a model reads of it.
        columns: Column to value; one without a value counts as none.
    """
    known = {name: value for name, value in columns.items() if value is not None}
    if not known:
        return key
    written = json.dumps(known, sort_keys=True, default=repr).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(key + written, digest_size=16).digest()


def lacking(asked: AskedColumns, rows: Sequence[Mapping[str, Any]]) -> str:
    """The first needed column that one of these rows has not; empty where all have all."""
    return next((n for n in asked.needed for row in rows if row.get(n) is None), "")


def _names(prompt: Prompt) -> Iterable[str]:
    return (*prompt.columns, *prompt.labels, *prompt.slices)


def _values(prompt: Prompt, name: str) -> tuple[Any, ...]:
    """(N,) values of a column."""
    if name in prompt.columns:
        value = prompt.columns[name]
        return value if isinstance(value, tuple) else (value,) * len(prompt.responses)
    if name in prompt.labels:
        return prompt.labels[name]
    return (prompt.slices.get(name),) * len(prompt.responses)


def _place(prompt: Prompt) -> str:
    return f"{prompt.path}, line {prompt.line} ({prompt.prompt_id})"
