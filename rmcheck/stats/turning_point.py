"""Whether and where a noisy series turns down.

The test asks for a falling slope after some point. Its statistic is the largest, over candidate
points c, of the least squares slope of the series from c on, downwards, divided by the slope's
error under independent noise; the noise is what is left over a quartic curve. Its reference is what
the same statistic gives on simulated flat series whose noise is autocorrelated (AR(1)) and leaves
as much autocorrelation over the quartic as the series does. A rising series gives less than a flat
one, so that flat is the worst case.

A moving-block bootstrap of the residuals as reference rejected 4 to 48 % of flat series of 10 to
100 points at the 5 % level, because a few short blocks hold too little of the autocorrelation.
Here it is at most 5 % up to an autocorrelation of .5, and 3 % or less for rising series up to .8;
flat series of 20 to 40 points with .8 give up to 16 %.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError
from rmcheck.stats.weights import Floats

Ints = NDArray[np.int64]

MIN_POINTS = 10
# Points that must follow a candidate, for its slope to mean anything: this many, and this share.
MIN_AFTER = 4
MIN_AFTER_SHARE = 0.2
MAX_CANDIDATES = 40
SMOOTH_DEGREE = 4
# Simulated series, how many of them are like the one at hand, and their largest autocorrelation.
SIMULATED = 10_000
ALIKE = 500
MAX_AUTOCORRELATION = 0.9


@dataclass(frozen=True, eq=False)
class FlatSeries:
    """Simulated series that neither rise nor fall: the reference for all series of one length.

    Attributes:
        candidates: (C,) points from which slopes are taken.
        slopes: (C, T) contrasts that give the falling slope from each on, in standard errors of
            noise of variance 1.
        smooth: (T, 5) orthonormal basis of the quartic curves.
        autocorrelations: (S,) lag-1 autocorrelation of what each leaves over its quartic.
        statistics: (S, C) studentised slopes of each.
    """

    candidates: Ints
    slopes: Floats
    smooth: Floats
    autocorrelations: Floats
    statistics: Floats

    @classmethod
    def of_length(cls, size: int, seed: int) -> Self:
        """Series of `size` points.

        Raises:
            UndefinedMetricError: Fewer than ten points.
        """
        if size < MIN_POINTS:
            raise UndefinedMetricError(
                f"{size} points; {MIN_POINTS} are needed to tell a turn from noise"
            )
        candidates = _candidates(size)
        slopes = np.zeros((candidates.size, size))
        for i, c in enumerate(candidates):
            centered = np.arange(c, size) - (c + size - 1) / 2
            slopes[i, c:] = -centered / np.sqrt(np.sum(centered**2))
        grid = np.linspace(-1, 1, size)
        smooth = np.linalg.qr(np.polynomial.legendre.legvander(grid, SMOOTH_DEGREE))[0]
        rng = np.random.default_rng(seed)
        amounts = rng.uniform(0, MAX_AUTOCORRELATION, SIMULATED)
        statistics, left = _studentised(_noise(rng, amounts, size), slopes, smooth)
        return cls(candidates, slopes, smooth, left, statistics)

    def alike(self, autocorrelation: float) -> Floats:
        """(ALIKE, C) statistics of the series most like one with this autocorrelation."""
        distance = np.abs(self.autocorrelations - autocorrelation)
        return self.statistics[np.argpartition(distance, ALIKE)[:ALIKE]]


@dataclass(frozen=True, eq=False)
class Trend:
    """A series seen against flat ones.

    Attributes:
        series: (T,) values in their order.
        flat: Flat series of this length.
    """

    series: Floats
    flat: FlatSeries

    @classmethod
    def of(cls, series: Floats, *, seed: int = 0) -> Self:
        """The trend of (T,) values at equal distances.

        Raises:
            UndefinedMetricError: Fewer than ten points, or values that a quartic fits exactly
                (a constant series among them), which leave no noise to compare with.
        """
        flat = _flat_series(series.size, seed)
        left = series - flat.smooth @ (flat.smooth.T @ series)
        spread = np.sqrt(np.mean(left**2))
        if not spread > 1e-12 * max(1.0, float(np.abs(series).max())):
            raise UndefinedMetricError(
                f"all {series.size} points lie on a smooth curve without any noise "
                f"(from {series[0]:.4g} to {series[-1]:.4g})"
            )
        return cls(series, flat)

    @property
    def p_fall(self) -> float:
        """Evidence that the series falls from some point to its end; one-sided p-value."""
        return _share(self._alike.max(axis=1), float(self._own.max()))

    def candidate_near(self, point: int) -> int:
        """Number of the last candidate at or before a point."""
        return int(np.searchsorted(self.flat.candidates, point, side="right")) - 1

    def p_rise_from(self, candidate: int) -> float:
        """Evidence that it rises from a candidate that something else chose; one-sided p-value."""
        return _share(-self._alike[:, candidate], -float(self._own[candidate]))

    def detectable_fall(self, candidate: int, confidence: float) -> float:
        """Total fall from a candidate to the end that would just have been seen.

        In units of the series. With it, a series in which no fall was found says how much of one
        there could have been.
        """
        start = int(self.flat.candidates[candidate])
        span = self.series.size - 1 - start
        critical = float(np.quantile(self._alike.max(axis=1), confidence))
        steps = np.arange(span + 1) - span / 2
        left = self.series - self.flat.smooth @ (self.flat.smooth.T @ self.series)
        noise = float(np.sqrt(np.sum(left**2)))
        return critical * noise * span / float(np.sqrt(np.sum(steps**2)))

    @cached_property
    def _studentised(self) -> tuple[Floats, Floats]:
        return _studentised(self.series[None], self.flat.slopes, self.flat.smooth)

    @property
    def _own(self) -> Floats:
        return np.asarray(self._studentised[0][0])

    @cached_property
    def _alike(self) -> Floats:
        return self.flat.alike(float(self._studentised[1][0]))


def smoother(x: Floats) -> Floats:
    """(T, T) matrix that turns a series into its least squares quartic over (T,) x.

    Its highest point is where a hump of unknown form is looked for: over many forms (Gao's curves,
    kinks, plateaus, at noise of 7 % of the gain) it lies where at most 12 % of the gain is missing,
    most often below 1 %; two joined straight lines miss up to 19 %.
    """
    low, width = float(x.min()), float(np.ptp(x))
    grid = 2 * (x - low) / (width or 1.0) - 1
    basis = np.polynomial.legendre.legvander(grid, SMOOTH_DEGREE)
    return np.asarray(basis @ np.linalg.pinv(basis))


def block_resampled(fitted: Floats, series: Floats, resamples: int, *, seed: int = 0) -> Floats:
    """(B, T) the fitted curve plus residuals drawn in moving blocks of T^(1/3) points.

    Blocks keep the autocorrelation of the residuals, and the curve stays where it was, because the
    points of a series are its design and no sample. Reference: Künsch 1989, Annals of Statistics
    17:1217-1241.
    """
    size = series.size
    block = int(np.ceil(size ** (1 / 3)))
    residuals = series - fitted
    residuals = residuals - residuals.mean()
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, size - block + 1, size=(resamples, -(-size // block)))
    drawn = (starts[:, :, None] + np.arange(block)).reshape(resamples, -1)[:, :size]
    return np.asarray(fitted + residuals[drawn])


def _candidates(size: int) -> Ints:
    last = size - max(MIN_AFTER, int(np.ceil(MIN_AFTER_SHARE * size)))
    return np.unique(np.linspace(0, last, min(MAX_CANDIDATES, last + 1)).round().astype(np.int64))


def _noise(rng: np.random.Generator, amounts: Floats, size: int) -> Floats:
    """(S, T) stationary AR(1) noise of variance 1."""
    out = rng.normal(size=(amounts.size, size))
    fresh = np.sqrt(1 - amounts**2)
    for t in range(1, size):
        out[:, t] = amounts * out[:, t - 1] + fresh * out[:, t]
    return out


def _studentised(series: Floats, slopes: Floats, smooth: Floats) -> tuple[Floats, Floats]:
    """(n, C) slopes over the root sum of squares left by the quartic, and (n,) its lag 1."""
    left = series - (series @ smooth) @ smooth.T
    squares = np.sum(left**2, axis=1)
    lagged = np.sum(left[:, 1:] * left[:, :-1], axis=1) / squares
    return series @ slopes.T / np.sqrt(squares)[:, None], lagged


def _share(reference: Floats, own: float) -> float:
    return float((1 + np.sum(reference >= own)) / (reference.size + 1))


@lru_cache(maxsize=4)
def _flat_series(size: int, seed: int) -> FlatSeries:
    return FlatSeries.of_length(size, seed)
