"""How much data a decision needs, and what difference given data can see."""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from rmcheck.stats.bootstrap import Statistic
from rmcheck.stats.weights import Floats

_NORMAL = NormalDist()


def influences(statistic: Statistic, sums: Floats) -> Floats:
    """How far each unit moves the value: to first order, the value's error is their mean.

    n ∇·s_i where the statistic has a gradient ∇ (for a ratio of means a / b that is
    (a_i − (a / b) b_i) / mean b), the jackknife's (n − 1) (mean θ_(−i) − θ_(−i)) otherwise.

    Args:
        statistic: Whose value does not change when all totals are scaled.
        sums: (n, K) sums, one row a unit.

    Returns:
        (n,) values in the statistic's units with mean 0. Their standard deviation over √n is the
        standard error.
    """
    n = sums.shape[0]
    totals = sums.sum(axis=0)
    gradient = statistic.gradient(totals)
    if gradient is not None:
        return np.asarray(n * (sums @ gradient), dtype=np.float64)
    left_out = statistic.value(totals - sums)
    return np.asarray((n - 1) * (left_out.mean() - left_out), dtype=np.float64)


def unit_sd(influence: Floats, clusters: NDArray[np.int64]) -> float:
    """Standard deviation s such that the standard error of n units is s / √n.

    Units of one cluster are not independent of each other: their influences are added up first.

    Args:
        influence: (n,) influences.
        clusters: (n,) cluster of each unit; at least two different ones.

    Reference:
        Miller 2024, Adding error bars to evals, section 2.2 (clustered standard errors).
    """
    _, inverse = np.unique(clusters, return_inverse=True)
    added = np.bincount(inverse, influence)
    independent = added.size
    return math.sqrt(independent / (independent - 1) * float(added @ added) / influence.size)


def units_to_detect(
    difference: float, sd: float, *, confidence: float = 0.95, power: float = 0.8
) -> int:
    """Units with which a one-sided test finds a difference with this power.

    (z_c + z_p)² s² / δ², rounded up; 6.183 s² / δ² at confidence 0.95 and power 0.8. Bounds that
    allow for units not seen need more (`rmcheck.stats.reach`).

    Args:
        difference: δ > 0, in units of `sd`.
        sd: Standard deviation of one unit's influence.
        confidence: 1 − α of the one-sided test, in (0.5, 1).
        power: Chance of finding the difference, in (0, 1).
    """
    errors = _NORMAL.inv_cdf(confidence) + _NORMAL.inv_cdf(power)
    return max(1, math.ceil((errors * sd / difference) ** 2))


def units_to_decide(
    *, n: int, value: float, lower: float, upper: float, bound: float
) -> int | None:
    """Units with which bounds as wide as these would no longer straddle the bound.

    The distance from the value to the bound end that decides shrinks with 1/√n, so
    n' = n · (that distance / distance to the bound)². Rounded up to two digits.

    Returns:
        The number of units, or None where the value lies on the bound and no number is enough.
    """
    gap = value - bound
    if gap == 0:
        return None
    reach = value - lower if gap > 0 else upper - value
    needed = n * max(1.0, (reach / abs(gap)) ** 2)
    if not math.isfinite(needed) or needed > 1e12:
        return None
    digits = int(10 ** max(0, math.floor(math.log10(needed)) - 1))
    return math.ceil(needed / digits) * digits
