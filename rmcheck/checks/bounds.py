"""Who takes part in a value, how far a unit that was not seen could move it, and its bounds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.rewards import Floats
from rmcheck.stats.absolute_sum import absolute_difference, absolute_sum
from rmcheck.stats.bootstrap import Distribution, Exact, Statistic
from rmcheck.stats.conformal import Hull
from rmcheck.stats.difference import Difference
from rmcheck.stats.estimate import Estimate
from rmcheck.stats.simultaneous import largest
from rmcheck.stats.units import few_units
from rmcheck.stats.unseen import Seen, with_one_more

# A value on fewer than this share of the prompts that were asked about is not theirs.
MIN_MEASURED_SHARE = 0.5
# What no good model does.
FLAT = "the model gives all responses of a prompt one reward, on every prompt"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Prompts of a pool, or slice, that took no part.

    Attributes:
        short: They have too few responses.
        constant: Their golden rewards are all equal, so that they say nothing of any model.
        kept: Prompts that took part.
    """

    short: int
    constant: int
    kept: int

    def plus(self, other: "LeftOut") -> "LeftOut":
        """The counts of two parts of a pool, added up."""
        return LeftOut(
            self.short + other.short, self.constant + other.constant, self.kept + other.kept
        )

    def concerns(self, metric: Metric) -> tuple[str, ...]:
        """That most prompts have too few responses."""
        total = self.short + self.constant + self.kept
        if self.short <= (1 - MIN_MEASURED_SHARE) * total:
            return ()
        return (
            f"{self.short} of {total} prompts have fewer than {metric.min_responses} responses, "
            "and take no part; put them into another pool, or give them more",
        )

    def require_some(self, metric: Metric) -> None:
        """Refuse a pool on which nothing is left.

        Raises:
            UndefinedMetricError: Says why none is.
        """
        if self.kept:
            return
        if self.constant:
            raise UndefinedMetricError(
                f"{metric.name} is undefined: on all {self.constant} prompts the golden rewards "
                "are all equal, so that no response is better than another; it needs a golden "
                "reward that tells them apart"
            )
        raise UndefinedMetricError(
            f"{metric.name}: no prompt has enough responses to be measured "
            f"({metric.min_responses} or more)"
        )


def taking_part(
    metric: Metric, sums: Floats, measured: NDArray[np.bool_], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], LeftOut]:
    """(P,) which prompts of a slice carry the value, and how many do not.

    Args:
        metric: The metric.
        sums: (P, K) sums of each prompt.
        measured: (P,) prompts with enough responses.
        mask: (P,) prompts of the slice.
    """
    kept = mask & measured
    enough = int(kept.sum())
    kept[kept] = metric.compared(sums[kept])
    count = int(kept.sum())
    return kept, LeftOut(int(mask.sum()) - enough, enough - count, count)


def defined_value(metric: Metric, totals: Floats, units: int, *, flat: bool) -> float:
    """Value of (K,) totals of so many independent units.

    Raises:
        UndefinedMetricError: It is not finite.
    """
    value = float(metric.value(totals))
    if not np.isfinite(value):
        reason = (
            "the model gives all responses one reward"
            if flat
            else "what it divides by is 0 (rewards of the model or golden that hardly differ)"
        )
        raise UndefinedMetricError(f"{metric.name} is undefined: on all {units} prompts {reason}")
    return value


def flat_concerns(metric: Metric, *, flat: bool) -> tuple[str, ...]:
    """That the model is constant (`flat`), where the metric does not tell it from a good one."""
    if not flat or metric.tells_direction or metric.exact:
        return ()
    return (f"{FLAT}, and {metric.name} cannot tell that from a good model",)


def drop_sign(metric: Metric) -> float:
    """Sign of candidate minus baseline with which a drop is positive when the candidate is worse.

    Whatever the metric's direction, a lower drop is better.
    """
    return -1.0 if metric.direction == "higher" else 1.0


def reach(metric: Metric, value: float, *, flat: bool) -> tuple[float, float]:
    """How far down and up one dissenting prompt could move a value that all prompts agree on.

    A model that is right on all of n prompts may be wrong on the next. One that gives all responses
    of a prompt one reward, on every prompt (`flat`), has the same value on every prompt.
    """
    if flat:
        return (0.0, 0.0)
    low, high = metric.attainable
    return (max(0.0, value - low), max(0.0, high - value))


def drop_reach(metric: Metric, *, same_rewards: bool) -> tuple[float, float]:
    """`reach` of a drop on which all prompts agree; 0 from a model to itself."""
    low, high = metric.attainable
    width = 0.0 if same_rewards else high - low
    return (width, width)


@dataclass(frozen=True, eq=False)
class Dissent:
    """The worst and the best unit that may not have been seen; see `rmcheck.stats.unseen`.

    K counts the sums that the value is in (`Metric.value_columns`).

    Attributes:
        missed: (2, K) sums of units of which many could have been missed.
        rare: (2, K) sums of units of which few could have been missed.
        one_more: (2, K) sums of the unit that each resample has more; None for a drop, whose
            differences are as often positive as negative where both models are alike.
    """

    missed: Floats
    rare: Floats
    one_more: Floats | None = None


def dissent(metric: Metric, seen: Seen, *, flat: bool) -> Dissent | None:
    """Of a metric; None where it tells none, or where none can be (see `reach`)."""
    unseen = None if flat else metric.unseen(seen)
    if unseen is None:
        return None
    rows = (unseen.weighty, unseen.farthest, unseen.gravest)
    return Dissent(*(row[:, : metric.value_columns] for row in rows))


def drop_dissent(
    first: tuple[Metric, Seen], second: tuple[Metric, Seen], *, same_rewards: bool
) -> Dissent | None:
    """Of a drop: units of ordinary stake that the candidate loses and the baseline wins.

    With the stake of the gravest unit, or one beyond it, no drop would ever be small enough: what
    is hard for one model is as a rule hard for the other.
    """
    ours, theirs = first[0].unseen(first[1]), second[0].unseen(second[1])
    if ours is None or theirs is None or same_rewards:
        return None
    columns = first[0].value_columns
    rows = np.hstack([ours.ordinary[:, :columns], theirs.ordinary[::-1, :columns]])
    return Dissent(rows, rows)


def absolute(
    statistic: Statistic,
    totals: Floats,
    drawn: Floats,
    dissent: Dissent | None,
    *,
    units: int,
    seed: int,
) -> Distribution | None:
    """Of a sum of absolute values, or a difference of two; None for others, and without noise.

    Args:
        statistic: Gives the value from totals.
        totals: (K,) totals of the units as they are.
        drawn: (B, K) totals of each resample.
        dissent: Units that may not have been seen, where no error seen is not no error.
        units: Number of independent units.
        seed: Of the resampling.
    """
    more = drawn if dissent is None else with_one_more(drawn, dissent.missed[0], seed=seed)
    every = (totals, drawn, more)
    if isinstance(statistic, Difference):
        both = [pair for pair in map(statistic.both_terms, every) if pair is not None]
        return absolute_difference(*both, units=units) if both else None
    terms = [one for one in map(statistic.terms, every) if one is not None]
    return absolute_sum(*terms, units=units) if terms else None


def of_largest(
    statistic: Statistic, totals: Floats, drawn: Floats, reach: tuple[float, float], *, units: int
) -> Distribution | None:
    """Of a largest part, whose bounds pay for having chosen it; None where it is none, or is sure.

    A part that does not vary is the least that the value can be, such as golden's fall since n from
    that n on. Where it is the largest, what could have been missed is allowed for.
    """
    parts, parts_drawn = statistic.parts(totals), statistic.parts(drawn)
    if parts is None or parts_drawn is None:
        return None
    paired = isinstance(statistic, Difference)
    found = largest(parts, parts_drawn, between=paired)
    if not (found.errors > 0).any():
        return None
    chosen = int(np.argmax(parts))
    if paired or found.errors[chosen] > 0:
        return found
    return Hull((found, Exact(float(parts[chosen]), *reach, units)))


def estimated(
    value: float,
    found: Distribution,
    units: int,
    concerns: tuple[str, ...],
    *,
    confidence: float,
    min_units: int,
    constant: int = 0,
) -> Estimate:
    """Value and bounds, with a concern where the independent units are fewer than `min_units`.

    `constant` prompts are no units, as golden is constant there, and are named beside them.
    """
    concerns = (*few_units(units, min_units, constant=constant), *concerns)
    bounds = one_sided_bounds(found, value, confidence)
    return Estimate(value, *bounds, units, confidence, concerns)


def one_sided_bounds(found: Distribution, value: float, confidence: float) -> tuple[float, float]:
    """Lower and upper bound, each of this level; they never exclude the value itself."""
    lower, upper = found.bound(1 - confidence), found.bound(confidence)
    return min(lower, value), max(upper, value)
