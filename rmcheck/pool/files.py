"""Data files as rows: JSON Lines, a JSON list, or Parquet, the text ones also gzipped.

The container is told by its first bytes, not by its name.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rmcheck.errors import PoolError, Problem, nearest
from rmcheck.parsing import ParsingError, column_values, first_wrong_item, parse_json
from rmcheck.pool.limits import LimitedLines, TooLargeError, Unpacked, special_file
from rmcheck.pool.row import RowFault, malformed
from rmcheck.wording import hub_advice

# Tables are read by their names, see `rmcheck.pool.prompt_files`; prompts alone from texts too.
TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
SUFFIXES = (
    *(".jsonl", ".ndjson", ".json", ".parquet", ".jsonl.gz", ".ndjson.gz", ".json.gz"),
    *TABLES,
)
TEXTS = (".txt", ".txt.gz")
GZIP_MAGIC = b"\x1f\x8b"
PARQUET_MAGIC = b"PAR1"
# What else stands where a pool was expected, by its first bytes.
_KINDS = (
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file with git lfs pull"),
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"pk\x03\x04", "a ZIP archive; unpack it, or save a workbook of Excel as CSV UTF-8"),
    (b"\xff\xfe", "UTF-16; save it as UTF-8"),
    (b"\x28\xb5\x2f\xfd", "packed by Zstandard; unpack it"),
    (b"\xfd7zxz", "packed by xz; unpack it"),
    (b"bzh", "packed by bzip2; unpack it"),
)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def data_files(path: Path) -> list[Path]:
    """The file itself, or every data file below a folder, sorted.

    Raises:
        PoolError: Nothing is there, with the near miss, or a folder holds no data file.
    """
    if path.is_dir():
        below = sorted(p for p in path.rglob("*") if p.is_file())
        files = [
            p for p in below if p.name.lower().endswith(SUFFIXES) and not p.name.startswith(".")
        ]
        if not files:
            found = ", ".join(str(p.relative_to(path)) for p in below[:5]) or "nothing"
            raise _error(
                path, f"no data file ({', '.join(SUFFIXES)}) in this folder; found: {found}"
            )
        return files
    if not path.exists():
        raise _error(path, f"no such file or folder{_neighbours(path)}")
    if wrong := special_file(path):
        raise _error(path, wrong)
    return [path]


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | RowFault]]:
    """Line (or row number, from 1) and fields of each row; a fault in place of a broken one.

    Raises:
        PoolError: The file cannot be read as a whole.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            file.seek(0)
            if not magic:
                raise _error(path, "the file is empty (0 bytes)")
            if magic == PARQUET_MAGIC:
                yield from _parquet_rows(path)
            elif magic.startswith(GZIP_MAGIC):
                with gzip.open(file) as unpacked, gzip_errors(path):
                    yield from _text_rows(path, LimitedLines(unpacked, Unpacked(path)))
            else:
                yield from _text_rows(path, LimitedLines(file, None))
    except TooLargeError as error:
        raise _error(path, str(error)) from error
    except OSError as error:
        raise _error(path, f"cannot be read: {error.strerror or error}") from error


def _text_rows(path: Path, file: LimitedLines) -> Iterator[tuple[int, dict[str, Any] | RowFault]]:
    """Rows of JSON Lines or of a JSON list: whichever the first character says."""
    lines = iter(file)
    for number, line in enumerate(lines, start=1):
        text = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
        if not text.strip():
            continue
        if text.lstrip().startswith(b"["):
            yield from _list_rows(path, text + file.read(), number)
        elif text.lstrip().startswith(b"{"):
            yield number, _parsed(text)
            yield from (
                (n, _parsed(each)) for n, each in enumerate(lines, number + 1) if each.strip()
            )
        else:
            found = _kind(text.lstrip()) or _way_out(path)
            raise _error(path, f"neither JSON Lines, a JSON list nor Parquet{found}", line=number)
        return
    raise _error(path, "the file has no row, only white space")


def _kind(text: bytes) -> str:
    """What a file begins like; its words are not shown, since a suite may name any file."""
    start = text[:64].lower()
    return next((f"; it is {kind}" for begins, kind in _KINDS if start.startswith(begins)), "")


def _parsed(line: bytes) -> dict[str, Any] | RowFault:
    try:
        return _object(parse_json(line.rstrip()))
    except ParsingError as error:
        where = f" at column {error.column}" if error.column else ""
        return malformed(f"{error.message}{where}")


def _list_rows(
    path: Path, text: bytes, first_line: int
) -> Iterator[tuple[int, dict[str, Any] | RowFault]]:
    try:
        values = parse_json(text)
    except ParsingError as error:
        at = error.line or first_wrong_item(text.decode("utf-8", "replace"))
        line = at + first_line - 1 if at else 0
        raise _error(path, error.message, line=line, column=error.column) from error
    if not values:
        raise _error(path, "the file has no row: its list is empty")
    yield from ((number, _object(value)) for number, value in enumerate(values, start=1))


def _object(value: Any) -> dict[str, Any] | RowFault:
    if isinstance(value, dict):
        return value
    return malformed(f"a row must be an object, not {type(value).__name__}")


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | RowFault]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number, unpacked = 0, Unpacked(path)
    try:
        with pq.ParquetFile(path) as file:
            unpacked.add(0, file.metadata.num_rows)
            for batch in file.iter_batches(batch_size=1024):
                unpacked.add(batch.nbytes, 0)
                names = batch.schema.names
                columns = map(column_values, names, batch.columns)
                for values in zip(*columns, strict=True):
                    number += 1
                    yield number, dict(zip(names, values, strict=True))
    except (pa.ArrowException, OSError, ParsingError) as error:
        raise _error(path, f"broken Parquet after row {number}: {error}") from error
    if not number:
        raise _error(path, "the file has no row")


@contextmanager
def gzip_errors(path: Path) -> Iterator[None]:
    """Raises PoolError where gzip says that a file is broken."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _error(path, f"broken gzip: {error}") from error


def _way_out(path: Path) -> str:
    """What is to be done with a table that is not called one, or a text, which holds no pool."""
    if not path.name.lower().endswith(TEXTS):
        return "; a table is told by its name, .csv or .tsv"
    return f". If it holds prompts: {sample_first(path)}"


def sample_first(path: Path) -> str:
    """How a file of prompts becomes a pool."""
    return (
        "a pool has responses too; sample them first, and name the new file:\n"
        f"  rmcheck sample {path} --policy=hf:DIR --responses=16 --out=pool.jsonl"
    )


def _neighbours(path: Path) -> str:
    if not path.parent.is_dir():
        advice = hub_advice(path, " --repo-type dataset")
        return advice or f"; the folder {str(path.parent)!r} is not there either"
    names = sorted(p.name for p in path.parent.iterdir() if not p.name.startswith("."))
    close = nearest(path.name, names)
    if close:
        return f"; did you mean {str(path.with_name(close))!r}?"
    return f"; the folder has: {', '.join(names[:10]) or 'nothing'}"


def _error(path: Path, message: str, line: int = 0, column: int = 0) -> PoolError:
    return PoolError([Problem(str(path), message, line=line, column=column)])
