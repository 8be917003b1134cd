"""A metric measured on rewards: its value, its bounds, and how sure they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import Metric, per_prompt_sums
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.stats.bootstrap import Distribution, Statistic, resample
from rmcheck.stats.difference import Difference
from rmcheck.stats.estimate import Estimate
from rmcheck.stats.weights import draw_weights


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
    """

    estimate: Estimate
    distribution: Distribution = field(repr=False)
    left_out: int = 0
    facts: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def at_confidence(self, confidence: float) -> "Measurement":
        """The same measurement with bounds of another level."""
        e = self.estimate
        bounds = _bounds(self.distribution, e.value, confidence)
        estimate = Estimate(e.value, *bounds, e.n, confidence, e.concerns)
        return Measurement(estimate, self.distribution, self.left_out, self.facts, self.note)


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
    sampling = sampling or Sampling()
    mask = rewards.matching(where or {})
    fitted = metric.fitted(rewards)
    return _measure_fitted(fitted, rewards, mask, sampling)


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
    sampling = sampling or Sampling()
    mask = candidate.matching(where or {})
    fits = metric.fitted(candidate), metric.fitted(baseline)
    sums, measured = per_prompt_sums(fits[0], candidate)
    other, _ = per_prompt_sums(fits[1], baseline)
    sign = -1.0 if metric.direction == "higher" else 1.0
    statistic = Difference(fits[0], fits[1], sums.shape[1], sign)
    units, rows = _per_unit(np.hstack([sums, other]), mask & measured, candidate)
    own = rows[:, : sums.shape[1]]
    concerns = fits[0].concerns(own) + fits[1].concerns(rows[:, sums.shape[1] :])
    same = np.array_equal(candidate.proxy, baseline.proxy)
    width = metric.range[1] - metric.range[0]
    reach = 0.0 if same or not np.isfinite(width) else width
    return _summarise(
        statistic,
        rows,
        units,
        candidate,
        sampling,
        studentised=metric.studentised,
        reach=(reach, reach),
        concerns=tuple(dict.fromkeys(concerns)),
        left_out=int((mask & ~measured).sum()),
        name=f"drop of {metric.name}",
        note=fits[0].note,
    )


def _measure_fitted(
    metric: Metric, rewards: Rewards, mask: NDArray[np.bool_], sampling: Sampling
) -> Measurement:
    sums, measured = per_prompt_sums(metric, rewards)
    units, rows = _per_unit(sums, mask & measured, rewards)
    center = float(metric.value(rows.sum(axis=0))) if len(rows) else np.nan
    return _summarise(
        metric,
        rows,
        units,
        rewards,
        sampling,
        studentised=metric.studentised,
        reach=_reach(metric, center),
        concerns=metric.concerns(rows),
        left_out=int((mask & ~measured).sum()),
        name=metric.name,
        facts=metric.facts(rows.sum(axis=0)),
        note=metric.note,
    )


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


def _summarise(
    statistic: Statistic,
    rows: Floats,
    units: NDArray[np.int64],
    rewards: Rewards,
    sampling: Sampling,
    *,
    studentised: bool,
    reach: tuple[float, float],
    concerns: tuple[str, ...],
    left_out: int,
    name: str,
    facts: Mapping[str, Any] | None = None,
    note: str = "",
) -> Measurement:
    if not len(rows):
        raise UndefinedMetricError(f"{name}: no prompt has enough responses to be measured")
    value = float(statistic.value(rows.sum(axis=0)))
    if not np.isfinite(value):
        raise UndefinedMetricError(
            f"{name} is undefined: on all {len(rows)} prompts the rewards that it divides by "
            "are constant (or their sum is 0)"
        )
    n = len(rows)
    if n < sampling.min_prompts:
        concerns = (f"{n} independent prompts, fewer than {sampling.min_prompts}", *concerns)
    weights = draw_weights(int(rewards.clusters.max()) + 1, sampling.resamples, sampling.seed)
    distribution = resample(
        statistic, rows, weights, units=units, studentised=studentised, reach=reach
    )
    bounds = _bounds(distribution, value, sampling.confidence)
    estimate = Estimate(value, *bounds, n, sampling.confidence, concerns)
    return Measurement(estimate, distribution, left_out, dict(facts or {}), note)


def _bounds(distribution: Distribution, value: float, confidence: float) -> tuple[float, float]:
    """One-sided bounds of this level; they never exclude the value itself."""
    lower, upper = distribution.bound(1 - confidence), distribution.bound(confidence)
    return min(lower, value), max(upper, value)
