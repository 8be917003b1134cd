"""What one design found: rows of a table, charts, and what they say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmcheck.lab.study.measured import Measured
from rmcheck.metrics.rewards import Floats
from rmcheck.reports.charts import Series
from rmcheck.wording import finite

# Rows of a long table that the page shows; the CSV file has all.
SHOWN_ROWS = 60

Cell = str | int | float | None | Measured
Row = Mapping[str, Cell]


@dataclass(frozen=True, eq=False)
class DesignResult:
    """The result of one design.

    Attributes:
        name: Name of its file, such as `table-4`.
        title: Over its section.
        about: What was done, in plain sentences.
        rows: Of its table, all with the same columns.
        figures: Charts as SVG.
        notes: What to know of the numbers.
    """

    name: str
    title: str
    about: str
    rows: Sequence[Row]
    figures: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def titles(self) -> list[str]:
        """Of its columns."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def texts(self) -> list[list[str]]:
        """The cells of its first rows as a page shows them."""
        return [[_shown(row.get(t)) for t in self.titles] for row in self.rows[:SHOWN_ROWS]]

    @property
    def shown_notes(self) -> list[str]:
        """The notes, and where the rows are that no page shows."""
        more = len(self.rows) - SHOWN_ROWS
        told = [f"{more} more rows are in {self.name}.csv"] if more > 0 else []
        return [*self.notes, *told]

    @property
    def data(self) -> list[dict[str, Any]]:
        """All rows as plain data; an interval is three columns, and what is not defined None."""
        return [_flat(row) for row in self.rows]


def _shown(cell: Cell) -> str:
    if cell is None or cell != cell:
        return ""
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _flat(row: Row) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, cell in row.items():
        out |= {name: cell}
        if isinstance(cell, Measured):
            out |= {name: cell.value, f"{name} lower": cell.lower, f"{name} upper": cell.upper}
    return dict(finite(out))


def banded(name: str, x: Floats, measured: Sequence[Measured]) -> Series:
    """A line through (K,) numbers with their intervals as a band."""
    ends = [(one.value, one.lower, one.upper) for one in measured]
    y, lower, upper = np.array(ends, dtype=np.float64).reshape(-1, 3).T
    return Series(name, x, y, lower, upper)
