"""Totals of a metric over shards of a pool: what a shard leaves behind.

A shard becomes totals of its sums per prompt, over the prompts as they are and over B resamples. A
unit (a prompt, or a cluster of them) is resampled by weights that follow from its name, so totals
add up, in any order and from any machine, and do not depend on how the pool is cut.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rmcheck.checks.bounds import LeftOut
from rmcheck.checks.measurement import Sampling
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import Metric, per_prompt_sums
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.stats.unit_weights import unit_keys, unit_weights
from rmcheck.stats.unseen import Seen
from rmcheck.stats.weights import ResampleWeights

# Units whose weights are in memory at once: 20 MB at 10,000 resamples.
UNITS_AT_A_TIME = 2000
# Digests of prompts are added in 64 bits.
DIGESTS = 2**64


@dataclass(frozen=True, eq=False)
class MetricTotals:
    """What shards keep of one metric.

    Attributes:
        totals: (1 + B, K) totals: of the prompts as they are, and of each resample.
        squares: (K,) sums over units of the squared sums of each.
        least: (K,) smallest sums of a unit.
        largest: (K,) largest sums of a unit.
        flat: Whether the model gave all responses of a prompt one reward, on every prompt.
        units: Independent units that took part.
        left_out: Prompts that took no part, and the number of those that did.
        fewest: Fewest responses of a prompt that has enough; 0 where there is none.
        most: Most responses of a prompt.
    """

    totals: Floats
    squares: Floats
    least: Floats
    largest: Floats
    flat: bool
    units: int
    left_out: LeftOut
    fewest: int
    most: int

    def seen(self) -> Seen:
        """What the units have, column by column of their sums."""
        n, total = self.units, self.totals[0]
        variance = np.maximum(self.squares - total**2 / n, 0.0) / max(1, n - 1)
        return Seen(n, total / n, np.sqrt(variance), self.least, self.largest)

    def __add__(self, other: "MetricTotals") -> "MetricTotals":
        if not self.units or not other.units:  # K is not known before something is measured
            kept = self if self.units else other
            totals, squares = kept.totals, kept.squares
            least, largest = kept.least, kept.largest
        else:
            totals, squares = self.totals + other.totals, self.squares + other.squares
            least = np.minimum(self.least, other.least)
            largest = np.maximum(self.largest, other.largest)
        return MetricTotals(
            totals,
            squares,
            least,
            largest,
            self.flat and other.flat,
            self.units + other.units,
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
        found: Totals of each metric.
        keys: (n,) ascending keys of all units met, whether they took part or not.
        digest: Of the rewards of the model under test, in whatever order they were met: two models
            with equal digests gave the same rewards.
    """

    metrics: tuple[Metric, ...]
    sampling: Sampling
    where: Mapping[str, str]
    found: tuple[MetricTotals, ...] = field(repr=False)
    keys: NDArray[np.uint64] = field(repr=False)
    digest: int = field(repr=False)

    def __add__(self, other: "ShardTotals") -> "ShardTotals":
        """Totals of both.

        Raises:
            UndefinedMetricError: They are of other metrics, slices or resamples; or a unit is in
                both.
        """
        self.require_alike(other)
        keys = np.concatenate([self.keys, other.keys])
        keys.sort(kind="stable")
        if twice := int(np.count_nonzero(keys[1:] == keys[:-1])):
            raise UndefinedMetricError(
                f"{twice} prompts are in two shards. A shard must be added once, and hold all "
                "responses of its prompts and all prompts of a cluster"
            )
        found = tuple(a + b for a, b in zip(self.found, other.found, strict=True))
        digest = (self.digest + other.digest) % DIGESTS
        return replace(self, found=found, keys=keys, digest=digest)

    def require_alike(self, other: "ShardTotals") -> None:
        """Refuse totals that cannot be added to these or compared with them.

        Raises:
            UndefinedMetricError: They are of other metrics, slices or resamples.
        """
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
    names = _unit_names(shard, cluster)
    distinct, unit_of = np.unique(names, return_inverse=True)
    keys = unit_keys(distinct.tolist())
    mask = _matching(shard, where)
    rows = [_unit_sums(metric, shard, mask, unit_of, distinct.size) for metric in metrics]
    side_by_side = np.hstack([np.zeros((distinct.size, 0)), *(sums for sums, _, _ in rows)])
    totals = _totals(side_by_side, keys, sampling)
    found, start = [], 0
    for metric, (sums, took_part, left_out) in zip(metrics, rows, strict=True):
        stop = start + sums.shape[1]
        counts = shard.counts[shard.counts >= metric.min_responses]
        found.append(
            MetricTotals(
                totals[:, start:stop],
                np.sum(sums**2, axis=0),
                *_ends(sums, np.unique(unit_of[took_part])),
                not (shard.varies() & took_part).any(),
                int(np.unique(unit_of[took_part]).size),
                left_out,
                int(counts.min()) if counts.size else 0,
                int(counts.max()) if counts.size else 0,
            )
        )
        start = stop
    return ShardTotals(tuple(metrics), sampling, where, tuple(found), np.sort(keys), _digest(shard))


def require_sums(metric: Metric) -> None:
    """Refuse a metric that needs more than sums over prompts.

    Raises:
        UndefinedMetricError: Says what it needs, and what instead.
    """
    kind = type(metric)
    instead = "Measure it on a part of the pool that fits in memory."
    if kind.fitted is not Metric.fitted or kind.localised is not Metric.localised:
        raise UndefinedMetricError(
            f"{metric.name} fixes something on the whole pool before it sums (such as bin edges), "
            f"so shards one after another do not give it. {instead}"
        )
    # What rmcheck's own metrics ask there is answered by totals and their standard errors.
    if not kind.concerns.__module__.startswith("rmcheck."):
        raise UndefinedMetricError(
            f"{metric.name} looks at the sums of every prompt before it may be decided on "
            f"(its method concerns), and shards keep totals only. {instead}"
        )


def _digest(shard: Rewards) -> int:
    """The sum over prompts of a digest of each one's name and rewards."""
    total = 0
    spans = pairwise(shard.offsets.tolist())
    for name, (start, stop) in zip(shard.prompt_ids.tolist(), spans, strict=True):
        told = hashlib.blake2b(name.encode(), digest_size=8)
        told.update(shard.proxy[start:stop].tobytes())
        total += int.from_bytes(told.digest())
    return total % DIGESTS


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


def _unit_sums(
    metric: Metric,
    shard: Rewards,
    mask: NDArray[np.bool_],
    unit_of: NDArray[np.intp],
    units: int,
) -> tuple[Floats, NDArray[np.bool_], LeftOut]:
    """(units, K) sums of each unit, the (P,) prompts that took part, and how many did not.

    K is 0 where no prompt has enough responses.
    """
    asked = int(mask.sum())
    if not (mask & (shard.counts >= metric.min_responses)).any():
        nothing = np.zeros(len(shard), dtype=bool)
        return np.zeros((units, 0)), nothing, LeftOut(asked, 0, 0)
    sums, took_part = per_prompt_sums(metric, shard)
    took_part &= mask
    short = asked - int(took_part.sum())
    took_part[took_part] = metric.compared(sums[took_part])
    kept = int(took_part.sum())
    out = np.zeros((units, sums.shape[1]))
    np.add.at(out, unit_of[took_part], sums[took_part])
    return out, took_part, LeftOut(short, asked - short - kept, kept)


def _ends(sums: Floats, units: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """(K,) smallest and largest sums of the units that took part."""
    if not units.size:
        return sums[:0].sum(axis=0), sums[:0].sum(axis=0)
    return sums[units].min(axis=0), sums[units].max(axis=0)


def _totals(sums: Floats, keys: NDArray[np.uint64], sampling: Sampling) -> Floats:
    """(1 + B, K) totals of (n, K) sums: as they are, and over each resample."""
    out = np.zeros((1 + sampling.resamples, sums.shape[1]))
    out[0] = sums.sum(axis=0)
    if not sums.shape[1]:
        return out
    for start in range(0, keys.size, UNITS_AT_A_TIME):
        part = slice(start, start + UNITS_AT_A_TIME)
        counts = unit_weights(keys[part], sampling.resamples, sampling.seed)
        out[1:] += ResampleWeights(counts, sampling.seed).totals(sums[part])
    return out
