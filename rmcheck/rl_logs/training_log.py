"""The log of an RL run as points: step, KL, and what the training and the test RM say.

Proxy is the RM that the policy was trained against, golden the RM (or judge, or verifier) that it
was not: the train and test RM of Bai et al. 2022 (arXiv 2204.05862, section 4.2).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import FileError, Problem
from rmcheck.parsing import finite_number
from rmcheck.rl_logs.log_columns import LogColumns, Role, find_columns
from rmcheck.rl_logs.log_table import LogRow, read_log_rows
from rmcheck.wording import listed

MIN_POINTS = 10
# Estimates from few samples can fall below 0; a column that often does is no divergence.
MAX_NEGATIVE_SHARE = 0.25
ROWS_SHOWN = 5


@dataclass(frozen=True)
class TrainingLog:
    """Evaluations of an RL run, in the order of the steps.

    Attributes:
        steps: (T,) steps, strictly rising.
        kl: (T,) KL from the initial policy in nats a sequence, 0 or more; NaN where the log does
            not say.
        proxy: (T,) mean reward of the training RM. Higher is better.
        golden: (T,) mean reward of the test RM. Higher is better.
        columns: Role to the column that it was read from.
        left_out: Reason to the number of steps or rows that are no point, harmless ones.
        notes: What was done to the numbers, a sentence each.
    """

    path: str
    steps: NDArray[np.float64]
    kl: NDArray[np.float64]
    proxy: NDArray[np.float64]
    golden: NDArray[np.float64]
    columns: Mapping[Role, str]
    left_out: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def kl_known(self) -> bool:
        """Whether KL was measured often enough to be an axis."""
        return int(np.isfinite(self.kl).sum()) >= MIN_POINTS


def read_training_log(path: Path, columns: Mapping[Role, str] | None = None) -> TrainingLog:
    """The points of a log: steps at which proxy and golden are known.

    Rows of one step are taken together, because trainers log an evaluation in a row of its own.

    Args:
        path: CSV (also of Weights & Biases), JSON Lines (also verl's), a JSON list, or
            `trainer_state.json`.
        columns: Names of columns, for roles whose name is not a known one
            (`rmcheck.rl_logs.log_columns`). A KL column given here is taken in nats a sequence,
            whatever its name.

    Raises:
        FileError: Columns are missing or ambiguous, steps are repeated or out of order, cells are
            no finite numbers, or too few points are left; all problems are named.
    """
    rows = read_log_rows(path)
    names = list(dict.fromkeys(name for row in rows for name in row.cells))
    problems: list[Problem] = []
    found = find_columns(str(path), names, columns or {}, problems)
    if problems:
        raise FileError(problems)
    wanted: dict[str, str] = dict(found.role.items())
    if found.length is not None:
        wanted["length"] = found.length
    steps = _Steps(str(path), problems)
    for row in rows:
        steps.add(row, wanted, found.evaluation_step)
    steps.say_problems()
    if problems:
        raise FileError(problems)
    return _log(str(path), steps, found)


class _Steps:
    """Rows gathered by step, and everything wrong with them, kind by kind."""

    def __init__(self, path: str, problems: list[Problem]) -> None:
        self.values: dict[float, dict[str, float]] = {}
        self.left_out: dict[str, int] = {}
        self._path = path
        self._problems = problems
        self._wrong: dict[str, list[tuple[LogRow, str]]] = {}

    def add(self, row: LogRow, wanted: Mapping[str, str], evaluation_step: str | None) -> None:
        """Take in what a row says about the wanted columns."""
        if evaluation_step in row.cells and wanted["step"] not in row.cells:
            wanted = {**wanted, "step": str(evaluation_step)}
        cells = {role: row.cells[name] for role, name in wanted.items() if name in row.cells}
        measured = [role for role in cells if role not in ("step", "length")]
        if not measured:
            self._leave_out("rows without KL, proxy and golden")
            return
        if "step" not in cells:
            self._note("rows without a step", row, ", ".join(measured))
            return
        numbers = {}
        for role, cell in cells.items():
            number = _number(cell)
            if number is None:
                self._note(f"cells of {wanted[role]!r} that are no finite number", row, repr(cell))
            else:
                numbers[role] = number
        if "step" in numbers:
            self._merge(numbers.pop("step"), numbers, row, wanted)

    def _merge(
        self, step: float, numbers: Mapping[str, float], row: LogRow, wanted: Mapping[str, str]
    ) -> None:
        last = next(reversed(self.values), -math.inf)
        if step < last:
            self._note("steps out of order", row, f"{step:g} after {last:g}")
            return
        known = self.values.setdefault(step, {})
        for role, number in numbers.items():
            if known.setdefault(role, number) != number:
                both = f"step {step:g} has {known[role]:g} and {number:g}"
                self._note(f"steps with two values of {wanted[role]!r}", row, both)

    def say_problems(self) -> None:
        """One problem a kind, with its first rows."""
        for kind, cases in self._wrong.items():
            rows = listed((f"{row.where}: {what}" for row, what in cases), ROWS_SHOWN, "; ")
            message = f"{len(cases)} {kind} ({rows})"
            self._problems.append(Problem(self._path, message, line=cases[0][0].line))

    def _note(self, kind: str, row: LogRow, what: str) -> None:
        self._wrong.setdefault(kind, []).append((row, what))

    def _leave_out(self, reason: str) -> None:
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def points(self, roles: Sequence[str]) -> dict[float, dict[str, float]]:
        """Steps at which all roles are known; the others are counted by what they lack."""
        whole = {}
        for step, known in self.values.items():
            lacking = [role for role in roles if role not in known]
            if lacking:
                self._leave_out(f"steps without {' and '.join(lacking)}")
            else:
                whole[step] = known
        return whole


def _log(path: str, steps: _Steps, columns: LogColumns) -> TrainingLog:
    """The points, once nothing is wrong with single rows."""
    points = steps.points(["proxy", "golden"])
    left_out = "; ".join(f"{count} {reason}" for reason, count in steps.left_out.items())
    if len(points) < MIN_POINTS:
        message = (
            f"{len(points)} steps have proxy and golden; {MIN_POINTS} are needed"
            f"{f' ({left_out})' if left_out else ''}"
        )
        raise FileError([Problem(path, message)])
    kl, notes = _kl(path, list(points.values()), columns)
    return TrainingLog(
        path=path,
        steps=np.array(list(points)),
        kl=kl,
        proxy=np.array([point["proxy"] for point in points.values()]),
        golden=np.array([point["golden"] for point in points.values()]),
        columns=dict(columns.role),
        left_out=dict(steps.left_out),
        notes=(*columns.notes, *notes),
    )


def _kl(
    path: str, points: Sequence[Mapping[str, float]], columns: LogColumns
) -> tuple[NDArray[np.float64], list[str]]:
    """(T,) KL, NaN where it was not measured, and what was done to it."""
    nothing = np.full(len(points), np.nan)
    if "kl" not in columns.role:
        return nothing, ["no column of the KL was found"]
    name = columns.role["kl"]
    lengths = [point.get("length", np.nan) if columns.length else 1.0 for point in points]
    kl = np.array([point.get("kl", np.nan) for point in points]) * np.array(lengths)
    # A trainer that measures KL now and then logs 0 in between; KL is 0 at the start only.
    unmeasured = kl == 0
    unmeasured[0] = False
    kl[unmeasured] = np.nan
    known = np.isfinite(kl)
    notes = []
    if unmeasured.any():
        notes.append(
            f"{name!r} is exactly 0 at {unmeasured.sum()} steps after the first; taken as not "
            f"measured there, which leaves {known.sum()}"
        )
    negative = int((kl[known] < 0).sum())
    if negative > MAX_NEGATIVE_SHARE * known.sum():
        message = f"{name!r} is below 0 at {negative} of {known.sum()} steps, so it is no KL"
        raise FileError([Problem(path, message)])
    if negative:
        notes.append(f"{negative} KL estimates below 0 taken as 0")
    kl[known] = np.maximum(kl[known], 0.0)
    if not kl[known].any():
        return nothing, [*notes, f"{name!r} says nothing about the KL"]
    return kl, notes


def _number(cell: Any) -> float | None:
    """A finite number, from CSV also as text."""
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        return None
    return finite_number(str(cell))
