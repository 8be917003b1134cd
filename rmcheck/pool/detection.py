"""Which format a file has: told by the fields of its first rows, never by its name."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rmcheck.errors import PoolError, Problem, UsageError, near_miss
from rmcheck.pool.files import sample_first
from rmcheck.pool.readers import READERS
from rmcheck.pool.readers.prompts import PROMPTS
from rmcheck.pool.readers.reader import Reader
from rmcheck.pool.row import SHOWN_NAMES, Row, RowFault
from rmcheck.wording import listed

# Rows at the beginning of a file that decide its format.
FIRST_ROWS = 20

NumberedRow = tuple[int, dict[str, Any] | RowFault]


# Formats that a row nearly has, in a message.
SHOWN_FORMATS = 5
_RENAME = """\
call the fields
  prompt, chosen, rejected      of pairs
  prompt, response, golden      of one response a row, golden a number: higher is better
  prompt, responses, golden     of lists with all responses of a prompt
or as one of the formats that `rmcheck validate --formats` lists"""
# In a suite and on the command line.
_OPTION = "`format:` or `--format`"


def reader_names() -> tuple[str, ...]:
    """What `format:` may be."""
    return tuple(sorted(reader.name for reader in READERS))


def reader_named(name: str, *, or_prompts: bool = False) -> Reader:
    """The reader that `format:` names.

    Raises:
        UsageError: There is none; the near miss and all names are shown.
    """
    readers = {reader.name: reader for reader in (*READERS, *([PROMPTS] if or_prompts else []))}
    if name in readers:
        return readers[name]
    known = sorted(readers)
    raise UsageError(
        f"unknown format {name!r}.{near_miss(name, known)} Formats: {', '.join(known)}."
    )


def detected_reader(file: Path, first: list[NumberedRow], *, prompts_alone: bool = False) -> Reader:
    """The format of the first rows.

    Raises:
        PoolError: They have no known format, or more than one.
    """
    rows = [Row(values, line) for line, values in first if isinstance(values, dict)]
    if not rows:
        raise _problem(file, *_no_row(file, first))
    # Last, since every row of a pool has a prompt.
    readers = (*READERS, PROMPTS) if prompts_alone else READERS
    lines: dict[str, int] = {}
    matched: dict[str, Reader] = {}
    for row in rows:
        reader = next((r for r in readers if r.matches(row)), None)
        if reader is not None:
            matched[reader.name] = reader
            lines.setdefault(reader.name, row.line)
    if not matched:
        raise _problem(file, _unknown_format(file, rows[0], readers), line=rows[0].line)
    if len(matched) > 1:
        seen = ", ".join(f"{name} (first at {line})" for name, line in lines.items())
        raise _problem(file, f"the rows look like several formats: {seen}; name one with {_OPTION}")
    return next(iter(matched.values()))


def _unknown_format(file: Path, row: Row, readers: Iterable[Reader]) -> str:
    found = listed(list(row) or ["(none)"], SHOWN_NAMES)
    lines = [f"unknown format: the row has the fields {found}"]
    if len(row.values) == 1 and isinstance(next(iter(row.values.values())), list):
        lines.append(f"if the rows stand under {found!r}, let the file be that list")
    if PROMPTS in readers:  # and they are what was probably meant
        lines.append(f"  prompts: {PROMPTS.fields}")
    else:
        lines += [_RENAME, *(f"  {near.name}: {near.fields}" for near in _nearest(row, readers))]
        if PROMPTS.matches(row):
            lines.append(f"if these are prompts: {sample_first(file)}")
    return "\n".join([*lines, f"name one with {_OPTION} where the fields alone cannot tell"])


def _nearest(row: Row, readers: Iterable[Reader]) -> list[Reader]:
    """Formats of which the row has fields, not counting the prompt; those with most come first."""
    shared = {
        reader: len({*re.findall(r"\w+", reader.fields)} & {*row} - {"prompt"})
        for reader in readers
    }
    return sorted(filter(shared.get, shared), key=lambda reader: -shared[reader])[:SHOWN_FORMATS]


def _no_row(file: Path, first: list[NumberedRow]) -> tuple[str, int]:
    """What is wrong with the first of the first lines, none of which is a row."""
    (line, fault), *others = first
    more = ""
    if others:
        more = f"; nor are the {len(others)} lines after it rows"
    if others and file.name.lower().endswith((".jsonl", ".ndjson", ".json")):
        more += f". A row is one line: `jq -c . {file.name}` writes objects of several lines so"
    return f"{getattr(fault, 'detail', '')}{more}", line


def _problem(file: Path, message: str, line: int = 0) -> PoolError:
    return PoolError([Problem(str(file), message, line=line)])
