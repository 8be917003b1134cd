"""Metrics over shards of a pool that does not fit in memory: a map and a sum.

    totals = sum_shards(shard_totals(metrics, shard) for shard in shards)
    measurements = measure_totals(totals)

The value is that of the pool in one piece, and bounds are found in the same way; they come from
other resamples, the same however the pool is cut.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from rmcheck.checks.measurement import (
    Measurement,
    Pending,
    Sampling,
    measured,
    pending_units,
)
from rmcheck.checks.shard_totals import MetricTotals, ShardTotals, shard_totals
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import N_SPREAD, Metric
from rmcheck.metrics.rewards import Rewards
from rmcheck.stats.units import Units


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
    return measured(_pending(totals))


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


def _pending(totals: ShardTotals) -> list[Pending]:
    """Values whose uncertainty has not been measured yet, one a metric."""
    pairs = zip(totals.metrics, totals.found, strict=True)
    return [_pending_one(metric, found, totals.sampling) for metric, found in pairs]


def _pending_one(metric: Metric, found: MetricTotals, sampling: Sampling) -> Pending:
    if not found.seen.units and not found.left_out.constant:
        raise UndefinedMetricError(
            f"{metric.name}: no prompt of any shard matches and has "
            f"{metric.min_responses} responses"
        )
    if metric.depends_on_n and found.most > N_SPREAD * found.fewest:
        raise UndefinedMetricError(
            f"{metric.name} depends on the number of responses, and the shards have {found.fewest} "
            f"to {found.most} a prompt; use shards of equal N"
        )
    used = np.flatnonzero(found.kept)
    return pending_units(
        metric,
        Units(found.rows[used], used, len(found.rows)),
        seen=found.seen,
        left_out=found.left_out,
        flat=found.flat,
        sampling=sampling,
    )
