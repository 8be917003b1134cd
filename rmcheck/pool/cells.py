"""Cells of a table with a header (.csv) as values: numbers where a column holds numbers."""

from collections.abc import Iterator, Sequence
from typing import Any

from rmcheck.pool.row import RowFault

# What people wrote stays text, also where every answer is a number.
ASKED = ("prompt", "question", "instruction", "input")
ANSWERED = ("response", "chosen", "rejected")
TEXTS = frozenset((*ASKED, *ANSWERED, "prompt_id", "id", "source"))
# Of the cells of a column that is meant as numbers; the others are faults of their rows.
MOST = 0.5

NumberedRow = tuple[int, dict[str, Any] | RowFault]


def with_numbers(rows: Sequence[NumberedRow]) -> Iterator[NumberedRow]:
    """The rows of a table, with numbers in each column that holds mostly numbers."""
    cells: dict[str, list[bool]] = {}
    for _, values in rows:
        if isinstance(values, dict):
            for name, text in values.items():
                cells.setdefault(name, []).append(_number(text) is not None)
    numeric = {
        name for name, are in cells.items() if name not in TEXTS and sum(are) > MOST * len(are)
    }
    for line, values in rows:
        if isinstance(values, dict):
            found = {name: _number(values[name]) for name in numeric & values.keys()}
            values = values | {name: number for name, number in found.items() if number is not None}
        yield line, values


def _number(text: str) -> float | int | None:
    """The number that a cell holds, whole where it is written so; None for text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None
