"""NDR of RL runs that others made, from their trainers' logs: rows for `rmcheck study`.

The runs of a team stand in a CSV file, one a row:

    rm,golden,optimizer,seed,log
    golden,golden,openrlhf-ppo,1,logs/golden-1.jsonl
    rm-a,golden,openrlhf-ppo,1,logs/rm-a-1.jsonl

`rm` is what a policy was trained for, `golden` whose mean reward the log has beside it. Where both
are one, it is golden's own run, which the others of its optimiser and seed are measured by.
"""

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rmcheck.errors import FileError, Problem
from rmcheck.lab.csv_rows import csv_rows
from rmcheck.lab.outcomes.table import STUDIED
from rmcheck.lab.rl.reward import Floats
from rmcheck.parsing import ParsingError, user_path
from rmcheck.rl_logs.log_columns import ROLES, Role, find_columns
from rmcheck.rl_logs.log_table import read_log_rows
from rmcheck.rl_logs.training_log import TrainingLog, read_training_log
from rmcheck.rl_logs.transfer import CONFIDENCE, SeriesInterval, gao_columns
from rmcheck.stats.series_noise import SeriesNoise

NEEDED = ("rm", "golden", "optimizer", "seed", "log")
# Optional columns: the name that a role has in the log.
COLUMNS: Mapping[str, Role] = {f"{role}_column": role for role in ROLES}
MATCHED = ("matched_kl", "ndr_matched")
BOUNDS = ("lower", "upper")
# Of the points of a log, the share that is taken together: its end, and what smooths it.
TAIL = 0.1
FEWEST = 3
# A gain of fewer standard errors is no denominator.
LEAST_ERRORS = 3.0
# Fewer points show no noise that bounds could be made from, nor do residuals that are rounding.
FEWEST_FOR_BOUNDS, ROUNDING = 10, 1e-9
RESAMPLES = 1_000


@dataclass(frozen=True)
class LoggedRun:
    """One RL run of somebody.

    Attributes:
        rm: What the policy was trained for.
        golden: Whose mean reward the log has.
        optimizer: Runs of one are compared.
        seed: Of the run.
        log: Its points.
    """

    rm: str
    golden: str
    optimizer: str
    seed: str
    log: TrainingLog

    @property
    def window(self) -> int:
        """Points that are taken together."""
        return max(FEWEST, round(TAIL * self.log.steps.size))

    @property
    def end(self) -> tuple[float, float]:
        """Golden at the end, and its standard error: the last tenth of the points."""
        tail = self.log.golden[-self.window :]
        return float(tail.mean()), float(tail.std(ddof=1) / np.sqrt(tail.size))

    @cached_property
    def drawn(self) -> tuple[Floats, Floats] | None:
        """(B,) golden at the first point and at the end, with other noise of the log's own.

        None where the log does not show its noise.
        """
        golden, size = self.log.golden, self.log.golden.size
        if size < FEWEST_FOR_BOUNDS:
            return None
        curves = np.polynomial.legendre.legvander(np.linspace(-1, 1, size), min(4, size // 10))
        if np.isfinite(self.log.kl).all():
            curves = np.column_stack([curves, gao_columns(self.path[0])])
        noise = SeriesNoise.of(golden[None], np.linalg.qr(curves)[0])
        if np.abs(noise.left).max() <= ROUNDING * max(1.0, float(np.abs(golden).max())):
            return None
        name = f"{self.rm}\0{self.golden}\0{self.optimizer}\0{self.seed}"
        series = golden + noise.draws(RESAMPLES, seed=zlib.crc32(name.encode()))[0]
        return series[:, 0], series[:, -self.window :].mean(axis=1)

    @property
    def path(self) -> tuple[Floats, Floats]:
        """KL, which only rises, and golden, smoothed; empty where KL is not known."""
        from scipy.optimize import isotonic_regression

        log = self.log
        known = np.isfinite(log.kl)
        if known.sum() < 2 * FEWEST:
            return np.empty(0), np.empty(0)
        ends = np.ones(self.window) / self.window
        padded = np.pad(log.golden, (self.window // 2, (self.window - 1) // 2), mode="edge")
        smooth = np.convolve(padded, ends, mode="valid")
        return np.asarray(isotonic_regression(log.kl[known]).x), smooth[known]


def read_runs(path: Path) -> list[LoggedRun]:
    """The runs of a list; paths of logs are relative to it.

    Raises:
        UsageError: The list cannot be read, or a column is missing.
        FileError: Logs are wrong, or rows lack something; all problems of the list are named.
    """
    rows = csv_rows(path, NEEDED)
    found: list[LoggedRun] = []
    problems: list[Problem] = []
    seen: dict[tuple[str, ...], int] = {}
    for line, row in enumerate(rows, start=2):
        cells = {name: (cell or "").strip() for name, cell in row.items() if name}
        key = tuple(cells[name] for name in NEEDED[:-1])
        if blank := [name for name in NEEDED if not cells[name]]:
            problems.append(Problem(str(path), f"no {' and no '.join(blank)}", line=line))
        elif (first := seen.setdefault(key, line)) != line:
            problems.append(Problem(str(path), f"the same run as in line {first}", line=line))
        else:
            try:
                found.append(_run(path.parent, cells))
            except ParsingError as error:
                problems.append(Problem(str(path), error.message, line=line))
            except FileError as error:
                problems += error.problems
    if problems:
        raise FileError(problems)
    return found


def _run(folder: Path, cells: Mapping[str, str]) -> LoggedRun:
    log = user_path(cells["log"], folder)
    given = {role: cells[name] for name, role in COLUMNS.items() if cells.get(name)}
    if cells["rm"] == cells["golden"] and "golden" not in given:
        names = list(dict.fromkeys(name for row in read_log_rows(log) for name in row.cells))
        roles = find_columns(str(log), names, given, []).role
        # Its training reward is golden's.
        given |= {"golden": roles["proxy"]} if "proxy" in roles else {}
    named = {name: cells[name] for name in NEEDED[:-1]}
    return LoggedRun(**named, log=read_training_log(log, given))


def logged_rows(runs: Sequence[LoggedRun]) -> list[dict[str, Any]]:
    """What a study reads, a row for each run that is not golden's own.

    NDR is golden's gain in the run over its gain in its own run of that optimiser and seed. All
    runs begin with one policy: golden at the start is the mean of the first points of all. `lower`
    and `upper` are one-sided 95 % bounds over the noise of the logs' points, which are batches of
    prompts and responses; they know nothing of other seeds. At a matched KL, the larger one that
    both reach, golden's run counts with the best that it had.
    """
    own = {(run.golden, run.optimizer, run.seed): run for run in runs if run.rm == run.golden}
    starts = {
        golden: [run for run in runs if run.golden == golden]
        for golden in {run.golden for run in runs}
    }
    return [
        dict.fromkeys((*STUDIED, *BOUNDS, *MATCHED), math.nan)
        | {"rm": run.rm, "golden": run.golden, "optimizer": run.optimizer, "seed": run.seed}
        | dict(_judged(run, own.get((run.golden, run.optimizer, run.seed)), starts[run.golden]))
        for run in runs
        if run.rm != run.golden
    ]


def over_seeds(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], SeriesInterval]:
    """Mean NDR of runs that differ in their seed alone, two or more, with bounds by Student's t.

    Unlike those of a run, these bounds know the luck of a seed.
    """
    from scipy.stats import t

    found: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        if math.isfinite(row["ndr"]):
            found.setdefault(tuple(row[key] for key in NEEDED[:3]), []).append(row["ndr"])
    out = {}
    for name, values in found.items():
        if (count := len(values)) > 1:
            reach = t.ppf(CONFIDENCE, count - 1) * np.std(values, ddof=1) / math.sqrt(count)
            mean = float(np.mean(values))
            out[name] = SeriesInterval(mean, mean - float(reach), mean + float(reach))
    return out


def _judged(
    run: LoggedRun, own: LoggedRun | None, alike: Sequence[LoggedRun]
) -> Iterator[tuple[str, Any]]:
    starts = [float(other.log.golden[0]) for other in alike]
    start, (end, _) = float(np.mean(starts)), run.end
    kl = run.log.kl[np.isfinite(run.log.kl)]
    yield "kl", float(kl[-min(run.window, kl.size) :].mean()) if kl.size else math.nan
    yield "golden_gain", end - start
    if own is None:
        yield "note", f"no run of {run.golden} itself by {run.optimizer} with seed {run.seed}"
        return
    best, error = own.end
    if len(starts) > 1:
        error = math.hypot(error, float(np.std(starts, ddof=1)) / math.sqrt(len(starts)))
    if best - start <= LEAST_ERRORS * error:
        yield "note", f"golden's own run gained {best - start:.3g} ± {error:.2g}: no denominator"
        return
    ndr = (end - start) / (best - start)
    yield from {"ndr": ndr, "regret": 1 - ndr, "note": ""}.items()
    yield from zip(BOUNDS, _bounds(ndr, run, own, alike), strict=True)
    yield from _matched(run, own, start, LEAST_ERRORS * error)


def _bounds(
    ndr: float, run: LoggedRun, own: LoggedRun, alike: Sequence[LoggedRun]
) -> tuple[float, float]:
    """One-sided bounds of NDR; NaN where a log does not show its noise."""
    if run.drawn is None or own.drawn is None:
        return math.nan, math.nan
    firsts = [r.log.golden[0] if r.drawn is None else r.drawn[0] for r in alike]
    start = np.mean(np.broadcast_arrays(*firsts), axis=0)
    gain, best = run.drawn[1] - start, own.drawn[1] - start
    found = SeriesInterval.of(ndr, np.where(best > 0, gain / best, np.nan))
    return found.lower, found.upper


def _matched(
    run: LoggedRun, own: LoggedRun, start: float, least: float
) -> Iterator[tuple[str, float]]:
    """NDR at the largest KL that both runs reach (arXiv 2410.05584, eq. 2)."""
    (kl, golden), (own_kl, own_golden) = run.path, own.path
    if not kl.size or not own_kl.size:
        return
    shared = float(min(kl[-1], own_kl[-1]))
    reached = own_golden[own_kl <= shared]
    best = max([*reached, float(np.interp(shared, own_kl, own_golden))]) - start
    if best > least:
        yield "matched_kl", shared
        yield "ndr_matched", (float(np.interp(shared, kl, golden)) - start) / best
