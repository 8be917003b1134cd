"""Bounds from resampled totals alone, where the sums of single units are gone."""

from statistics import NormalDist

import numpy as np

from rmcheck.stats.bootstrap import BCa, Distribution, Exact, SortedDraws, Statistic
from rmcheck.stats.weights import Floats

# Step of a numerical derivative, as a share of the largest total.
_STEP = 1e-6


def resample_totals(
    statistic: Statistic,
    center: Floats,
    totals: Floats,
    *,
    units: int,
    reach: tuple[float, float] = (0.0, 0.0),
    smooth: bool = True,
) -> Distribution:
    """`rmcheck.stats.bootstrap.resample` without the sums of units: BCa or exact bounds.

    The acceleration of BCa is Σ d³ / (6 (Σ d²)^1.5) of the influences d_i of the units. That is a
    sixth of the skewness of Σ w_i d_i when weights are Poisson(1), whose variance and third central
    moment are 1; Σ w_i d_i is the derivative of the statistic times the resampled totals.

    Args:
        statistic: What is computed.
        center: (K,) totals of the units as they are.
        totals: (B, K) resampled with Poisson(1) weights (`rmcheck.stats.unit_weights`).
        units: Number of independent units.
        reach: See `resample`.
        smooth: See `resample`.
    """
    value = float(statistic.value(center))
    draws = statistic.value(totals)
    draws = np.sort(draws[np.isfinite(draws)])
    if not draws.size or np.ptp(draws) <= 1e-12 * max(1.0, abs(value)):
        return Exact(value, reach[0], reach[1], units)
    found = SortedDraws(draws)
    if not smooth:
        return BCa(found, 0.0, 0.0, units)
    bias = NormalDist().inv_cdf(found.share_below(value))
    return BCa(found, bias, _acceleration(statistic, center, totals), units)


def _acceleration(statistic: Statistic, center: Floats, totals: Floats) -> float:
    gradient = statistic.gradient(center)
    if gradient is None:
        gradient = _numerical_gradient(statistic, center)
    linear = (totals - center) @ gradient
    deviation = linear - linear.mean()
    with np.errstate(over="ignore", invalid="ignore"):  # rewards beyond 1e100
        scale = np.mean(deviation**2) ** 1.5
        skewness = np.mean(deviation**3) / scale if scale else 0.0
    return float(skewness) / 6 if np.isfinite(skewness) else 0.0


def _numerical_gradient(statistic: Statistic, center: Floats) -> Floats:
    step = _STEP * max(float(np.abs(center).max()), 1e-300)
    steps = np.eye(center.size) * step
    return (statistic.value(center + steps) - statistic.value(center - steps)) / (2 * step)
