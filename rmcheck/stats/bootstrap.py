"""One-sided bounds and the p-values that agree with them.

Three ways to turn resampled totals into bounds, each with its inverse, so that "the upper
bound at level 1 − α is below τ" and "p < α" are the same statement:

* BCa (Efron 1987), for everything that is not named below;
* bootstrap-t (Hall 1988), for ratios of two random means on fewer than 200 units, where BCa
  and percentile lower bounds cover too rarely;
* exact bounds when no resample differs from the value (rule of three).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np

from rmcheck.stats.weights import Floats, ResampleWeights

# Below this many units a ratio is studentised.
SMALL_SAMPLE = 200
_NORMAL = NormalDist()


class Statistic(Protocol):
    """A number computed from totals; a subclass is a smooth one unless it says otherwise."""

    def value(self, sums: Floats, /) -> Floats:
        """(…,) values of (…, K) totals."""

    def gradient(self, sums: Floats, /) -> Floats | None:
        """(…, K) derivatives, or None."""

    def parts(self, sums: Floats, /) -> Floats | None:
        """(…, M) numbers of which the value is the largest, or None where it is no maximum."""
        return None

    def terms(self, sums: Floats, /) -> Floats | None:
        """(…, M) numbers whose absolute values add up to the value, or None."""
        return None

    def bounded_by(self) -> "tuple[Statistic, ...]":
        """Statistics of the same sums whose bounds this one has, the widest; empty for its own."""
        return ()


class Distribution(ABC):
    """What resampling says about a value."""

    @abstractmethod
    def bound(self, level: float) -> float:
        """The number that the true value is below with this confidence.

        `bound(0.95)` is a one-sided 95 % upper bound, `bound(0.05)` a one-sided 95 % lower one.
        """

    @abstractmethod
    def level(self, at: float) -> float:
        """The confidence that the true value is below `at`: the inverse of `bound`, in (0, 1)."""


@dataclass(frozen=True)
class SortedDraws:
    """Ascending finite draws, with the +1 that keeps p-values above zero."""

    draws: Floats

    def quantile(self, level: float) -> float:
        """The draw that this share of the draws is below; levels outside 0 to 1 are moved in."""
        # As numpy's `quantile`, which would sort a part of them anew.
        at = (self.draws.size - 1) * min(1.0, max(0.0, level))
        before = min(int(at), max(0, self.draws.size - 2))
        first, last = self.draws[before], self.draws[min(before + 1, self.draws.size - 1)]
        share = at - before
        step = (last - first) * (share if share < 0.5 else share - 1)
        return float(first + step if share < 0.5 else last + step)

    def share_below(self, at: float) -> float:
        """Share of draws below `at`, ties counted half, never 0 or 1."""
        # Equal shares of different totals differ in their last digits and are ties all the same.
        rounding = 1e-10 * max(1.0, abs(at)) + 1e-6 * float(np.ptp(self.draws))
        below = np.searchsorted(self.draws, at - rounding, side="left")
        not_above = np.searchsorted(self.draws, at + rounding, side="right")
        size = self.draws.size
        share = (0.5 * (below + not_above)) / size
        return float(min(size / (size + 1), max(1 / (size + 1), share)))


@dataclass(frozen=True)
class BCa(Distribution):
    """Bias-corrected and accelerated percentile bounds, widened for few units.

    Draws that n units carry spread by √((n − 1) / n) too little, unless they are all, and their
    spread is itself uncertain. So the normal quantile of a level is replaced by √(n / (n − 1))
    times that of Student's t with n − 1 degrees of freedom (Hesterberg 2015, The American
    Statistician 69:371-386, section 4.5).
    """

    draws: SortedDraws
    bias: float
    acceleration: float
    units: float

    def bound(self, level: float) -> float:
        """The adjusted percentile of the draws."""
        shifted = self.bias + _widened(_NORMAL.inv_cdf(level), self.units)
        slope = 1 - self.acceleration * shifted
        if slope <= 0:  # the adjustment has left its range: take the outermost draw
            return self.draws.quantile(1.0 if shifted > 0 else 0.0)
        return self.draws.quantile(_NORMAL.cdf(self.bias + shifted / slope))

    def level(self, at: float) -> float:
        z = _NORMAL.inv_cdf(self.draws.share_below(at)) - self.bias
        slope = 1 + self.acceleration * z
        if slope <= 0:
            return 1.0 if z > 0 else 0.0
        return _NORMAL.cdf(_narrowed(z / slope - self.bias, self.units))


@dataclass(frozen=True)
class Studentised(Distribution):
    """Bootstrap-t bounds: quantiles of (resampled − value) / its own standard error."""

    center: float
    error: float
    t: SortedDraws

    def bound(self, level: float) -> float:
        """Value minus the opposite quantile of t, in standard errors."""
        return self.center - self.error * self.t.quantile(1 - level)

    def level(self, at: float) -> float:
        return 1 - self.t.share_below((self.center - at) / self.error)


@dataclass(frozen=True)
class Exact(Distribution):
    """Bounds for a value that no resample changed.

    With n units that all agree, a share of 1 − α^(1/n) of units that differ would still have been
    missed with probability α (the rule of three); each of them could move the value by `reach`.
    """

    center: float
    below: float
    above: float
    units: float

    def bound(self, level: float) -> float:
        """The value, less or more by what could have been missed."""
        if level < 0.5:
            return self.center - self.below * (1 - math.pow(level, 1 / self.units))
        return self.center + self.above * (1 - math.pow(1 - level, 1 / self.units))

    def level(self, at: float) -> float:
        """`bound` solved for its level; 0 or 1 where nothing could have been missed."""
        if at == self.center:
            return 0.5
        reach = self.above if at > self.center else self.below
        missed = abs(at - self.center) / reach if reach else 1.0
        tail = float((1 - missed) ** self.units) if missed < 1 else 0.0
        return 1 - min(0.5, tail) if at > self.center else min(0.5, tail)


def resample(
    statistic: Statistic,
    sums: Floats,
    weights: ResampleWeights,
    *,
    units: np.ndarray | None = None,
    effective: float | None = None,
    totals: Floats | None = None,
    studentised: bool = False,
    reach: tuple[float, float] = (0.0, 0.0),
) -> Distribution:
    """Resample a statistic of totals.

    Args:
        statistic: What is computed.
        sums: (n, K) sums, one row an independent unit, or a group of them; n >= 2.
        weights: Shared by everything that must be compared or corrected together.
        units: (n,) units of the weights these rows are; None means all.
        effective: Units that carry the value; None where each row is one, and does.
        totals: (B, K) `weights.totals(sums, units)`, where it is known already.
        studentised: Whether the statistic is a ratio of two random means.
        reach: How far one unit could move the value down and up if it did not agree with all
            others; used only where no resample changes the value.
    """
    if totals is None:
        totals = weights.totals(sums, units)
    center, carried = float(statistic.value(sums.sum(axis=0))), effective or sums.shape[0]
    draws = statistic.value(totals)
    draws = np.sort(draws[np.isfinite(draws)])
    spread = 1e-12 * max(1.0, abs(center))
    if not draws.size or np.ptp(draws) <= spread:
        return Exact(center, reach[0], reach[1], carried)
    if studentised and sums.shape[0] < SMALL_SAMPLE:
        return _studentised(statistic, sums, weights, units, totals, center)
    bias, acceleration = _bias(draws, center), _acceleration(statistic, sums)
    return BCa(SortedDraws(draws), bias, acceleration, carried)


def _widened(z: float, units: float) -> float:
    """√(n / (n − 1)) t, where t is the quantile of Student's t at the level of the normal's z.

    t = z + (z³ + z) / (4 ν) + (5 z⁵ + 16 z³ + 3 z) / (96 ν²), ν = n − 1 (Fisher and Cornish 1960).
    """
    freedom = units - 1
    first = (z**3 + z) / (4 * freedom)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return math.sqrt(units / freedom) * (z + first + second)


def _narrowed(wide: float, units: float) -> float:
    """`_widened` solved for z, by Newton's method; it is odd, and convex above 0."""
    z, freedom = wide, units - 1
    for _ in range(100):
        first = (3 * z**2 + 1) / (4 * freedom)
        second = (25 * z**4 + 48 * z**2 + 3) / (96 * freedom**2)
        step = (_widened(z, units) - wide) / (math.sqrt(units / freedom) * (1 + first + second))
        z -= step
        if abs(step) <= 1e-12 * max(1.0, abs(z)):
            break
    return z


def _bias(draws: Floats, center: float) -> float:
    return _NORMAL.inv_cdf(SortedDraws(draws).share_below(center))


def _acceleration(statistic: Statistic, sums: Floats) -> float:
    left_out = statistic.value(sums.sum(axis=0) - sums)
    left_out = left_out[np.isfinite(left_out)]
    deviation = left_out.mean() - left_out
    scale = float(np.sum(deviation**2)) ** 1.5
    return float(np.sum(deviation**3)) / (6 * scale) if scale else 0.0


def standard_error(statistic: Statistic, sums: Floats) -> float:
    """Delta-method standard error over n independent units: √(n/(n−1) · Σ (∇·s_i)²).

    The totals drop out because a statistic does not change when all totals are scaled.
    """
    gradient = statistic.gradient(sums.sum(axis=0))
    if gradient is None:
        raise ValueError("this statistic has no gradient")
    n = sums.shape[0]
    return float(np.sqrt(n / (n - 1) * np.sum((sums @ gradient) ** 2)))


def _studentised(
    statistic: Statistic,
    sums: Floats,
    weights: ResampleWeights,
    units: np.ndarray | None,
    totals: Floats,
    center: float,
) -> Studentised:
    gradient = statistic.gradient(totals)
    if gradient is None:
        raise ValueError("a studentised statistic needs a gradient")
    # Σ w (∇·s)² is a quadratic form in ∇, so one more product with the weights gives every
    # resample its own standard error.
    size = sums.shape[1]
    i, j = np.triu_indices(size)
    moments = weights.totals(sums[:, i] * sums[:, j], units)
    double = np.where(i == j, 1.0, 2.0)
    variance = np.sum(double * gradient[:, i] * gradient[:, j] * moments, axis=1)
    n = sums.shape[0]
    error = np.sqrt(np.maximum(variance, 0.0) * n / (n - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (statistic.value(totals) - center) / error
    return Studentised(
        center, standard_error(statistic, sums), SortedDraws(np.sort(t[np.isfinite(t)]))
    )
