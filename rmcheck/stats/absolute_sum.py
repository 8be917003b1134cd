"""Bounds on a sum of absolute values, whose estimate is too high where the terms are near zero.

Noise in a term that is zero adds to its absolute value whatever its sign. Resampling adds the same
noise a second time, so percentiles of the resampled sum lie higher still, and a bias correction
made for smooth statistics does not undo it.
"""

from dataclasses import dataclass, field

import numpy as np

from rmcheck.stats.bootstrap import Distribution, SortedDraws
from rmcheck.stats.weights import Floats


@dataclass(frozen=True)
class AbsoluteSum(Distribution):
    """What resampling says about Σ |t_b|.

    The lower bound is Σ |t_b| less a quantile of Σ |t*_b − t_b|, by which the estimate cannot be
    too high more often, whatever the true terms (the triangle inequality), and 0 at least. The
    upper bound is a percentile of Σ |t*_b|. Both are conservative.

    Attributes:
        value: Σ |t_b|.
        noise: Ascending draws of Σ |t*_b − t_b|.
        sums: Ascending draws of Σ |t*_b|.
    """

    value: float
    noise: SortedDraws = field(repr=False)
    sums: SortedDraws = field(repr=False)

    def bound(self, level: float) -> float:
        """The bound at this level."""
        if level < 0.5:
            return max(0.0, self.value - self.noise.quantile(1 - level))
        return max(self.value, self.sums.quantile(level))

    def level(self, at: float) -> float:
        """`bound` solved for its level; one half between the two medians."""
        if at < 0:
            return 0.0
        if at >= self.bound(0.5):
            return max(0.5, self.sums.share_below(at))
        return min(0.5, 1 - self.noise.share_below(self.value - at))


def absolute_sum(terms: Floats, draws: Floats) -> AbsoluteSum | None:
    """The distribution of Σ |t_b|, or None where no resample differs.

    Args:
        terms: (B,) the terms.
        draws: (R, B) the same on resamples.
    """
    draws = draws[np.isfinite(draws).all(axis=1)]
    noise = np.sort(np.abs(draws - terms).sum(axis=1))
    if not noise.size or noise[-1] <= 1e-12 * max(1.0, float(np.abs(terms).sum())):
        return None
    sums = np.sort(np.abs(draws).sum(axis=1))
    return AbsoluteSum(float(np.abs(terms).sum()), SortedDraws(noise), SortedDraws(sums))
