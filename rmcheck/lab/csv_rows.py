"""Rows of a CSV file that a person or a laboratory wrote."""

import csv
from collections.abc import Sequence
from pathlib import Path

from rmcheck.errors import UsageError
from rmcheck.wording import listed


def csv_cells(path: Path) -> list[list[str]]:
    """The cells of each row that is not empty, the header among them.

    Raises:
        UsageError: The file cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [row for row in csv.reader(file) if row]
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read as CSV ({error})") from error


def csv_rows(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Each row by column; a cell that is not there is empty.

    Raises:
        UsageError: The file cannot be read, or a column is missing.
    """
    names, *rows = csv_cells(path) or [[]]
    if lacking := [name for name in needed if name not in names]:
        raise UsageError(
            f"{path}: no column {listed(map(repr, lacking), 5)}. Columns: {listed(names, 20)}."
        )
    return [dict(zip(names, [*row, *[""] * len(names)], strict=False)) for row in rows]
