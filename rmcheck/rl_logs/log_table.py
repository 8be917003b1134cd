"""Tables that trainers write: CSV, JSON Lines, a JSON list, or a `trainer_state.json`."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmcheck.errors import FileError, Problem
from rmcheck.parsing import ParsingError, parse_json
from rmcheck.wording import listed


@dataclass(frozen=True)
class LogRow:
    """One row of a log.

    Attributes:
        where: Its place, as in `line 7` or `entry 7`.
        line: 1-based line, or 0 in a JSON document, where only the entry is known.
        cells: Column name to what stands there; what is missing is not there.
    """

    where: str
    line: int
    cells: dict[str, Any]


def read_log_rows(path: Path) -> list[LogRow]:
    """All rows of a log, in order.

    Raises:
        FileError: The file cannot be read, or is none of the known forms.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _error(path, f"not UTF-8: {error.reason} at byte {error.start + 1}") from error
    except OSError as error:
        raise _error(path, f"cannot be read: {error.strerror or error}") from error
    start = text.lstrip()[:1]
    if not start:
        raise _error(path, "the file is empty")
    if start == "[":
        return _entries(path, _document(path, text))
    if start == "{":
        first = text.lstrip().partition("\n")[0]
        whole = not _is_object(first) or '"log_history"' in first
        return _history(path, _document(path, text)) if whole else _json_lines(path, text)
    return _csv_rows(path, text)


def _csv_rows(path: Path, text: str) -> list[LogRow]:
    header = text.lstrip().splitlines()[0]
    delimiter = max(",\t;", key=header.count)
    reader = csv.reader(text.lstrip().splitlines(), delimiter=delimiter)
    _, first = next(_records(path, reader))
    names = [name.strip() for name in first]
    repeated = sorted({name for name in names if names.count(name) > 1 and name})
    if repeated:
        raise _error(path, f"columns with the same name: {', '.join(repeated)}", line=1)
    skipped = text[: len(text) - len(text.lstrip())].count("\n")
    rows, problems = [], []
    for number, values in _records(path, reader):
        line = number + skipped
        if len(values) > len(names):
            message = f"{len(values)} cells, and the header has {len(names)}"
            problems.append(Problem(str(path), message, line=line))
        pairs = zip(names, values, strict=False)
        cells = {name: cell.strip() for name, cell in pairs if cell.strip()}
        rows.append(LogRow(f"line {line}", line, cells))
    if problems:
        raise FileError(problems)
    return rows


def _records(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of each record of a CSV file."""
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise _error(path, f"not CSV: {error}", line=reader.line_num) from error


def _json_lines(path: Path, text: str) -> list[LogRow]:
    rows, problems = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = parse_json(line)
        except ParsingError as error:
            problems.append(Problem(str(path), _sentence(error), line=number))
            continue
        if isinstance(value, dict):
            rows.append(LogRow(f"line {number}", number, _present(value)))
        else:
            message = f"a row must be an object, not {type(value).__name__}"
            problems.append(Problem(str(path), message, line=number))
    if problems:
        raise FileError(problems)
    return rows


def _history(path: Path, document: dict[str, Any]) -> list[LogRow]:
    """The `log_history` of a Hugging Face trainer."""
    if "log_history" not in document:
        found = listed(document, 10)
        raise _error(
            path, f"a JSON object without log_history (it has: {found}), so no log of a trainer"
        )
    return _entries(path, document["log_history"])


def _entries(path: Path, values: Any) -> list[LogRow]:
    if not isinstance(values, list):
        raise _error(path, f"log_history is {type(values).__name__}; it must be a list")
    wrong = [i for i, value in enumerate(values, start=1) if not isinstance(value, dict)]
    if wrong:
        raise _error(path, f"entries that are no objects: {listed(wrong, 10)}")
    return [LogRow(f"entry {i}", 0, _present(value)) for i, value in enumerate(values, start=1)]


def _document(path: Path, text: str) -> Any:
    try:
        return parse_json(text)
    except ParsingError as error:
        raise _error(path, _sentence(error), line=error.line) from error


def _sentence(error: ParsingError) -> str:
    return f"{error.message} at column {error.column}" if error.column else error.message


def _present(cells: dict[str, Any]) -> dict[str, Any]:
    """The cells that hold something; verl's file has all but the step in an object of its own."""
    inner = cells.get("data")
    flat = cells
    if isinstance(inner, dict):
        flat = {**{name: value for name, value in cells.items() if name != "data"}, **inner}
    return {name: value for name, value in flat.items() if value is not None}


def _is_object(text: str) -> bool:
    try:
        return isinstance(parse_json(text), dict)
    except ParsingError:
        return False


def _error(path: Path, message: str, line: int = 0) -> FileError:
    return FileError([Problem(str(path), message, line=line)])
