"""Totals of a metric over shards of a pool: what a shard leaves behind.

A shard becomes the sums of its independent units (a prompt, or a cluster of them). Where there are
more than `COLUMNS` they are added up in so many groups, and the group of a unit follows from its
name. So totals add up, in any order and from any machine, do not depend on how the pool is cut, and
do not grow with it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rmcheck.checks.bounds import LeftOut, taking_part
from rmcheck.checks.measurement import Sampling
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import Metric, per_prompt_sums
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.stats.unseen import Seen
from rmcheck.stats.weights import COLUMNS, add_up


@dataclass(frozen=True, eq=False)
class MetricTotals:
    """What shards keep of one metric.

    Attributes:
        rows: (c, K) sums of each unit met, or of each group of them.
        kept: (c,) prompts that took part, of each.
        seen: What the units that took part have, column by column of their sums.
        flat: Whether the model gave all responses of a prompt one reward, on every prompt.
        left_out: Prompts that took no part, and the number of those that did.
        fewest: Fewest responses of a prompt that has enough; 0 where there is none.
        most: Most responses of a prompt.
    """

    rows: Floats
    kept: Floats
    seen: Seen
    flat: bool
    left_out: LeftOut
    fewest: int
    most: int

    def grouped(self, groups: NDArray[np.int64], size: int) -> "MetricTotals":
        """With the rows of each group added up."""
        kept = add_up(self.kept[:, None], groups, size)[:, 0]
        return replace(self, rows=add_up(self.rows, groups, size), kept=kept)

    def __add__(self, other: "MetricTotals") -> "MetricTotals":
        """Of both, where both have the same groups."""
        # K is not known before something is measured.
        known = [one.rows for one in (self, other) if one.rows.shape[1]] or [self.rows]
        return MetricTotals(
            sum(known[1:], known[0]),
            self.kept + other.kept,
            self.seen.plus(other.seen),
            self.flat and other.flat,
            self.left_out.plus(other.left_out),
            min(filter(None, (self.fewest, other.fewest)), default=0),
            max(self.most, other.most),
        )


@dataclass(frozen=True, eq=False)
class ShardTotals:
    """Totals of some metrics over one or more shards; they add up with `+`.

    Beside the totals it keeps 8 bytes a unit, by which a unit that is met twice is found.

    Attributes:
        metrics: What is measured.
        sampling: How uncertainty is measured.
        where: Slice column to value; the prompts that count.
        found: Totals of each metric; row by row of the units, or of groups where units are many.
        keys: (n,) ascending keys of all units met, whether they took part or not.
    """

    metrics: tuple[Metric, ...]
    sampling: Sampling
    where: Mapping[str, str]
    found: tuple[MetricTotals, ...] = field(repr=False)
    keys: NDArray[np.uint64] = field(repr=False)

    def __add__(self, other: "ShardTotals") -> "ShardTotals":
        """Totals of both."""
        self._require_alike(other)
        keys = np.concatenate([self.keys, other.keys])
        keys.sort(kind="stable")
        if twice := int(np.count_nonzero(keys[1:] == keys[:-1])):
            raise UndefinedMetricError(
                f"{twice} prompts are in two shards. A shard must be added once, and hold all "
                "responses of its prompts and all prompts of a cluster"
            )
        pairs = zip(self._at(keys), other._at(keys), strict=True)
        return replace(self, found=tuple(a + b for a, b in pairs), keys=keys)

    def _at(self, keys: NDArray[np.uint64]) -> tuple[MetricTotals, ...]:
        """Totals with a row for each of these keys, or for each group where they are many."""
        if self.keys.size > COLUMNS:
            return self.found
        size = min(keys.size, COLUMNS)
        rows = _group(self.keys) if keys.size > COLUMNS else np.searchsorted(keys, self.keys)
        return tuple(one.grouped(rows, size) for one in self.found)

    def _require_alike(self, other: "ShardTotals") -> None:
        for name, mine, theirs in (
            ("metrics", _names(self.metrics), _names(other.metrics)),
            ("sampling", str(self.sampling), str(other.sampling)),
            ("slices", str(dict(self.where)), str(dict(other.where))),
        ):
            if mine != theirs:
                raise UndefinedMetricError(f"totals of other {name}: {mine} and {theirs}")


def shard_totals(
    metrics: Sequence[Metric],
    shard: Rewards,
    *,
    where: Mapping[str, str] | None = None,
    sampling: Sampling | None = None,
    cluster: str | None = None,
) -> ShardTotals:
    """Totals of one shard: whole prompts, with all of their responses.

    Args:
        metrics: What is measured. Metrics that fix something on the whole pool first are refused.
        shard: Rewards of its prompts. Their `prompt_ids` must be unique in the whole pool.
        where: Slice column to value; the prompts that count. A shard may have none of them.
        sampling: The same for all shards.
        cluster: Slice column whose value names the independent unit of a prompt; None where each
            prompt is one. All prompts of a unit must stand in one shard.

    Raises:
        UndefinedMetricError: A metric cannot be had from sums, a column is missing, prompts of the
            shard share a cluster that no column names, or a prompt is there twice.
    """
    for metric in metrics:
        require_sums(metric)
    sampling, where = sampling or Sampling(), dict(where or {})
    keys, unit_of = np.unique(_keys(_unit_names(shard, cluster)), return_inverse=True)
    mask = _matching(shard, where)
    found = [_metric_totals(metric, shard, mask, unit_of, keys) for metric in metrics]
    return ShardTotals(tuple(metrics), sampling, where, tuple(found), keys)


def require_sums(metric: Metric) -> None:
    """Refuse a metric that needs more than sums over prompts.

    Raises:
        UndefinedMetricError: Says what it needs, and what instead.
    """
    if not metric.sums_suffice:
        raise UndefinedMetricError(
            f"{metric.name} fixes something on the whole pool before it sums (such as bin edges), "
            "so shards one after another do not give it. Measure it on a part of the pool that "
            "fits in memory."
        )


def _names(metrics: Sequence[Metric]) -> str:
    return ", ".join(metric.signature for metric in metrics)


def _unit_names(shard: Rewards, cluster: str | None) -> NDArray[np.str_]:
    ids, times = np.unique(shard.prompt_ids, return_counts=True)
    if (times > 1).any():
        raise UndefinedMetricError(f"prompt {str(ids[times > 1][0])!r} is twice in one shard")
    if cluster is not None:
        if cluster not in shard.slices:
            raise UndefinedMetricError(
                f"the shard has no slice {cluster!r}; it has: {', '.join(shard.slices) or 'none'}"
            )
        return shard.slices[cluster]
    if np.unique(shard.clusters).size != len(shard):
        raise UndefinedMetricError(
            "prompts of this shard share a cluster, whose number means nothing in another shard; "
            "give cluster=COLUMN, the slice column that names it"
        )
    return shard.prompt_ids


def _matching(shard: Rewards, where: Mapping[str, str]) -> NDArray[np.bool_]:
    """`Rewards.matching`, but a shard may well have no prompt of a slice."""
    mask = np.ones(len(shard), dtype=bool)
    for column, wanted in where.items():
        if column not in shard.slices:
            shard.matching({column: wanted})  # raises, with the columns there are
        mask &= shard.slices[column] == wanted
    return mask


def _metric_totals(
    metric: Metric,
    shard: Rewards,
    mask: NDArray[np.bool_],
    unit_of: NDArray[np.intp],
    keys: NDArray[np.uint64],
) -> MetricTotals:
    """Totals of one metric; K is 0 where no prompt has enough responses."""
    enough = shard.counts >= metric.min_responses
    kept, left_out = np.zeros(len(shard), dtype=bool), LeftOut(int(mask.sum()), 0, 0)
    sums, counts = np.zeros((len(shard), 0)), shard.counts[enough]
    if (mask & enough).any():
        sums, measured = per_prompt_sums(metric, shard)
        kept, left_out = taking_part(metric, sums, measured, mask)
    prompts = np.bincount(unit_of[kept], minlength=keys.size)
    rows = add_up(sums[kept], unit_of[kept], keys.size)
    found = MetricTotals(
        rows,
        prompts.astype(float),
        Seen.of(rows[prompts > 0]),
        not (shard.varies & kept).any(),
        left_out,
        int(counts.min()) if counts.size else 0,
        int(counts.max()) if counts.size else 0,
    )
    return found.grouped(_group(keys), COLUMNS) if keys.size > COLUMNS else found


def _keys(names: NDArray[np.str_]) -> NDArray[np.uint64]:
    """(n,) 64 bits for each name; two of ten million names coincide with probability 3e-6."""
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names.tolist())
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _group(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(n,) group of each unit where there are many; keys are as good as random."""
    return (keys % np.uint64(COLUMNS)).astype(np.int64)
