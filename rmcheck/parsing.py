"""What others wrote, as plain values: JSON, numbers, paths, Parquet columns.

Python's readers raise a dozen kinds of errors on hostile input; here each is one, with a sentence.
"""

import json
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmcheck.wording import excerpt

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

# Halves of surrogate pairs that may stand alone: as escapes, as raw text, in bytes.
_HALF = re.compile(
    r"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]|[\ud800-\udfff]"
)
_HALF_IN_BYTES = re.compile(
    rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]|\xed[\xa0-\xbf]"
)
_BETWEEN = re.compile(r"[\s,]*")
# Of every file system in use.
_LONGEST_NAME, _LONGEST_PATH = 255, 4095


class ParsingError(ValueError):
    """A text that is not what it should be.

    Attributes:
        message: What is wrong, in one clause.
        line: 1-based line, or 0 where none can be said.
        column: 1-based column, or 0.
    """

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message, self.line, self.column = message, line, column


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; every text in it can be written as UTF-8 again.

    Raises:
        ParsingError: It is no JSON, is nested too deep, names a key of an object twice, or holds a
            number or a character that none can compute with or write.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except ParsingError:
        raise
    except UnicodeDecodeError as error:
        raise ParsingError(f"not UTF-8: {error.reason} at byte {error.start + 1}") from error
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg.removesuffix(' at')}"
        raise ParsingError(message, error.lineno, error.colno) from error
    except RecursionError as error:
        raise ParsingError("not JSON that can be read: nested too deep") from error
    except ValueError as error:  # int() takes no more digits
        raise ParsingError("not JSON that can be read: a number of thousands of digits") from error
    if _has_half(text):
        _refuse_halves(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ParsingError(f"the key {excerpt(twice, 60)!r} stands twice in one object")
    return found


def first_wrong_item(text: str) -> int:
    """The 1-based line on which the first item of a JSON list begins that `parse_json` refuses.

    0 where none of them is wrong by itself.
    """
    decoder, at = json.JSONDecoder(object_pairs_hook=_object), text.index("[") + 1
    while True:
        at += len(_BETWEEN.match(text, at)[0])  # type: ignore[index]  # it matches nothing, too
        try:
            _, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:  # the end of the list
            return 0
        except (ValueError, RecursionError):
            return text.count("\n", 0, at) + 1


def _has_half(text: str | bytes) -> bool:
    # Most texts have none of these, which is found ten times as fast.
    if isinstance(text, str):
        likely = "\\ud" in text or "\\uD" in text or not text.isascii()
        return likely and _HALF.search(text) is not None
    likely = b"\\ud" in text or b"\\uD" in text or b"\xed" in text
    return likely and _HALF_IN_BYTES.search(text) is not None


def _refuse_halves(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise ParsingError(f"half a character ({half!a}), which no file can hold") from error


def as_float(value: float) -> float:
    """A number as float; whole numbers beyond its range are infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def finite_number(text: str) -> float | None:
    """The number that a text is; None where it is none, or infinite."""
    try:
        number = float(text)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def user_path(text: str, base: Path | None = None) -> Path:
    """A path that somebody wrote, `~` expanded, relative to a folder.

    Raises:
        ParsingError: No file can have it.
    """
    shown = f"{excerpt(text, 60)!r} is no path"
    if "\0" in text:
        raise ParsingError(f"{shown}: a zero byte stands in it")
    try:
        path = (base or Path()) / Path(text).expanduser()
        raw = os.fsencode(path)
    except RuntimeError as error:
        raise ParsingError(f"{shown}: there is no user of that name") from error
    except UnicodeEncodeError as error:
        raise ParsingError(f"{shown}: half a character stands in it") from error
    if len(raw) > _LONGEST_PATH or any(len(part) > _LONGEST_NAME for part in raw.split(b"/")):
        raise ParsingError(f"{shown}: it is too long")
    return path


def column_values(name: str, column: "pa.Array | pa.ChunkedArray") -> list[Any]:
    """A Parquet column as plain values; dates and times as text.

    Python's datetime has no nanoseconds, which pandas writes, and no year 10000.

    Raises:
        ParsingError: A value has no plain form.
    """
    plain = _plain_type(column.type)
    try:
        found: list[Any] = (column if plain == column.type else column.cast(plain)).to_pylist()
    except (ValueError, OverflowError, NotImplementedError, TypeError) as error:
        reason = excerpt(str(error), 200)
        raise ParsingError(f"column {name!r} ({column.type}) cannot be read: {reason}") from error
    return found


def column_numbers(column: "pa.Array | pa.ChunkedArray", kind: str = "") -> "NDArray[Any]":
    """An Arrow column of numbers, none of them missing, as an array.

    pyarrow's own `to_numpy` imports pandas where that is installed, for a third of a second.

    Args:
        column: Whole or floating numbers; or values of some bytes each, whose kind is given.
        kind: What numpy calls it, such as `V16`; not given, as the column's type says.
    """
    import numpy as np
    import pyarrow as pa

    if not kind:
        kind = f"{'f' if pa.types.is_floating(column.type) else 'i'}{column.type.bit_width // 8}"
    size = np.dtype(kind).itemsize
    parts = [
        np.frombuffer(part.buffers()[1], kind, len(part), part.offset * size)
        for part in (column.chunks if isinstance(column, pa.ChunkedArray) else [column])
        if len(part)
    ]
    return np.concatenate([np.empty(0, kind), *parts])


def _plain_type(kind: "pa.DataType") -> "pa.DataType":
    import pyarrow as pa

    if pa.types.is_temporal(kind):
        return pa.string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _plain_type(field.type)) for field in kind])
    return kind
