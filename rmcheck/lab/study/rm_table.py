"""Reads a table of reward models: one a row, with what was measured and what came of it."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UsageError, near_miss
from rmcheck.lab.csv_rows import csv_cells
from rmcheck.stats.weights import Floats
from rmcheck.wording import excerpt, listed

MIN_ROWS = 5
# Columns of these names number the reward models and measure nothing.
NUMBERING = {"id", "index", "row", "number", "no", "#", ""}


@dataclass(frozen=True, eq=False)
class RmTable:
    """Reward models with numbers and an outcome.

    Attributes:
        name: Of the file.
        outcome_name: The column that is to be predicted.
        outcome: (M,) its values.
        numbers: Other columns of M numbers that differ.
        group_name: The column of lineages or kinds; empty without one.
        groups: (M,) its values; None without one.
        left_out: Other columns to the reason why they are not compared.
        notes: What to know of the rows.
    """

    name: str
    outcome_name: str
    outcome: Floats
    numbers: dict[str, Floats]
    group_name: str
    groups: NDArray[np.str_] | None
    left_out: dict[str, str]
    notes: tuple[str, ...] = ()


def read_rm_table(path: Path, outcome: str, group: str | None = None) -> RmTable:
    """The table of a CSV file with a header.

    Raises:
        UsageError: The file cannot be read, has no such column, fewer than five rows, or an outcome
            or group that is not known everywhere.
    """
    names, rows = _read(path)
    for role, name in (("outcome", outcome), ("group", group)):
        if name is not None and name not in names:
            raise UsageError(
                f"{path}: no column {name!r} for the {role}.{near_miss(name, names)} "
                f"Columns: {listed(names, 30)}."
            )
    if outcome == group:
        raise UsageError(f"{path}: {outcome!r} cannot be both the outcome and the group")
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    values, problem = _numbers(columns[outcome])
    if problem or values is None:
        raise UsageError(f"{path}: the outcome {outcome!r} cannot be used: {problem}")
    if group and (lines := [i + 2 for i, text in enumerate(columns[group]) if not text]):
        raise UsageError(f"{path}: {group!r} is empty in row {listed(lines, 10)}")
    found: dict[str, Floats] = {}
    left_out: dict[str, str] = {}
    for name in names:
        if name in (outcome, group):
            continue
        numbers, why = _numbers(columns[name])
        if name.strip().lower() in NUMBERING:
            why = "it numbers the rows"
        if why or numbers is None:
            left_out[name] = why
        else:
            found[name] = numbers
    if not found:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise UsageError(f"{path}: no column of numbers beside {outcome!r} ({reasons or 'none'})")
    groups = np.array(columns[group]) if group else None
    return RmTable(
        path.name, outcome, values, found, group or "", groups, left_out, _alike(found, values)
    )


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    rows = [[cell.strip() for cell in row] for row in csv_cells(path)]
    if len(rows) <= MIN_ROWS:
        raise UsageError(
            f"{path}: {max(len(rows) - 1, 0)} reward models below the header; {MIN_ROWS} or more "
            "are needed"
        )
    names = rows[0]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{path}: two columns have the name {listed(map(repr, twice), 10)}")
    if wrong := [i + 1 for i, row in enumerate(rows) if len(row) != len(names)]:
        raise UsageError(
            f"{path}: the header has {len(names)} columns; row {listed(wrong, 10)} has another "
            "number"
        )
    return names, rows[1:]


def _numbers(cells: list[str]) -> tuple[Floats | None, str]:
    """(M,) numbers, or why these cells are none."""
    if missing := [i + 2 for i, cell in enumerate(cells) if not cell]:
        return None, f"no value in row {listed(missing, 10)}"
    values = []
    for row, cell in enumerate(cells, start=2):
        try:
            number = float(cell)
        except ValueError:
            return None, f"{excerpt(cell, 30)!r} in row {row} is no number"
        if not math.isfinite(number):
            return None, f"{cell} in row {row} is not finite"
        values.append(number)
    found = np.array(values)
    return (None, f"it is {found[0]:g} in all rows") if np.ptp(found) == 0 else (found, "")


def _alike(numbers: dict[str, Floats], outcome: Floats) -> tuple[str, ...]:
    """Rows that are equal in every number: one reward model, counted twice."""
    rows = np.column_stack([*numbers.values(), outcome])
    _, first, counts = np.unique(rows, axis=0, return_index=True, return_counts=True)
    return tuple(
        f"{count} rows are the same in every number, first row {at + 2}: one reward model counts "
        f"{count} times"
        for at, count in zip(first, counts, strict=True)
        if count > 1
    )
