"""Records as text that people review and branches merge: JSON, sorted keys, one value a line."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from rmcheck.errors import Problem, near_miss
from rmcheck.parsing import ParsingError, as_float, parse_json
from rmcheck.wording import excerpt

HASH_DIGITS = 8
Place = tuple[str | int, ...]
T = TypeVar("T")


def written(data: Mapping[str, Any]) -> bytes:
    """The file of a record: the same data give the same bytes."""
    text = json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    # Lone surrogates become JSON's own escapes.
    return f"{text}\n".encode("utf-8", "backslashreplace")


def content_hash(data: Mapping[str, Any]) -> str:
    """Short hash of everything but the time, so that adding a record twice gives one file."""
    content = written({key: value for key, value in data.items() if key != "time"})
    return hashlib.sha256(content).hexdigest()[:HASH_DIGITS]


def time_text(time: datetime) -> str:
    """A time in UTC to the second, as in `2026-11-23T01:13:12Z`."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def line_of(text: str, place: Place) -> int:
    """1-based line of a value in `written` text, or of the nearest thing around it."""
    lines, line = text.splitlines(), 0
    for depth, part in enumerate(place, start=1):
        indent = "  " * depth
        if isinstance(part, str):
            wanted = f"{indent}{json.dumps(part, ensure_ascii=False)}:"
            hits = [i for i in range(line, len(lines)) if lines[i].startswith(wanted)]
            skipped = 0
        else:
            hits = [i for i in range(line, len(lines)) if lines[i] == f"{indent}{{"]
            skipped = part
        if len(hits) <= skipped:
            break
        line = hits[skipped]
    return line + 1


@dataclass
class Fields:
    """The fields of one JSON object, read with their types; what is wrong is collected.

    Reading goes on after a problem with a value of the right type, so that all problems of a file
    come at once. Whoever uses the values must look at `problems` first.

    Attributes:
        path: File it came from, as people see it.
        text: Text of that file, for line numbers; empty where there is none.
        problems: Everything wrong so far, shared by all objects of a file.
    """

    data: dict[str, Any]
    path: str
    text: str
    problems: list[Problem]
    place: Place = ()
    _read: set[str] = field(default_factory=set)

    def string(self, key: str) -> str:
        """A text."""
        value = self._value(key)
        return value if isinstance(value, str) else self._wrong(key, "a text", "")

    def words(self, key: str) -> str:
        """A text that is not empty."""
        found = self.string(key)
        if isinstance(self.data.get(key), str) and not found.strip():
            return self._wrong(key, "a text that is not empty", "")
        return found

    def number(self, key: str) -> float:
        """A finite number."""
        value = self._value(key)
        return float(value) if _is_number(value) else self._wrong(key, "a finite number", 0.0)

    def bound(self, key: str, unbounded: float) -> float:
        """A number, or `unbounded` where null or an infinity says that there is no bound."""
        if key in self.data and self.data[key] in (None, unbounded):
            self._read.add(key)
            return unbounded
        return self.number(key)

    def whole(self, key: str) -> int:
        """A whole number, 0 or more."""
        value = self._value(key)
        valid = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return int(value) if valid else self._wrong(key, "a whole number, 0 or more", 0)

    def time(self, key: str) -> datetime:
        """A time in UTC."""
        value = self._value(key)
        try:
            return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except (TypeError, ValueError):
            fallback = datetime.fromtimestamp(0, UTC)
            return self._wrong(key, "a UTC time such as 2026-11-23T01:13:12Z", fallback)

    def numbers(self, key: str) -> dict[str, float]:
        """Names and finite numbers."""
        inner = self.section(key)
        return {name: inner.number(name) for name in inner.data}

    def anything(self, key: str) -> dict[str, Any]:
        """An object whose fields are free."""
        inner = self.section(key)
        try:
            json.dumps(inner.data, allow_nan=False)
        except ValueError:
            return self._wrong(key, "an object without NaN and infinities", {})
        return inner.data

    def section(self, key: str) -> "Fields":
        """An object inside this one."""
        value = self._value(key)
        data = value if isinstance(value, dict) else self._wrong(key, "an object", {})
        return Fields(data, self.path, self.text, self.problems, (*self.place, key))

    def rows(self, key: str) -> list["Fields"]:
        """A list of objects."""
        value = self._value(key)
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            value = self._wrong(key, "a list of objects", [])
        return [
            Fields(row, self.path, self.text, self.problems, (*self.place, key, i))
            for i, row in enumerate(value)
        ]

    def close(self) -> None:
        """Say which fields nobody asked for."""
        for key in self.data:
            if key not in self._read:
                valid = ", ".join(sorted(self._read))
                hint = near_miss(key, self._read - set(self.data))
                self.say(f"unknown field {key!r}.{hint} Fields: {valid}.", key)

    def say(self, message: str, *key: str) -> None:
        """Note a problem of this object, or of one of its fields."""
        place = (*self.place, *key)
        line = line_of(self.text, place) if self.text else 0
        self.problems.append(Problem(self.path, message, line=line))

    def _value(self, key: str) -> Any:
        self._read.add(key)
        return self.data.get(key)

    def _wrong(self, key: str, valid: str, fallback: T) -> T:
        name = _shown((*self.place, key))
        if key not in self.data:
            self.say(f"{name} is missing; it must be {valid}")
        else:
            shown = excerpt(repr(self.data[key]), 60)
            self.say(f"{name} is {shown}; it must be {valid}", key)
        return fallback


def parsed(text: str, path: str, problems: list[Problem]) -> Fields | None:
    """The object of a file, or None after noting why there is none."""
    try:
        data = parse_json(text)
    except ParsingError as error:
        conflict = re.search(r"^(<{7}|={7}|>{7})", text, re.MULTILINE) if error.line else None
        why = "it holds the marks of a merge conflict" if conflict else error.message
        line = text[: conflict.start()].count("\n") + 1 if conflict else error.line
        problems.append(Problem(path, why, line=line))
        return None
    if not isinstance(data, dict):
        problems.append(Problem(path, f"a record is an object, not {type(data).__name__}", line=1))
        return None
    return Fields(data, path, text, problems)


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(as_float(value))


def _shown(place: Place) -> str:
    """A place as people write it: `checks[3].value`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).lstrip(".")
