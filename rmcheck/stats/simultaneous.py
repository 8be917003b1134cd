"""Bounds that hold for several numbers at once, and for the largest of them.

The numbers come from the same resamples. The largest deviation among them, in standard errors, is
resampled as one number (sup-t), so that looking at all of them, or choosing one, is paid for.

Reference:
    Montiel Olea and Plagborg-Møller 2019, Journal of Applied Econometrics 34:1-17;
    Chernozhukov, Chetverikov and Kato 2013, Annals of Statistics 41:2786-2819.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rmcheck.stats.bootstrap import Distribution, SortedDraws
from rmcheck.stats.weights import CHUNK_ELEMENTS, Floats

# More standard errors than any resample is away.
_NEVER = 1e9


@dataclass(frozen=True, eq=False)
class Band:
    """Bounds around G numbers.

    Attributes:
        values: (G,) the numbers; NaN where one is undefined.
        lower: (G,) lower bounds; with the stated confidence all true numbers are above theirs.
        upper: (G,) upper bounds, in the same way.
    """

    values: Floats
    lower: Floats
    upper: Floats


def band(
    values: Floats,
    draws: Floats,
    confidence: float,
    *,
    attainable: tuple[float, float] | None = None,
    units: int = 1,
) -> Band:
    """One-sided sup-t bands at `confidence`, each valid for all numbers at once.

    Where no resample changes a number, no error seen is not no error: a share of units that could
    all have been missed is taken to be as bad, or as good, as can be (the rule of three). They are
    the same units for all numbers, so that this too holds for all at once.

    Args:
        values: (G,) the numbers.
        draws: (B, G) the same numbers on resamples, all from one weight matrix. A number that is
            NaN in `values` gets NaN bounds.
        confidence: Level of each side, in (0.5, 1); both together are an interval of level
            2 * confidence − 1 at least.
        attainable: The value if all units were as bad, or as good, as can be, for numbers that no
            resample changes; None leaves these without width.
        units: Number of independent units, with `attainable`.
    """
    lower, upper = values.astype(float), values.astype(float)
    defined = np.isfinite(values)
    if defined.any():
        found = _deviations(values[defined], draws[:, defined])
        lower[defined] -= max(0.0, found.over.quantile(confidence)) * found.errors
        upper[defined] += max(0.0, found.under.quantile(confidence)) * found.errors
        if attainable is not None:
            agree = np.flatnonzero(defined)[found.errors == 0]
            missed = 1 - (1 - confidence) ** (1 / units)
            lower[agree] -= missed * np.maximum(0.0, values[agree] - attainable[0])
            upper[agree] += missed * np.maximum(0.0, attainable[1] - values[agree])
    return Band(values, lower, upper)


@dataclass(frozen=True, eq=False)
class _Deviations:
    """Standard errors of several numbers, and their largest deviations in each resample.

    Attributes:
        errors: (M,) standard errors; 0 where no resample changes the number.
        over: Largest of (resampled − value) / error.
        under: Largest of (value − resampled) / error.
    """

    errors: Floats
    over: SortedDraws
    under: SortedDraws


def _deviations(values: Floats, draws: Floats) -> _Deviations:
    draws = draws[np.isfinite(draws).all(axis=1)]
    errors = draws.std(axis=0, ddof=1) if len(draws) > 1 else np.zeros(values.size)
    vary = errors > 1e-12 * np.maximum(1.0, np.abs(values))
    errors = np.where(vary, errors, 0.0)
    if not vary.any():
        none = SortedDraws(np.zeros(1))
        return _Deviations(errors, none, none)
    deviations = (draws[:, vary] - values[vary]) / errors[vary]
    return _Deviations(
        errors,
        SortedDraws(np.sort(deviations.max(axis=1))),
        SortedDraws(np.sort(-deviations.min(axis=1))),
    )


@dataclass(frozen=True, eq=False)
class Largest(Distribution):
    """The largest of several numbers, bounds corrected for choosing it.

    The upper bound is the largest upper end of a sup-t band, the lower bound the largest lower end.
    Between the two medians `level` is one half: which number is truly the largest is not known.

    Attributes:
        values: (M,) the numbers.
        errors: (M,) their standard errors; 0 where a number does not vary.
        over: Largest of (resampled − value) / error.
        under: Largest of (value − resampled) / error.
        between: True where what is bounded lies somewhere between the smallest and the largest of
            the numbers, such as the difference of two maxima: its lower bound is the smallest
            lower end.
    """

    values: Floats
    errors: Floats
    over: SortedDraws = field(repr=False)
    under: SortedDraws = field(repr=False)
    between: bool = False

    def bound(self, level: float) -> float:
        """The end of the band at this level."""
        if level >= 0.5:
            reach = max(0.0, self.under.quantile(level))
            return float(np.max(self.values + reach * self.errors))
        reach = max(0.0, self.over.quantile(1 - level))
        ends = self.values - reach * self.errors
        return float(np.min(ends) if self.between else np.max(ends))

    def level(self, at: float) -> float:
        if at >= self.bound(0.5):
            return max(0.5, self.under.share_below(self._reach(at - self.values)))
        lower = self.values - at
        reach = self._reach(lower) if self.between else -self._reach(-lower)
        return min(0.5, 1 - self.over.share_below(reach))

    def _reach(self, distances: Floats) -> float:
        """Smallest number of standard errors at which some distance is used up.

        For a number that does not vary that is at once, or never.
        """
        vary = self.errors > 0
        if (distances[~vary] < 0).any():
            return -_NEVER
        return float(np.min(distances[vary] / self.errors[vary])) if vary.any() else _NEVER


def largest(values: Floats, draws: Floats, *, between: bool = False) -> Largest:
    """What resampling says about the largest of several numbers.

    Args:
        values: (M,) the numbers.
        draws: (B, M) the same on resamples.
        between: See `Largest`.
    """
    found = _deviations(values, draws)
    return Largest(values, found.errors, found.over, found.under, between)


@dataclass(frozen=True)
class LargestMean:
    """Whether any of several means is above zero.

    Attributes:
        p_value: Of all means being 0 or below; valid whichever is looked at.
        statistic: Largest mean in units of its standard error; infinite, or 0, where none varies.
        index: Which number that is.
        lower: Simultaneous lower bound on the largest mean, at `confidence`.
        confidence: Level of `lower`.
    """

    p_value: float
    statistic: float
    index: int
    lower: float
    confidence: float


def largest_mean(
    values: Floats, *, resamples: int, seed: int, confidence: float = 0.95
) -> LargestMean:
    """Test by a Gaussian multiplier bootstrap whether any column has a mean above zero.

    p = (1 + #{max_k Z_bk ≥ max_k t_k}) / (B + 1) with t_k = mean_k / se_k and
    Z_bk = Σ_i e_bi (x_ik − mean_k) / (n se_k), e standard normal. Where no column varies all n
    units agree, and p is that of the sign test: 2^−n if they are above zero, 1 if not.

    Args:
        values: (n, K) one row an independent unit, n ≥ 2. Columns that do not vary take no part
            unless none does.
        resamples: B.
        seed: Of the multipliers.
        confidence: Level of the lower bound.

    Raises:
        ValueError: There is one unit.
    """
    n = values.shape[0]
    mean = values.mean(axis=0)
    if n < 2:
        raise ValueError("one unit has no test: nothing says how much others differ from it")
    error = values.std(axis=0, ddof=1) / np.sqrt(n)
    vary = np.flatnonzero(error > 1e-12 * np.maximum(1.0, np.abs(mean)))
    if not vary.size:
        most = float(mean.max())
        statistic = math.copysign(math.inf, most) if most else 0.0
        p_value = 0.5**n if most > 0 else 1.0
        return LargestMean(p_value, statistic, int(mean.argmax()), most, confidence)
    t = mean[vary] / error[vary]
    scaled = (values[:, vary] - mean[vary]) / (n * error[vary])
    draws = np.sort(_multiplied(scaled, resamples, seed).max(axis=1))
    reached = draws.size - np.searchsorted(draws, t.max(), side="left")
    critical = float(np.quantile(draws, confidence))
    return LargestMean(
        p_value=float((1 + reached) / (resamples + 1)),
        statistic=float(t.max()),
        index=int(vary[t.argmax()]),
        lower=float(np.max(mean[vary] - critical * error[vary])),
        confidence=confidence,
    )


def _multiplied(scaled: Floats, resamples: int, seed: int) -> NDArray[np.float64]:
    """(B, K) products with standard normal multipliers, drawn in parts of bounded size."""
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK_ELEMENTS // scaled.shape[0])
    parts = [
        rng.standard_normal((min(step, resamples - start), scaled.shape[0])) @ scaled
        for start in range(0, resamples, step)
    ]
    return np.concatenate(parts)
