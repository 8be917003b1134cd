"""Sums of absolute values: an estimate that noise does not raise, and bounds that hold.

Noise in a term that is zero adds to its absolute value whatever its sign, so that Σ |t_b| is too
high where terms are near zero, by about as much as all of it on few units. Resampling adds the same
noise a second time, and a bias correction made for smooth statistics does not undo it.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rmcheck.stats.bootstrap import Distribution, SortedDraws
from rmcheck.stats.weights import Floats

# Sums at which the upper bound is looked for; between them it is interpolated.
_GRID = 96
# Candidates after which resamples that are surely above are left out.
_THIN_OUT = 6
# Standard errors beyond which noise does not carry a term to the other side of zero.
_FAR = 3.0


def debiased_sum(terms: Floats, errors: Floats, shares: Floats) -> float:
    """Σ |t_b| less what noise adds to it.

    A normal t with mean m and standard error s has the mean absolute value
    s √(2/π) exp(−m² / 2 s²) + m erf(m / s √2) (folded normal). That is taken to be the mean of
    |t_b|, as if all terms were off by one amount d in proportion to their shares, m_b = w_b d, with
    d² = Σ (t_b² − s_b²) / w_b over Σ w_b, which noise does not raise (Kumar et al.), and 0 if that
    is below 0. Terms more than three errors from zero stay as they are, and take no part in d.

    Args:
        terms: (B,) t_b.
        errors: (B,) their standard errors s_b.
        shares: (B,) what they are shares of, w_b > 0.

    Returns:
        The sum, 0 at least.

    Reference:
        Kumar, Liang and Ma 2019, Verified uncertainty calibration, section 4.1.
    """
    near = np.abs(terms) <= _FAR * errors
    t, s, w = np.abs(terms[near]), errors[near], shares[near]
    apart = 0.0
    if near.any():
        apart = math.sqrt(max(0.0, float(np.sum((t**2 - s**2) / w) / w.sum())))
    added = _folded_mean(w * apart, s) - w * apart
    return float(np.abs(terms[~near]).sum()) + max(0.0, float(np.sum(t - added)))


def _folded_mean(mean: Floats, error: Floats) -> Floats:
    """Mean of |x| for normal x with these means ≥ 0 and standard errors."""
    found, near = mean.copy(), mean < 40 * error  # noise does not reach farther
    m, s = mean[near], error[near]
    noise = s * math.sqrt(2 / math.pi) * np.exp(-((m / s) ** 2) / 2)
    found[near] = noise + m * np.array([math.erf(z / math.sqrt(2)) for z in m / s])
    return found


@dataclass(frozen=True, eq=False)
class AbsoluteSum(Distribution):
    """What resampling says about Σ |t_b|.

    The upper bound is the sum at which so small an estimate would be rare. Of all terms with that
    sum the estimate is smallest where all are equally far from zero, in standard errors, since
    noise raises terms near zero most: the test is at those. It is no less than the percentile of
    |Σ t_b|, in which errors that were not seen can be allowed for (`more` of `absolute_sum`).

    The lower bound is the estimate less a quantile of Σ |t*_b − t_b|, by which it cannot be too
    high more often, whatever the true terms (the triangle inequality), and 0 at least.

    Attributes:
        value: Σ |t_b| as it is.
        sums: (G,) ascending candidates for the true sum.
        above: (G,) share of resamples in which the estimate would be above `value`; where that is
            below one half, any number that is.
        noise: Draws of Σ |t*_b − t_b|.
        overall: Draws of |Σ t*_b|.
    """

    value: float
    sums: Floats = field(repr=False)
    above: Floats = field(repr=False)
    noise: SortedDraws = field(repr=False)
    overall: SortedDraws = field(repr=False)

    def bound(self, level: float) -> float:
        if level < 0.5:
            return max(0.0, self.value - self.noise.quantile(1 - level))
        found = float(np.interp(level, self.above, self.sums))
        return max(found, self.overall.quantile(level))

    def level(self, at: float) -> float:
        """`bound` solved for its level; one half between the two medians."""
        if at < 0:
            return 0.0
        rarest = 1 / (self.noise.draws.size + 1)
        upper = min(float(np.interp(at, self.sums, self.above)), self.overall.share_below(at))
        if upper > 0.5:
            return min(upper, 1 - rarest)
        return min(0.5, 1 - self.noise.share_below(self.value - at))


@dataclass(frozen=True, eq=False)
class AbsoluteDifference(Distribution):
    """What resampling says about Σ |a_b| − Σ |b_b|, of two sums on the same units.

    Both bounds are the tighter of two, each at half the error. One is the difference of a bound of
    each sum. The other is that of Σ |a_b − b_b|, which the difference cannot be above in absolute
    value, and which is small where both models err alike: there it is paired. A percentile of the
    difference is no bound: noise raises the smaller of two sums more.

    Attributes:
        first: Σ |a_b|.
        second: Σ |b_b|.
        apart: Σ |a_b − b_b|.
    """

    first: AbsoluteSum
    second: AbsoluteSum
    apart: AbsoluteSum

    def bound(self, level: float) -> float:
        half = level / 2 if level < 0.5 else (1 + level) / 2
        separate = self.first.bound(half) - self.second.bound(1 - half)
        if level < 0.5:
            return max(separate, -self.apart.bound(1 - half))
        return min(separate, self.apart.bound(half))

    def level(self, at: float) -> float:
        """`bound` solved for its level, by halving; one half between the two medians."""
        rarest = 1 / (self.apart.noise.draws.size + 1)
        if at > self.bound(0.5):
            return self._solved(at, 0.5, 1 - rarest)
        below = 0.5 - rarest
        return self._solved(at, rarest, below) if at < self.bound(below) else 0.5

    def _solved(self, at: float, low: float, high: float) -> float:
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self.bound(middle) < at else (low, middle)
        return high


def absolute_sum(terms: Floats, draws: Floats, more: Floats, *, units: int) -> AbsoluteSum | None:
    """The distribution of Σ |t_b|, or None where no resample differs.

    Args:
        terms: (B,) the terms.
        draws: (R, B) the same on resamples.
        more: (R, B) the same with one more unit in each resample (`rmcheck.stats.unseen`), where
            such a unit can be told, or `draws` again.
        units: Independent units that were resampled, n. Draws of n units spread by √((n − 1) / n)
            too little, and those of one term, which has n / B of them, by more.
    """
    # A row a term: numpy adds up long rows several times as fast as short ones.
    draws, more = np.ascontiguousarray(draws.T), np.ascontiguousarray(more.T)
    finite = np.isfinite(draws).all(axis=0) & np.isfinite(more).all(axis=0)
    if not finite.all():
        draws, more = draws[:, finite], more[:, finite]
    scale = 1e-12 * max(1.0, float(np.abs(terms).sum()))
    apart = np.abs(more - terms[:, None]).sum(axis=0)
    if not apart.size or apart.max() <= scale:
        return None
    each = max(2.0, units / terms.size)
    value = float(np.abs(terms).sum())
    sums, above = _candidates(
        terms, (draws - terms[:, None]) * math.sqrt(units / max(1, units - 1))
    )
    noise, overall = apart * math.sqrt(each / (each - 1)), np.abs(more.sum(axis=0))
    return AbsoluteSum(
        value, sums, above, SortedDraws(np.sort(noise)), SortedDraws(np.sort(overall))
    )


def _candidates(terms: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Sums that could be the true one, and how often the estimate would then be above its value.

    Upper bounds ask for no share below one half, so that smaller ones are not worked out.
    """
    value = float(np.abs(terms).sum())
    errors = noise.std(axis=1)
    if not errors.sum() > 0:
        return np.array([value, value]), np.array([0.0, 1.0])
    direction = np.where(terms < 0, -errors, errors) / errors.sum()
    sums = np.linspace(0.0, value + float(np.abs(noise).sum(axis=0).max()), _GRID)
    # Counts of resamples hardly ever depend on more digits than float32 has.
    above = _shares_above(
        noise.astype(np.float32),
        direction.astype(np.float32)[:, None],
        sums.astype(np.float32),
        value,
    )
    return sums, np.maximum.accumulate(above)


def _shares_above(
    noise: NDArray[np.float32],
    direction: NDArray[np.float32],
    sums: NDArray[np.float32],
    value: float,
) -> Floats:
    """(G,) share of (R,) resamples with an estimate above the value; one share for all below 1/2.

    Args:
        noise: (B, R) of the terms.
        direction: (B, 1) terms whose sum is 1.
        sums: (G,) ascending sums of terms along it.
        value: Of the estimate.
    """
    resamples, settled, buffer = int(noise.shape[1]), 0, np.empty_like(noise)

    def estimates(i: int) -> NDArray[np.float32]:
        moved = np.add(noise, sums[i] * direction, out=buffer[:, : noise.shape[1]])
        return np.asarray(np.abs(moved, out=moved).sum(axis=0))

    def share(found: NDArray[np.float32]) -> float:
        return (settled + int(np.count_nonzero(found > value))) / resamples

    first = max(0, bisect_right(range(len(sums)), 0.5, key=lambda i: share(estimates(i))) - 1)
    above, before = np.ones(len(sums)), np.zeros(resamples, np.float32)
    for i in range(first, len(sums)):
        found = estimates(i)
        above[i] = share(found)
        # An estimate is convex in the sum: once it grows above the value it stays there.
        if i > first and i % _THIN_OUT == 0:
            still = (found <= value) | (found < before)
            settled += still.size - int(np.count_nonzero(still))
            noise, found = noise[:, still], found[still]
            if not found.size:
                break
        before = found
    above[:first] = above[first]
    return above


def absolute_difference(
    terms: tuple[Floats, Floats],
    drawn: tuple[Floats, Floats],
    more: tuple[Floats, Floats],
    *,
    units: int,
) -> AbsoluteDifference | None:
    """The distribution of Σ |a_b| − Σ |b_b|; None where no resample moves a_b − b_b.

    Args:
        terms: (B,) a_b and (B,) b_b.
        drawn: (R, B) each, the same on resamples of the same units.
        more: See `absolute_sum`.
        units: See `absolute_sum`.
    """
    first, second = (
        absolute_sum(*side, units=units) for side in zip(terms, drawn, more, strict=True)
    )
    between = (pair[0] - pair[1] for pair in (terms, drawn, more))
    apart = absolute_sum(*between, units=units)
    if first is None or second is None or apart is None:
        return None
    return AbsoluteDifference(first, second, apart)
