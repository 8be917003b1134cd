"""Which format a file has: told by the fields of its first rows, never by its name."""

from pathlib import Path
from typing import Any

from rmcheck.errors import PoolError, Problem, UsageError, near_miss
from rmcheck.pool.readers import READERS
from rmcheck.pool.readers.reader import Reader
from rmcheck.pool.row import Row, RowFault

# Rows at the beginning of a file that decide its format.
FIRST_ROWS = 20

NumberedRow = tuple[int, dict[str, Any] | RowFault]


def reader_names() -> tuple[str, ...]:
    """What `format:` may be."""
    return tuple(sorted(reader.name for reader in READERS))


def reader_named(name: str) -> Reader:
    """The reader that `format:` names.

    Raises:
        UsageError: There is none; the near miss and all names are shown.
    """
    for reader in READERS:
        if reader.name == name:
            return reader
    hint = near_miss(name, reader_names())
    raise UsageError(f"unknown format {name!r}.{hint} Formats: {', '.join(reader_names())}.")


def detected_reader(file: Path, first: list[NumberedRow]) -> Reader:
    """The format of the first rows.

    Raises:
        PoolError: They have no known format, or more than one.
    """
    rows = [Row(values, line) for line, values in first if isinstance(values, dict)]
    if not rows:
        raise PoolError(
            [
                Problem(str(file), fault.detail, line=line)
                for line, fault in first
                if isinstance(fault, RowFault)
            ]
        )
    lines: dict[str, int] = {}
    matched: dict[str, Reader] = {}
    for row in rows:
        reader = next((r for r in READERS if r.matches(row)), None)
        if reader is not None:
            matched[reader.name] = reader
            lines.setdefault(reader.name, row.line)
    if not matched:
        raise _problem(file, _unknown_format(rows[0]), line=rows[0].line)
    if len(matched) > 1:
        seen = ", ".join(f"{name} (first at {line})" for name, line in lines.items())
        raise _problem(file, f"the rows look like several formats: {seen}; name one with `format:`")
    return next(iter(matched.values()))


def _unknown_format(row: Row) -> str:
    formats = "\n".join(f"  {reader.name}: {reader.fields}" for reader in READERS)
    return (
        f"unknown format: the row has the fields {', '.join(row) or '(none)'}\n"
        f"known formats and their fields:\n{formats}\n"
        "name one with `format:` where the fields alone cannot tell"
    )


def _problem(file: Path, message: str, line: int = 0) -> PoolError:
    return PoolError([Problem(str(file), message, line=line)])
