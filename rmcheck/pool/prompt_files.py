"""Files of prompts as rows: those of a pool, a table with a header, or a text a line.

A table and a text have no first bytes that tell them: their names do.
"""

import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rmcheck.errors import PoolError, Problem
from rmcheck.parsing import ParsingError, parse_json
from rmcheck.pool.files import (
    BYTE_ORDER_MARK,
    GZIP_MAGIC,
    TABLES,
    TEXTS,
    gzip_errors,
    read_rows,
)
from rmcheck.pool.limits import LimitedLines, TooLargeError, Unpacked
from rmcheck.pool.row import RowFault, malformed


def read_prompt_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | RowFault]]:
    """Line (or row number, from 1) and fields of each row; a fault in place of a broken one.

    Raises:
        PoolError: The file cannot be read as a whole.
    """
    if not path.name.lower().endswith((*TABLES, *TEXTS)):
        yield from read_rows(path)
        return
    content = _content(path)
    if not content.strip():
        raise PoolError([Problem(str(path), "the file has no row, only white space")])
    as_rows = _table_rows if path.name.lower().endswith(TABLES) else _text_rows
    yield from as_rows(path, content)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        if content.startswith(GZIP_MAGIC):
            with gzip.open(path) as file, gzip_errors(path):
                content = LimitedLines(file, Unpacked(path)).read()
    except (OSError, TooLargeError) as error:
        message = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise PoolError([Problem(str(path), message)]) from error
    return content.removeprefix(BYTE_ORDER_MARK)


def _text_rows(path: Path, content: bytes) -> Iterator[tuple[int, dict[str, Any] | RowFault]]:
    """One prompt a line, without the white space around it; empty lines count as none."""
    lines = content.split(b"\n")
    _refuse_json(path, next(line for line in lines if line.strip()))
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield number, {"prompt": line.decode("utf-8").strip()}
        except UnicodeDecodeError as error:
            yield number, malformed(f"not UTF-8: {error.reason} at byte {error.start + 1}")


def _refuse_json(path: Path, line: bytes) -> None:
    try:
        value = parse_json(line)
    except ParsingError:
        return
    if isinstance(value, dict | list):
        raise PoolError(
            [
                Problem(
                    str(path),
                    "a .txt file has one prompt a line, and this one begins with JSON; call it "
                    ".jsonl if its lines are rows",
                )
            ]
        )


def _table_rows(path: Path, content: bytes) -> Iterator[tuple[int, dict[str, Any] | RowFault]]:
    """Rows by the names of the header; an empty cell is a missing field."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        message = f"not UTF-8: {error.reason}; save the table as CSV UTF-8"
        raise PoolError([Problem(str(path), message, line=line)]) from error
    # Excel writes semicolons where a comma is the decimal mark.
    comma = max(",;\t", key=text.lstrip().partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=comma, strict=True)
    try:
        header = [name.strip() for name in next(row for row in reader if row)]
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            message = f"the header names several columns {', '.join(map(repr, twice))}"
            raise PoolError([Problem(str(path), message, line=reader.line_num)])
        before, rows = reader.line_num, 0
        for cells in reader:
            rows += bool(cells)
            # A cell may hold line breaks: a row is named by its first line.
            line, before = before + 1, reader.line_num
            if len(cells) == len(header):
                yield line, {n: c for n, c in zip(header, cells, strict=True) if c.strip()}
            elif cells:
                yield line, malformed(f"{len(cells)} cells; the header names {len(header)} columns")
    except csv.Error as error:
        message = f"not CSV: {error}"
        raise PoolError([Problem(str(path), message, line=reader.line_num)]) from error
    if not rows:
        raise PoolError([Problem(str(path), "the file has no row, only a header")])
