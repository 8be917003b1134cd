"""Past reward models whose regret is known: what a calibrated prediction learns from."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from rmcheck.errors import UsageError, near_miss
from rmcheck.history.records import CheckEntry, RegretRecord, RunRecord, Target
from rmcheck.metrics.regret.calibration import CalibrationTable

# Parts of a signature that name models, or how uncertainty was measured: they change no feature.
FREE_PARTS = frozenset({"candidate", "baseline", "confidence", "resamples", "seed"})

# Reasons for which a reward model is not in a table, in the order in which they are looked at.
OWN = "the reward model itself"
NO_RUN = "regret without a run"
OTHER_POOL = "another pool"
OTHER_GOLDEN = "another golden"
OTHER_LINEAGE = "another lineage"
NO_METRIC = "metric not measured"
OTHER_VERSION = "another version or settings of the metric"
NO_FEATURE = "a feature is missing"
NO_REGRET = "no regret yet"
OTHER_TARGET = "regret at another n or KL, or of another optimizer"


@dataclass(frozen=True)
class Basis:
    """What a past run must share with the new one to be comparable.

    Attributes:
        golden: Fingerprint of the golden RM, or where a golden column came from.
        metric: Name of the metric whose facts are the features.
        signature: Its comparable signature (see `comparable`).
        lineage: Of the reward models, which counts where RL is foretold.
    """

    pool_fingerprint: str
    golden: str
    metric: str
    signature: str
    lineage: str = ""

    @classmethod
    def of_check(cls, run: RunRecord, check: CheckEntry, *, ignored: Collection[str] = ()) -> Self:
        """What a check of the history was measured on."""
        signature = comparable(check.signature, ignored)
        return cls(run.pool_fingerprint, golden_of(run), check.metric, signature, run.lineage)


def check_at(run: RunRecord, metric: str, target: Target) -> CheckEntry:
    """The check of a metric at a target, on the whole pool where there are slices as well.

    A metric without a setting of the target's kind is the same at every target.

    Raises:
        UsageError: The run has no such check, or several.
    """
    checks = [check for check in run.checks if check.metric == metric]
    if not checks:
        names = {check.metric for check in run.checks}
        raise UsageError(
            f"run {run.id} has no check of the metric {metric!r}.{near_miss(metric, names)} "
            f"Metrics: {', '.join(sorted(names)) or 'none'}."
        )
    settings = [check.settings.get(target.kind, target.value) for check in checks]
    found = [c for c, value in zip(checks, settings, strict=True) if value == target.value]
    found = [check for check in found if not check.slice] or found
    if len({comparable(check.signature) for check in found}) == 1:
        return found[0]
    there = "; ".join(comparable(check.signature) for check in found or checks)
    count = f"{len(found)} checks" if found else "no check"
    raise UsageError(f"run {run.id} has {count} of {metric!r} at {target}: {there}")


def calibration_table(
    runs: Sequence[RunRecord],
    regrets: Sequence[RegretRecord],
    *,
    basis: Basis,
    target: Target,
    features: Sequence[str],
    candidate: str = "",
    ignored: Collection[str] = (),
) -> CalibrationTable:
    """Reward models measured on the same basis whose regret at the target is known.

    Every reward model of the history is either a row or counted under the one reason that kept it
    out. A regret holds for every run of its reward model; of several runs the latest counts.

    Args:
        runs: Of the history.
        regrets: Of the history.
        basis: What the new run is measured on.
        target: How far the policy will be optimised.
        features: Names of facts of the metric.
        candidate: Fingerprint of the reward model under test, which must not calibrate itself.
        ignored: Further parts of a signature that do not change the features.
    """
    by_model: dict[str, list[RunRecord]] = {}
    for run in sorted(runs, key=lambda run: (run.time, run.id)):
        by_model.setdefault(run.fingerprint, []).append(run)
    attached: dict[str, list[RegretRecord]] = {}
    for regret in regrets:
        attached.setdefault(regret.fingerprint, []).append(regret)
    rows: list[_Row] = []
    reasons: Counter[str] = Counter()
    for fingerprint in dict.fromkeys([*by_model, *attached]):
        known = attached.get(fingerprint, [])
        row: _Row | str = OWN
        if fingerprint != candidate:
            own = by_model.get(fingerprint, [])
            row = _row(own, known, basis, target, features, ignored)
        if isinstance(row, str):
            reasons[row] += 1
        else:
            rows.append(row)
    return _table(rows, features, reasons)


def comparable(signature: str, ignored: Collection[str] = ()) -> str:
    """A signature without what changes no feature: models, resampling, and parts `ignored`."""
    dropped = FREE_PARTS | set(ignored)
    return "|".join(part for part in signature.split("|") if part.split(":")[0] not in dropped)


def golden_of(run: RunRecord) -> str:
    """What golden was: the fingerprint of a golden RM, else where the column came from."""
    return run.golden_fingerprint or run.golden


@dataclass(frozen=True)
class _Row:
    run: RunRecord
    features: tuple[float, ...]
    regrets: tuple[float, ...]


def _row(
    runs: Sequence[RunRecord],
    regrets: Sequence[RegretRecord],
    basis: Basis,
    target: Target,
    features: Sequence[str],
    ignored: Collection[str],
) -> _Row | str:
    """The row of one reward model, or why it has none: the reason that came latest."""
    if not runs:
        return NO_RUN
    if not (runs := [run for run in runs if run.pool_fingerprint == basis.pool_fingerprint]):
        return OTHER_POOL
    if not (runs := [run for run in runs if golden_of(run) == basis.golden]):
        return OTHER_GOLDEN
    any_lineage = target.optimizer != "rl"
    if not (runs := [run for run in runs if any_lineage or run.lineage == basis.lineage]):
        return OTHER_LINEAGE
    checks = [(r, c) for r in runs for c in r.checks if c.metric == basis.metric]
    if not checks:
        return NO_METRIC
    same = [(r, c) for r, c in checks if comparable(c.signature, ignored) == basis.signature]
    if not same:
        return OTHER_VERSION
    whole = [(r, c) for r, c in same if all(name in c.facts for name in features)]
    if not whole:
        return NO_FEATURE
    if not regrets:
        return NO_REGRET
    reached = tuple(regret.value for regret in regrets if regret.target == target)
    if not reached:
        return OTHER_TARGET
    run, check = whole[-1]
    return _Row(run, _facts(check, features), reached)


def _facts(check: CheckEntry, names: Sequence[str]) -> tuple[float, ...]:
    return tuple(check.facts[name] for name in names)


def _table(
    rows: Sequence[_Row], features: Sequence[str], reasons: Mapping[str, int]
) -> CalibrationTable:
    rows = sorted(rows, key=lambda row: (row.run.time, row.run.id))
    return CalibrationTable(
        feature_names=tuple(features),
        names=tuple(row.run.rm for row in rows),
        features=np.array([row.features for row in rows], dtype=float).reshape(-1, len(features)),
        regrets=np.array([np.mean(row.regrets) for row in rows], dtype=float),
        regret_counts=tuple(len(row.regrets) for row in rows),
        left_out=dict(reasons),
    )
