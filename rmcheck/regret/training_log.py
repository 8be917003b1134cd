"""The log of an RL run as points: step, KL, and what the training and the test RM say.

Proxy is the RM that the policy was trained against, golden the RM (or judge, or verifier) that it
was not: the train and test RM of Bai et al. 2022 (arXiv 2204.05862, section 4.2).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import FileError, Problem, near_miss
from rmcheck.regret.log_table import LogRow, read_log_rows
from rmcheck.wording import listed

Role = Literal["step", "kl", "proxy", "golden"]
ROLES: tuple[Role, ...] = ("step", "kl", "proxy", "golden")

# Names under which trainers log these, the most telling first. TRL's PPO logs objective/*, its
# GRPO and RLOO reward and kl; OpenRLHF reward and kl. Not here, because they are something else:
# objective/rlhf_reward and OpenRLHF's return have the KL penalty in them, and policy/approxkl_avg
# is the KL from the policy of the step before, not from the initial one.
KNOWN: Mapping[Role, tuple[str, ...]] = {
    "step": ("step", "global_step", "_step", "trainer/global_step", "steps", "iteration"),
    "kl": ("objective/kl", "kl_nats", "kl"),
    "proxy": ("proxy", "proxy_reward", "objective/scores", "env/reward_mean", "reward"),
    "golden": (
        "golden",
        "gold",
        "golden_reward",
        "gold_reward",
        "eval_golden",
        "eval/golden",
        "rewards/golden/mean",
    ),
}
PENALISED = ("objective/rlhf_reward", "return")
# TRL's GRPO and RLOO, and OpenRLHF, log the mean KL of a token as `kl`, beside one of these.
PER_TOKEN = "kl"
LENGTHS = ("completions/mean_length", "response_length", "completion_length")
# Beside its value, a Weights & Biases export has columns of these for every series.
RANGE_SUFFIXES = ("__MIN", "__MAX")

MIN_POINTS = 10
# Estimates from few samples can fall below 0; a column that often does is no divergence.
MAX_NEGATIVE_SHARE = 0.25
SHOWN = 5


@dataclass(frozen=True)
class TrainingLog:
    """Evaluations of an RL run, in the order of the steps.

    Attributes:
        path: The file.
        steps: (T,) steps, strictly rising.
        kl: (T,) KL from the initial policy in nats a sequence, 0 or more.
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


def read_training_log(path: Path, columns: Mapping[Role, str] | None = None) -> TrainingLog:
    """The points of a log: steps at which KL, proxy and golden are all known.

    Rows of one step are taken together, because trainers log an evaluation in a row of its own.

    Args:
        path: CSV (also of Weights & Biases), JSON Lines, a JSON list, or `trainer_state.json`.
        columns: Names of columns, for roles whose name is not one of `KNOWN`. A KL column given
            here is taken in nats a sequence, whatever its name.

    Raises:
        FileError: Columns are missing or ambiguous, steps are repeated or out of order, cells are
            no finite numbers, or too few points are left; all problems are named.
    """
    rows = read_log_rows(path)
    names = list(dict.fromkeys(name for row in rows for name in row.cells))
    problems: list[Problem] = []
    found = _columns(str(path), names, columns or {}, problems)
    if problems:
        raise FileError(problems)
    length = None
    if "kl" not in (columns or {}) and _plain(found["kl"]) == PER_TOKEN:
        length = next((name for name in names if _plain(name) in LENGTHS), None)
    wanted: dict[str, str] = dict(found.items())
    if length is not None:
        wanted["length"] = length
    steps = _Steps(str(path), problems)
    for row in rows:
        steps.add(row, wanted)
    steps.say_problems()
    if problems:
        raise FileError(problems)
    return _log(str(path), steps, found, length)


def _columns(
    path: str, names: Sequence[str], given: Mapping[Role, str], problems: list[Problem]
) -> dict[Role, str]:
    """The column of each role, or a problem for each that has none."""
    found: dict[Role, str] = {}
    shown = listed((name for name in names if not name.endswith(RANGE_SUFFIXES)), 100)
    for role in ROLES:
        name = given.get(role)
        if name is not None and name not in names:
            message = f"no column {name!r} for {role}.{near_miss(name, names)} Columns: {shown}."
            problems.append(Problem(path, message))
            continue
        matches = [name] if name is not None else _known(role, names)
        if len(matches) == 1:
            found[role] = matches[0]
        elif matches:
            message = f"{role} could be {' or '.join(matches)}; name one with --{role}"
            problems.append(Problem(path, message))
        else:
            problems.append(Problem(path, _missing(role, names, shown)))
    return found


def _known(role: Role, names: Sequence[str]) -> list[str]:
    """Columns with the first of the known names that occurs."""
    for known in KNOWN[role]:
        matches = [name for name in names if _plain(name) == known]
        if matches:
            return matches
    return []


def _missing(role: Role, names: Sequence[str], shown: str) -> str:
    if role == "step" and "Wall time" in names:
        return (
            "a TensorBoard export holds one series a file; join the files of KL, proxy and golden "
            "by their step"
        )
    said = f"no column for {role} (known names: {', '.join(KNOWN[role])}). Columns: {shown}."
    penalised = [name for name in names if _plain(name) in PENALISED]
    if role == "proxy" and penalised:
        said += f" {penalised[0]} has the KL penalty in it and is not what the RM said."
    return f"{said} Name one with --{role}."


def _plain(name: str) -> str:
    """A column name without the run's name and the `train/` that loggers put before it."""
    if name.endswith(RANGE_SUFFIXES):
        return name
    return name.rsplit(" - ", 1)[-1].lower().removeprefix("train/")


class _Steps:
    """Rows gathered by step, and everything wrong with them, kind by kind."""

    def __init__(self, path: str, problems: list[Problem]) -> None:
        self.values: dict[float, dict[str, float]] = {}
        self.left_out: dict[str, int] = {}
        self._path = path
        self._problems = problems
        self._wrong: dict[str, list[tuple[LogRow, str]]] = {}

    def add(self, row: LogRow, wanted: Mapping[str, str]) -> None:
        """Take in what a row says about the wanted columns."""
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
            shown = "; ".join(f"{row.where}: {what}" for row, what in cases[:SHOWN])
            more = f"; and {len(cases) - SHOWN} more" if len(cases) > SHOWN else ""
            message = f"{len(cases)} {kind} ({shown}{more})"
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


def _log(path: str, steps: _Steps, columns: Mapping[Role, str], length: str | None) -> TrainingLog:
    """The points, once nothing is wrong with single rows."""
    roles = ["kl", "proxy", "golden", *(["length"] if length else [])]
    points = steps.points(roles)
    left_out = "; ".join(f"{count} {reason}" for reason, count in steps.left_out.items())
    if len(points) < MIN_POINTS:
        message = (
            f"{len(points)} steps have KL, proxy and golden; {MIN_POINTS} are needed"
            f"{f' ({left_out})' if left_out else ''}"
        )
        raise FileError([Problem(path, message)])
    values = {role: np.array([point[role] for point in points.values()]) for role in roles}
    kl, notes = values["kl"], []
    if length:
        kl = kl * values["length"]
        notes.append(
            f"{columns['kl']!r} is a mean per token in such a log; multiplied by {length!r}. "
            "--kl takes a column as nats a sequence"
        )
    negative = int((kl < 0).sum())
    if negative > MAX_NEGATIVE_SHARE * kl.size:
        message = f"{columns['kl']!r} is below 0 at {negative} of {kl.size} steps, so it is no KL"
        raise FileError([Problem(path, message)])
    if negative:
        notes.append(f"{negative} KL estimates below 0 taken as 0")
    kl = np.maximum(kl, 0.0)
    if np.ptp(kl) == 0:
        raise FileError([Problem(path, f"{columns['kl']!r} is {kl[0]:g} at all {kl.size} steps")])
    return TrainingLog(
        path=path,
        steps=np.array(list(points)),
        kl=kl,
        proxy=values["proxy"],
        golden=values["golden"],
        columns=dict(columns),
        left_out=dict(steps.left_out),
        notes=tuple(notes),
    )


def _number(cell: Any) -> float | None:
    """A finite number, from CSV also as text."""
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        return None
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
