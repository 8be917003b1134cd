"""A metric measured on rewards: its value, its bounds, and how sure they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import Metric, per_prompt_sums
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.regret.calibration import Calibration
from rmcheck.regret.predicted_regret import PredictedRegret
from rmcheck.stats.absolute_sum import absolute_sum
from rmcheck.stats.bootstrap import Distribution, Exact, Statistic, resample
from rmcheck.stats.difference import Difference
from rmcheck.stats.estimate import Estimate
from rmcheck.stats.simultaneous import largest
from rmcheck.stats.weights import ResampleWeights, draw_weights


@dataclass(frozen=True)
class Sampling:
    """How uncertainty is measured, the same for all checks of a suite.

    Attributes:
        confidence: Level of each one-sided bound, in (0.5, 1).
        resamples: Number of bootstrap resamples.
        seed: Seed of the resampling; 0 is a seed.
        min_prompts: Fewest independent units on which anything is decided.
    """

    confidence: float = 0.95
    resamples: int = 10_000
    seed: int = 0
    min_prompts: int = 30


@dataclass(frozen=True)
class Measurement:
    """One number with everything that was found out about it.

    Attributes:
        estimate: Value, bounds, number of independent units and concerns.
        distribution: What the bounds come from; gives p-values that agree with them.
        left_out: Prompts that had too few responses to take part.
        facts: Further numbers of the metric (noise floor, golden gain).
        note: How the value came about, where there is more than one way.
        signature: The metric with its settings, in one string.
        exact: Whether it is a statement about the rows themselves (`Metric.exact`).
    """

    estimate: Estimate
    distribution: Distribution = field(repr=False)
    left_out: int = 0
    facts: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    signature: str = ""
    exact: bool = False


def measure(
    metric: Metric,
    rewards: Rewards,
    *,
    where: Mapping[str, str] | None = None,
    sampling: Sampling | None = None,
) -> Measurement:
    """A metric on the prompts of a pool that match `where`.

    Raises:
        UndefinedMetricError: Nothing matches, or the metric is undefined on what does.
    """
    return measured([pending(metric, rewards, where=where, sampling=sampling)])[0]


def measure_drop(
    metric: Metric,
    candidate: Rewards,
    baseline: Rewards,
    *,
    where: Mapping[str, str] | None = None,
    sampling: Sampling | None = None,
) -> Measurement:
    """How much worse the candidate is than the baseline, paired prompt by prompt.

    The value is positive when the candidate is worse, whatever the metric's direction, and
    lower is better.

    Raises:
        UndefinedMetricError: Nothing matches, or the metric is undefined on what does.
    """
    return measured([pending_drop(metric, candidate, baseline, where=where, sampling=sampling)])[0]


@dataclass(frozen=True)
class Pending:
    """A value whose uncertainty has not been measured yet.

    Attributes:
        statistic: Gives the value from totals.
        sums: (n, K) sums, one row an independent unit.
        units: (n,) numbers of these units in the pool.
        pool_units: Number of units of the whole pool, which are resampled.
        sampling: How.
        value: The value.
        studentised: See `Metric.studentised`.
        reach: See `rmcheck.stats.bootstrap.resample`.
        concerns: Reasons not to decide on the value.
        left_out: Prompts that had too few responses to take part.
        facts: Further numbers of the metric.
        note: How the value came about.
        signature: The metric with its settings.
        calibration: Past reward models that correct the value, if any.
        exact: See `Metric.exact`.
    """

    statistic: Statistic
    sums: Floats
    units: NDArray[np.int64]
    pool_units: int
    sampling: Sampling
    value: float
    studentised: bool
    reach: tuple[float, float]
    concerns: tuple[str, ...]
    left_out: int
    facts: Mapping[str, float]
    note: str
    signature: str
    calibration: Calibration | None
    exact: bool


def pending(
    metric: Metric,
    rewards: Rewards,
    *,
    where: Mapping[str, str] | None = None,
    sampling: Sampling | None = None,
) -> Pending:
    """`measure`, up to the resampling."""
    mask = rewards.matching(where or {})
    fitted = metric.fitted(rewards).localised(rewards, mask)
    sums, took_part = per_prompt_sums(fitted, rewards)
    units, rows = _per_unit(sums, mask & took_part, rewards)
    value = _defined_value(fitted, rows, fitted.name)
    return Pending(
        statistic=fitted,
        sums=rows,
        units=units,
        pool_units=rewards.units,
        sampling=sampling or Sampling(),
        value=value,
        studentised=fitted.studentised,
        reach=_reach(fitted, value),
        concerns=fitted.concerns(rows),
        left_out=int((mask & ~took_part).sum()),
        facts=fitted.facts(rows.sum(axis=0)),
        note=fitted.note,
        signature=fitted.signature,
        calibration=fitted.calibration if isinstance(fitted, PredictedRegret) else None,
        exact=fitted.exact,
    )


def pending_drop(
    metric: Metric,
    candidate: Rewards,
    baseline: Rewards,
    *,
    where: Mapping[str, str] | None = None,
    sampling: Sampling | None = None,
) -> Pending:
    """`measure_drop`, up to the resampling."""
    first = pending(metric, candidate, where=where, sampling=sampling)
    second = pending(metric, baseline, where=where, sampling=sampling)
    sign = -1.0 if metric.direction == "higher" else 1.0
    same = np.array_equal(candidate.proxy, baseline.proxy)
    width = metric.range[1] - metric.range[0]
    reach = 0.0 if same or not np.isfinite(width) else width
    return replace(
        first,
        statistic=Difference(first.statistic, second.statistic, first.sums.shape[1], sign),
        sums=np.hstack([first.sums, second.sums]),
        value=sign * (first.value - second.value),
        reach=(reach, reach),
        concerns=tuple(dict.fromkeys(first.concerns + second.concerns)),
        facts={},
        calibration=None,  # what past errors say of one model, they do not of a difference
    )


def measured(values: Sequence[Pending]) -> list[Measurement]:
    """Resample many values; those of one pool share one product with the weights.

    Returns:
        One measurement a value, in the order given.
    """
    groups: dict[tuple[int, int, int], list[int]] = {}
    for i, value in enumerate(values):
        key = (value.pool_units, value.sampling.resamples, value.sampling.seed)
        groups.setdefault(key, []).append(i)
    found: dict[int, Measurement] = {}
    for key, members in groups.items():
        weights = draw_weights(*key)
        totals = weights.totals(_side_by_side([values[i] for i in members]))
        start = 0
        for i in members:
            stop = start + values[i].sums.shape[1]
            found[i] = _measurement(values[i], weights, totals[:, start:stop])
            start = stop
    return [found[i] for i in range(len(values))]


def _side_by_side(values: Sequence[Pending]) -> Floats:
    """(C, ΣK) sums of all values for every unit of the pool, 0 where a unit takes no part."""
    out = np.zeros((values[0].pool_units, sum(v.sums.shape[1] for v in values)))
    start = 0
    for value in values:
        stop = start + value.sums.shape[1]
        out[value.units, start:stop] = value.sums
        start = stop
    return out


def _distribution(value: Pending, weights: ResampleWeights, totals: Floats) -> Distribution:
    if value.exact:  # other prompts would not change it
        return Exact(value.value, 0.0, 0.0, len(value.sums))
    parts = value.statistic.parts(value.sums.sum(axis=0))
    drawn = value.statistic.parts(totals)
    if parts is not None and drawn is not None:
        found = largest(parts, drawn, between=isinstance(value.statistic, Difference))
        if (found.errors > 0).any():
            return found
    added, redrawn = value.statistic.terms(value.sums.sum(axis=0)), value.statistic.terms(totals)
    if added is not None and redrawn is not None and (sum_ := absolute_sum(added, redrawn)):
        return sum_
    statistic = value.statistic
    return resample(
        statistic,
        value.sums,
        weights,
        units=value.units,
        totals=totals,
        studentised=value.studentised,
        reach=value.reach,
        smooth=not isinstance(statistic, Difference) or statistic.smooth(value.sums.sum(axis=0)),
    )


def _measurement(value: Pending, weights: ResampleWeights, totals: Floats) -> Measurement:
    distribution = _distribution(value, weights, totals)
    sampling, n, concerns = value.sampling, len(value.sums), value.concerns
    center, note = value.value, value.note
    if value.calibration is not None:
        found = value.calibration.applied(center, distribution, sampling.confidence)
        center, distribution = found.value, found.distribution
        concerns, note = (*concerns, *found.concerns), f"{note}; {found.note}"
    if n < sampling.min_prompts and not value.exact:
        concerns = (f"{n} independent prompts, fewer than {sampling.min_prompts}", *concerns)
    bounds = _bounds(distribution, center, sampling.confidence)
    estimate = Estimate(center, *bounds, n, sampling.confidence, concerns)
    return Measurement(
        estimate, distribution, value.left_out, value.facts, note, value.signature, value.exact
    )


def slice_values(
    rewards: Rewards, column: str, *, where: Mapping[str, str] | None = None
) -> list[str]:
    """The values that a slice column has on the prompts that match `where`, sorted.

    Raises:
        UndefinedMetricError: There is no such column, or nothing matches.
    """
    mask = rewards.matching(where or {})
    if column not in rewards.slices:
        rewards.matching({column: ""})  # raises, with the columns there are
    return [str(value) for value in np.unique(rewards.slices[column][mask])]


def _defined_value(statistic: Statistic, rows: Floats, name: str) -> float:
    if not len(rows):
        raise UndefinedMetricError(f"{name}: no prompt has enough responses to be measured")
    value = float(statistic.value(rows.sum(axis=0)))
    if not np.isfinite(value):
        raise UndefinedMetricError(
            f"{name} is undefined: on all {len(rows)} prompts the rewards that it divides by "
            "are constant (or their sum is 0)"
        )
    return value


def _reach(metric: Metric, center: float) -> tuple[float, float]:
    """How far one dissenting prompt could move a value that all prompts agree on.

    Only a value at an end of the range can hide dissent: a model that is right on all of n
    prompts may be wrong on the next. One that is constant has the same value on every prompt.
    """
    low, high = metric.range
    width = high - low
    if not np.isfinite(width):
        return (0.0, 0.0)
    return (width if center == high else 0.0, width if center == low else 0.0)


def _per_unit(
    sums: Floats, mask: NDArray[np.bool_], rewards: Rewards
) -> tuple[NDArray[np.int64], Floats]:
    """Numbers of the independent units that take part, and the sums of each."""
    units, inverse = np.unique(rewards.clusters[mask], return_inverse=True)
    rows = np.zeros((units.size, sums.shape[1]))
    np.add.at(rows, inverse, sums[mask])
    return units, rows


def _bounds(distribution: Distribution, value: float, confidence: float) -> tuple[float, float]:
    """One-sided bounds of this level; they never exclude the value itself."""
    lower, upper = distribution.bound(1 - confidence), distribution.bound(confidence)
    return min(lower, value), max(upper, value)
