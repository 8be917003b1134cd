"""A metric measured on rewards: its value, its bounds, and how sure they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rmcheck.checks.bounds import (
    Dissent,
    LeftOut,
    absolute,
    defined_value,
    dissent,
    drop_dissent,
    drop_reach,
    drop_sign,
    estimated,
    flat_concerns,
    of_largest,
    reach,
    taking_part,
)
from rmcheck.metrics.metric import Metric, per_prompt_sums
from rmcheck.metrics.regret.calibration import RegretTable
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.stats.bootstrap import Distribution, Exact, Statistic, resample
from rmcheck.stats.conformal import Hull
from rmcheck.stats.difference import Difference
from rmcheck.stats.estimate import Estimate
from rmcheck.stats.student_t import influence_error, influence_skew, student_t
from rmcheck.stats.units import MIN_UNITS, Units
from rmcheck.stats.unseen import Seen, one_more, rule_of_three
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
    min_prompts: int = MIN_UNITS


@dataclass(frozen=True)
class Measurement:
    """One number with everything that was found out about it.

    Attributes:
        estimate: Value, bounds, number of independent units and concerns.
        distribution: What the bounds come from; gives p-values that agree with them.
        left_out: Prompts that had too few responses to take part.
        constant: Prompts that took no part because their golden rewards are all equal.
        facts: Further numbers of the metric (noise floor, golden gain).
        note: How the value came about, where there is more than one way.
        signature: The metric with its settings, in one string.
        exact: Whether it is a statement about the rows themselves (`Metric.exact`).
        flat: Whether the model gives all responses of a prompt one reward, on every prompt.
    """

    estimate: Estimate
    distribution: Distribution = field(repr=False)
    left_out: int = 0
    constant: int = 0
    facts: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    signature: str = ""
    exact: bool = False
    flat: bool = False


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
        metric: The metric, fitted; of a drop, that of the candidate.
        statistic: Gives the value from totals.
        units: Sums that the value is in (`Metric.value_columns`), of each independent unit, or of
            groups of them.
        effective: Units that carry the value: all, or fewer (`Metric.effective_units`).
        seen: What the units have in their sums.
        reach: See `rmcheck.stats.bootstrap.resample`.
        dissent: Units that may not have been seen, where the metric tells them.
        left_out: Prompts that took no part.
        calibration: Past reward models that correct the value, if any.
        flat: Whether the model gives all responses of a prompt one reward, on every prompt.
    """

    metric: Metric
    statistic: Statistic
    units: Units
    effective: float
    seen: Seen
    sampling: Sampling
    value: float
    reach: tuple[float, float]
    dissent: Dissent | None
    concerns: tuple[str, ...]
    left_out: LeftOut
    facts: Mapping[str, float]
    calibration: RegretTable | None
    flat: bool


def pending(
    metric: Metric,
    rewards: Rewards,
    *,
    where: Mapping[str, str] | None = None,
    sampling: Sampling | None = None,
) -> Pending:
    """`measure`, up to the resampling."""
    mask = rewards.matching(where or {})
    fitted, sums, took_part = slice_sums(metric, rewards, mask)
    kept, left_out = taking_part(fitted, sums, took_part, mask)
    units = Units.of(sums[kept], rewards.clusters[kept], rewards.units)
    return pending_units(
        fitted,
        units,
        seen=Seen.of(units.sums),
        left_out=left_out,
        flat=not rewards.varies[kept].any(),
        sampling=sampling or Sampling(),
    )


def pending_units(
    metric: Metric,
    units: Units,
    *,
    seen: Seen,
    left_out: LeftOut,
    flat: bool,
    sampling: Sampling,
) -> Pending:
    """A value from units, of a pool in one piece or in shards; see `Pending` for the arguments.

    `flat` says whether the model gives all responses of a prompt one reward, on every prompt.

    Raises:
        UndefinedMetricError: Nothing took part, or the metric is undefined on what did.
    """
    left_out.require_some(metric)
    rows, totals = units.sums, units.whole
    value = defined_value(metric, totals, seen.units, flat=flat)
    debiased = metric.debiased(rows)
    value = value if debiased is None else debiased
    return Pending(
        metric=metric,
        statistic=metric,
        units=replace(units, sums=rows[:, : metric.value_columns]),
        effective=min(float(seen.units), max(2.0, metric.carrying(seen))),
        seen=seen,
        sampling=sampling,
        value=value,
        reach=reach(metric, value, flat=flat),
        dissent=dissent(metric, seen, flat=flat),
        concerns=(
            *flat_concerns(metric, flat=flat),
            *left_out.concerns(metric),
            *metric.concerns(rows),
        ),
        left_out=left_out,
        facts=metric.facts(totals),
        calibration=metric.calibration,
        flat=flat,
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
    return drop_of(first, second, same_rewards=np.array_equal(candidate.proxy, baseline.proxy))


def drop_of(first: Pending, second: Pending, *, same_rewards: bool) -> Pending:
    """How much worse a candidate is than a baseline on the same rows."""
    metric, sign = first.metric, drop_sign(first.metric)
    halves = [(part.metric, part.seen) for part in (first, second)]
    return replace(
        first,
        statistic=Difference(first.statistic, second.statistic, first.units.sums.shape[1], sign),
        units=first.units.beside(second.units),
        effective=min(first.effective, second.effective),
        value=sign * (first.value - second.value) + 0.0,  # no -0.0
        reach=drop_reach(metric, same_rewards=same_rewards),
        dissent=drop_dissent(*halves, same_rewards=same_rewards),
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
        key = (value.units.pool, value.sampling.resamples, value.sampling.seed)
        groups.setdefault(key, []).append(i)
    found: dict[int, Measurement] = {}
    for key, members in groups.items():
        weights = draw_weights(*key)
        for slice_members in _by_units(values, members):
            first, *others = (values[i].units for i in slice_members)
            totals = first.beside(*others).totals(weights)
            start = 0
            for i in slice_members:
                stop = start + values[i].units.sums.shape[1]
                drawn = _distribution(values[i], weights, totals[:, start:stop])
                found[i] = _measurement(values[i], drawn)
                start = stop
    return [found[i] for i in range(len(values))]


def _by_units(values: Sequence[Pending], members: Sequence[int]) -> list[list[int]]:
    """Members that the same units take part in: a slice is resampled by its own units alone."""
    found: dict[bytes, list[int]] = {}
    for i in members:
        found.setdefault(values[i].units.places.tobytes(), []).append(i)
    return list(found.values())


def slice_sums(
    metric: Metric, rewards: Rewards, mask: NDArray[np.bool_]
) -> tuple[Metric, Floats, NDArray[np.bool_]]:
    """The metric fitted, (P, K) sums of all prompts, and those that took part.

    What does not depend on the slice is computed once for all of them.
    """
    # The metric is kept too, so that no other one gets its id.
    _, fitted, known = rewards.memo.get(id(metric), (metric, None, None))
    fitted = fitted or metric.fitted(rewards)
    local = fitted.localised(rewards, mask)
    if local is fitted and known is None:
        known = per_prompt_sums(fitted, rewards)
    rewards.memo[id(metric)] = (metric, fitted, known)
    return (local, *(known if local is fitted else per_prompt_sums(local, rewards)))


def _distribution(value: Pending, weights: ResampleWeights, totals: Floats) -> Distribution:
    statistic, whole, count = value.statistic, value.units.whole, value.seen.units
    if value.metric.exact:  # other prompts would not change it
        return Exact(value.value, 0.0, 0.0, count)
    unseen, seed = value.dissent, weights.seed
    if bounding := statistic.bounded_by():
        found = [_resampled(value, one, weights, totals) for one in bounding]
        if unseen is not None:
            found += [
                rule_of_three(
                    one, whole, unseen.missed, unseen.rare, units=count, effective=value.effective
                )
                for one in bounding
            ]
        return Hull(tuple(found))
    special = absolute(statistic, whole, totals, unseen, units=count, seed=seed)
    if special is None and unseen is None:
        special = of_largest(statistic, whole, totals, value.reach, units=count)
    if special is not None:
        return special
    if unseen is None:
        return _resampled(value, statistic, weights, totals)
    rare = rule_of_three(statistic, whole, unseen.missed, unseen.rare, units=count)
    if unseen.one_more is None:
        return Hull((_resampled(value, statistic, weights, totals), rare))
    return Hull((one_more(statistic, whole, totals, unseen.one_more, seed=seed), rare))


def _resampled(
    value: Pending, statistic: Statistic, weights: ResampleWeights, totals: Floats
) -> Distribution:
    """Of the value, or of what bounds it: Student's t of a difference, else by its resamples."""
    sums = value.units.sums
    if isinstance(statistic, Difference):
        error = influence_error(statistic, sums)
        center = float(statistic.value(value.units.whole))
        skew = influence_skew(statistic, sums)
        return student_t(center, error, value.effective, reach=value.reach, skew=skew)
    return resample(
        statistic,
        sums,
        weights,
        units=value.units.places,
        effective=value.effective,
        totals=totals,
        studentised=value.metric.studentised,
        reach=value.reach,
    )


def _measurement(value: Pending, found: Distribution) -> Measurement:
    metric, sampling = value.metric, value.sampling
    center, concerns, note = value.value, (*value.concerns, *metric.guessed), metric.note
    if value.calibration is not None:
        calibrated = value.calibration.applied(center, found, sampling.confidence)
        center, found = calibrated.value, calibrated.distribution
        guessed = () if calibrated.answers else metric.guessed
        concerns = (*value.concerns, *calibrated.concerns, *guessed)
        note = f"{note}; {calibrated.note}"
    estimate = estimated(
        center,
        found,
        value.seen.units,
        concerns,
        confidence=sampling.confidence,
        min_units=0 if metric.exact else sampling.min_prompts,
        constant=value.left_out.constant,
    )
    return Measurement(
        estimate,
        found,
        value.left_out.short,
        value.left_out.constant,
        value.facts,
        note,
        metric.signature,
        metric.exact,
        value.flat and not metric.exact,
    )
