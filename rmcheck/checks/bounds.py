"""From resampled totals to an estimate: what a pool in one piece and one in shards have in common.

`measurement` has the sums of every unit, `shards` totals alone. Each resamples what is left to
ordinary resampling in its own way; all else is decided here, once.
"""

from collections.abc import Callable

import numpy as np

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.rewards import Floats
from rmcheck.stats.absolute_sum import absolute_sum
from rmcheck.stats.bootstrap import Distribution, Statistic
from rmcheck.stats.difference import Difference
from rmcheck.stats.estimate import Estimate
from rmcheck.stats.simultaneous import largest


def defined_value(metric: Metric, totals: Floats, units: int) -> float:
    """Value of (K,) totals of so many independent units.

    Raises:
        UndefinedMetricError: It is not finite.
    """
    value = float(metric.value(totals))
    if not np.isfinite(value):
        raise UndefinedMetricError(
            f"{metric.name} is undefined: on all {units} prompts the rewards that it divides by "
            "are constant (or their sum is 0)"
        )
    return value


def drop_sign(metric: Metric) -> float:
    """Sign of candidate minus baseline with which a drop is positive when the candidate is worse.

    Whatever the metric's direction, a lower drop is better.
    """
    return -1.0 if metric.direction == "higher" else 1.0


def reach(metric: Metric, value: float) -> tuple[float, float]:
    """How far down and up one dissenting prompt could move a value that all prompts agree on.

    Only a value at an end of the range can hide dissent: a model that is right on all of n
    prompts may be wrong on the next. One that is constant has the same value on every prompt.
    """
    low, high = metric.range
    width = _width(metric)
    return (width if value == high else 0.0, width if value == low else 0.0)


def drop_reach(metric: Metric, *, same_rewards: bool) -> tuple[float, float]:
    """`reach` of a drop on which all prompts agree; 0 from a model to itself."""
    width = 0.0 if same_rewards else _width(metric)
    return (width, width)


def _width(metric: Metric) -> float:
    width = metric.range[1] - metric.range[0]
    return width if np.isfinite(width) else 0.0


def distribution(
    statistic: Statistic,
    totals: Floats,
    drawn: Floats,
    resampled: Callable[[bool], Distribution],
) -> Distribution:
    """What resampling says about a statistic.

    Args:
        statistic: Gives the value from totals.
        totals: (K,) totals of the units as they are.
        drawn: (B, K) totals of each resample.
        resampled: Ordinary resampling, for what is neither a maximum nor a sum of absolute values;
            takes whether the statistic is smooth.
    """
    parts, parts_drawn = statistic.parts(totals), statistic.parts(drawn)
    if parts is not None and parts_drawn is not None:
        found = largest(parts, parts_drawn, between=isinstance(statistic, Difference))
        if (found.errors > 0).any():
            return found
    terms, terms_drawn = statistic.terms(totals), statistic.terms(drawn)
    if terms is not None and terms_drawn is not None and (sum_ := absolute_sum(terms, terms_drawn)):
        return sum_
    return resampled(not isinstance(statistic, Difference) or statistic.smooth(totals))


def estimated(
    value: float,
    found: Distribution,
    units: int,
    concerns: tuple[str, ...],
    *,
    confidence: float,
    min_units: int,
) -> Estimate:
    """Value and bounds, with a concern where the independent units are fewer than `min_units`."""
    if units < min_units:
        concerns = (f"{units} independent prompts, fewer than {min_units}", *concerns)
    bounds = one_sided_bounds(found, value, confidence)
    return Estimate(value, *bounds, units, confidence, concerns)


def one_sided_bounds(found: Distribution, value: float, confidence: float) -> tuple[float, float]:
    """Lower and upper bound, each of this level; they never exclude the value itself."""
    lower, upper = found.bound(1 - confidence), found.bound(confidence)
    return min(lower, value), max(upper, value)
