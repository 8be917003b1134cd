"""Rows of a CSV file that a person or a laboratory wrote, with the columns that are needed."""

import csv
from collections.abc import Sequence
from pathlib import Path

from rmcheck.errors import UsageError
from rmcheck.wording import listed


def csv_rows(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Each row by column.

    Raises:
        UsageError: The file cannot be read, or a column is missing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows, names = list(reader), reader.fieldnames or ()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read as CSV ({error})") from error
    if lacking := [name for name in needed if name not in names]:
        raise UsageError(
            f"{path}: no column {listed(map(repr, lacking), 5)}. Columns: {listed(names, 20)}."
        )
    return rows
