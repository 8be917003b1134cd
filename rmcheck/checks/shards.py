"""Metrics over shards of a pool that does not fit in memory: a map and a sum.

    totals = sum_shards(shard_totals(metrics, shard) for shard in shards)
    measurements = measure_totals(totals)

The value is that of the pool in one piece. Bounds are of the same kind; they come from other
resamples, the same however the pool is cut. Totals of candidate and baseline on the same prompts
share their resamples, so that a drop is paired.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from rmcheck.checks.bounds import (
    Dissent,
    defined_value,
    dissent,
    distribution,
    drop_dissent,
    drop_reach,
    drop_sign,
    estimated,
    flat_concerns,
    reach,
)
from rmcheck.checks.measurement import Measurement, Sampling
from rmcheck.checks.shard_totals import MetricTotals, ShardTotals, shard_totals
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import N_SPREAD, Metric
from rmcheck.metrics.rewards import Rewards
from rmcheck.stats.bootstrap import SMALL_SAMPLE, Distribution, Exact, Statistic
from rmcheck.stats.difference import Difference
from rmcheck.stats.estimate import Estimate
from rmcheck.stats.resampled_totals import resample_totals
from rmcheck.stats.student_t import student_t


def sum_shards(totals: Iterable[ShardTotals]) -> ShardTotals:
    """Totals of all shards, which are read one after another.

    Raises:
        UndefinedMetricError: There is none; see also `ShardTotals.__add__`.
    """
    found: ShardTotals | None = None
    for one in totals:
        found = one if found is None else found + one
    if found is None:
        raise UndefinedMetricError("there is no shard to measure anything on")
    return found


def measure_totals(totals: ShardTotals) -> list[Measurement]:
    """Value, bounds and concerns of each metric, in order.

    Raises:
        UndefinedMetricError: Nothing took part, or a metric is undefined on what did.
    """
    pairs = zip(totals.metrics, totals.found, strict=True)
    return [_measurement(metric, found, totals.sampling) for metric, found in pairs]


def measure_totals_drop(candidate: ShardTotals, baseline: ShardTotals) -> list[Measurement]:
    """How much worse the candidate is than the baseline on the same prompts, paired.

    Positive when the candidate is worse, whatever the metric's direction; lower is better.

    Raises:
        UndefinedMetricError: See `measure_totals`; or the prompts are not the same.
    """
    candidate.require_alike(baseline)
    if not np.array_equal(candidate.keys, baseline.keys):
        raise UndefinedMetricError(
            f"candidate and baseline are not measured on the same prompts ({candidate.keys.size} "
            f"and {baseline.keys.size}; a drop is paired prompt by prompt)"
        )
    same = candidate.digest == baseline.digest
    return [
        _drop(metric, first, second, candidate.sampling, same_rewards=same)
        for metric, first, second in zip(
            candidate.metrics, candidate.found, baseline.found, strict=True
        )
    ]


def measure_shards(
    metrics: Sequence[Metric],
    shards: Iterable[Rewards],
    *,
    where: Mapping[str, str] | None = None,
    sampling: Sampling | None = None,
    cluster: str | None = None,
) -> list[Measurement]:
    """Metrics on shards that are read one after another, such as one a Parquet file.

    Args:
        metrics: See `shard_totals`.
        shards: Together the pool; each is forgotten before the next one is read.
        where: Slice column to value; the prompts that count.
        sampling: How uncertainty is measured.
        cluster: See `shard_totals`.

    Raises:
        UndefinedMetricError: See `shard_totals`, `sum_shards`, `measure_totals`.
    """
    return measure_totals(
        sum_shards(
            shard_totals(metrics, shard, where=where, sampling=sampling, cluster=cluster)
            for shard in shards
        )
    )


def _measurement(metric: Metric, found: MetricTotals, sampling: Sampling) -> Measurement:
    value = _defined_value(metric, found)
    apart = reach(metric, value, flat=found.flat)
    unseen = dissent(metric, found.seen(), flat=found.flat)
    seed = sampling.seed
    bounds = _distribution(metric, value, found, apart, unseen, exact=metric.exact, seed=seed)
    return Measurement(
        _estimate(metric, value, bounds, found, _concerns(metric, found), sampling),
        bounds,
        found.left_out.short,
        found.left_out.constant,
        metric.facts(found.totals[0]),
        metric.note,
        metric.signature,
        metric.exact,
    )


def _drop(
    metric: Metric,
    first: MetricTotals,
    second: MetricTotals,
    sampling: Sampling,
    *,
    same_rewards: bool,
) -> Measurement:
    sign = drop_sign(metric)
    value = sign * (_defined_value(metric, first) - _defined_value(metric, second))
    both = replace(first, totals=np.hstack([first.totals, second.totals]))
    statistic = Difference(metric, metric, first.totals.shape[1], sign)
    apart = drop_reach(metric, same_rewards=same_rewards)
    unseen = drop_dissent(
        (metric, first.seen()), (metric, second.seen()), same_rewards=same_rewards
    )
    seed = sampling.seed
    bounds = _distribution(statistic, value, both, apart, unseen, exact=metric.exact, seed=seed)
    concerns = tuple(dict.fromkeys(_concerns(metric, first) + _concerns(metric, second)))
    return Measurement(
        _estimate(metric, value, bounds, first, concerns, sampling),
        bounds,
        first.left_out.short,
        first.left_out.constant,
        note=metric.note,
        signature=metric.signature,
        exact=metric.exact,
    )


def _estimate(
    metric: Metric,
    value: float,
    bounds: Distribution,
    found: MetricTotals,
    concerns: tuple[str, ...],
    sampling: Sampling,
) -> Estimate:
    return estimated(
        value,
        bounds,
        found.units,
        concerns,
        confidence=sampling.confidence,
        min_units=0 if metric.exact else sampling.min_prompts,
        constant=found.left_out.constant,
    )


def _defined_value(metric: Metric, found: MetricTotals) -> float:
    if not found.units and not found.left_out.constant:
        raise UndefinedMetricError(
            f"{metric.name}: no prompt of any shard matches and has "
            f"{metric.min_responses} responses"
        )
    found.left_out.require_some(metric)
    if metric.depends_on_n and found.most > N_SPREAD * found.fewest:
        raise UndefinedMetricError(
            f"{metric.name} depends on the number of responses, and the shards have {found.fewest} "
            f"to {found.most} a prompt; use shards of equal N"
        )
    return defined_value(metric, found.totals[0], found.units, flat=found.flat)


def _concerns(metric: Metric, found: MetricTotals) -> tuple[str, ...]:
    """Reasons not to decide.

    Two halves of the pool that differ by one standard error of the total have the totals of the
    pool, and a mean as far from zero in standard errors as its units have.
    """
    total, n = found.totals[0], found.units
    concerns = flat_concerns(metric, flat=found.flat) + found.left_out.concerns(metric)
    if n > 1:
        variance = np.maximum(found.squares - total**2 / n, 0.0) * n / (n - 1)
        half = np.sqrt(variance) / 2
        concerns += metric.concerns(np.stack([total / 2 + half, total / 2 - half]))
    if metric.studentised and n < SMALL_SAMPLE and metric.unseen(found.seen()) is None:
        return (
            *concerns,
            f"{n} prompts in shards: the bounds of this ratio need {SMALL_SAMPLE}, or the pool in "
            "one piece",
        )
    return concerns


def _distribution(
    statistic: Statistic,
    value: float,
    found: MetricTotals,
    reach: tuple[float, float],
    unseen: Dissent | None,
    *,
    exact: bool,
    seed: int,
) -> Distribution:
    if exact:  # other prompts would not change it
        return Exact(value, 0.0, 0.0, found.units)
    center, drawn = found.totals[0], found.totals[1:]

    def resampled(smooth: bool) -> Distribution:
        if smooth and isinstance(statistic, Difference):
            draws = statistic.value(drawn)
            error = float(draws[np.isfinite(draws)].std(ddof=1))
            return student_t(value, error, found.units, reach=reach)
        return resample_totals(
            statistic, center, drawn, units=found.units, reach=reach, smooth=smooth
        )

    return distribution(
        statistic,
        center,
        drawn,
        resampled,
        dissent=unseen,
        reach=reach,
        units=found.units,
        seed=seed,
    )
