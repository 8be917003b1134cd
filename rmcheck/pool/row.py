"""One row of a pool file, read with its types checked."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rmcheck.errors import nearest
from rmcheck.parsing import as_float
from rmcheck.pool.pool import FaultKind
from rmcheck.wording import listed

# Fields and columns that a message lists.
SHOWN_NAMES = 30


class RowFault(Exception):
    """Something wrong with the row in hand.

    Raised, it ends the row. A reader may also yield one, which notes the fault and goes on.
    """

    def __init__(self, kind: FaultKind, detail: str) -> None:
        super().__init__(detail)
        self.kind: FaultKind = kind
        self.detail = detail


def malformed(detail: str) -> RowFault:
    """The fault of a field that is missing or of another type than its format says."""
    return RowFault("malformed_row", detail)


class Row:
    """The fields of a row, or of an object inside it. A null field counts as missing.

    Args:
        line: Line of the file, or row number counted from 1.
        place: Where this object stands in its row, such as `completions[2].`; empty for the row.
        file: Name of the file, without its folder; empty where it is not known.
    """

    __slots__ = ("file", "line", "place", "values")

    def __init__(
        self, values: Mapping[str, Any], line: int = 0, place: str = "", file: str = ""
    ) -> None:
        self.values = {name: value for name, value in values.items() if value is not None}
        self.line = line
        self.place = place
        self.file = file

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def get(self, name: str) -> Any:
        """The value of a field.

        Raises:
            RowFault: It is missing or null.
        """
        if name not in self.values:
            owner = self.place.rstrip(".") or "the row"
            raise malformed(f"no field {self.place + name!r}{near(name, self.values, owner)}")
        return self.values[name]

    def text(self, name: str) -> str:
        """A field that must be text."""
        value = self.get(name)
        if not isinstance(value, str):
            raise self.wrong(name, value, "text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A field that must be a list of texts."""
        value = self.get(name)
        if not isinstance(value, list):
            raise self.wrong(name, value, "a list of texts")
        for i, item in enumerate(value):
            if not isinstance(item, str):
                raise self.wrong(f"{name}[{i}]", item, "text")
        return tuple(value)

    def number(self, name: str) -> float:
        """A field that must be a number; true and false are 1 and 0."""
        value = self.get(name)
        if not isinstance(value, int | float):
            raise self.wrong(name, value, "a number")
        return as_float(value)

    def numbers(self, name: str, count: int) -> tuple[float | None, ...]:
        """A field that must hold one number or null for each of `count` responses."""
        value = self.get(name)
        if not isinstance(value, list):
            raise self.wrong(name, value, "a list of numbers")
        for i, item in enumerate(value):
            if item is not None and not isinstance(item, int | float):
                raise self.wrong(f"{name}[{i}]", item, "a number or null")
        if len(value) != count:
            raise malformed(
                f"field {self.place + name!r} has {len(value)} numbers for {count} responses"
            )
        return tuple(None if item is None else as_float(item) for item in value)

    def row(self, name: str) -> "Row":
        """A field that must be an object."""
        value = self.get(name)
        if not isinstance(value, Mapping):
            raise self.wrong(name, value, "an object")
        return Row(value, self.line, f"{self.place}{name}.", self.file)

    def rows(self, name: str) -> list["Row"]:
        """A field that must be a list of objects."""
        value = self.get(name)
        if not isinstance(value, list):
            raise self.wrong(name, value, "a list of objects")
        for i, item in enumerate(value):
            if not isinstance(item, Mapping):
                raise self.wrong(f"{name}[{i}]", item, "an object")
        places = (f"{self.place}{name}[{i}]." for i in range(len(value)))
        return [Row(v, self.line, at, self.file) for v, at in zip(value, places, strict=True)]

    def identifier(self, name: str) -> str:
        """A field that names something: text or a whole number; empty where it is missing."""
        value = self.values.get(name, "")
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.wrong(name, value, "text or a whole number")
        return str(value)

    def slices(self, *names: str) -> dict[str, str]:
        """Slice values of the fields that are there."""
        return {
            name: as_slice(self.values[name]) for name in names if is_scalar(self.values.get(name))
        }

    def other_slices(self, known: Iterable[str]) -> dict[str, str]:
        """Every field with a single value that the format itself gives no meaning to."""
        return self.slices(*(name for name in self.values if name not in set(known)))

    def other_columns(self, known: Iterable[str]) -> dict[str, Any]:
        """Every field that the format itself gives no meaning to, unless a slice holds it whole."""
        left = set(known)
        return {
            name: value
            for name, value in self.values.items()
            if name not in left and not isinstance(value, str)
        }

    def wrong(self, name: str, value: Any, expected: str) -> RowFault:
        """The fault of a field with a value of another type."""
        shown = repr(value)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        kind = type(value).__name__
        return malformed(f"field {self.place + name!r} is {shown} ({kind}); expected {expected}")


def is_scalar(value: Any) -> bool:
    """Whether a value can name a slice: text, a number, true or false. NaN names nothing."""
    return isinstance(value, str | int | float) and value == value


def as_slice(value: Any) -> str:
    """A scalar as the text by which a suite names it; true and false as in YAML and JSON."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def near(name: str, known: Iterable[str], owner: str) -> str:
    """The end of a message about an unknown name: the near miss, and what `owner` has."""
    names = list(known)
    close = nearest(name, names)
    hint = f"; did you mean {close!r}?" if close else ";"
    return f"{hint} {owner} has: {listed(names, SHOWN_NAMES)}"
