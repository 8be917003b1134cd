"""The noise of time series that were measured together, and draws of it.

Noise is what the series leave over a smooth curve. It is taken as autocorrelated (AR(1)), with
innovations that are drawn from the series' own in moving blocks and coloured again: a
post-blackened block bootstrap. Blocks of the noise itself hold too little of its autocorrelation:
they rejected 4 to 48 % of flat series of 10 to 100 points at the 5 % level. One draw takes the same
steps of all series, so that what moves them together (an easy batch of prompts) stays together.

References:
    Davison and Hinkley 1997, Bootstrap Methods and their Application, section 8.2.3.
    Künsch 1989, Annals of Statistics 17:1217-1241 (moving blocks).
    Politis and White 2004, Econometric Reviews 23:53-70, corrected 2009, 28:372-375.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from rmcheck.stats.weights import Floats

# Equal steps of log(1 − ρ): noise that remembers one point is as likely beforehand as noise that
# remembers two, four or fifty. Equal steps of ρ hardly believed in long memory: at ρ = .8 they
# rejected 14 % of flat series of 20 points at the 5 % level, these 4 %.
AUTOCORRELATIONS = 1 - np.geomspace(1, 0.02, 40)
# Draws begin this many points earlier, so that they are stationary where the series begin.
BURN_IN = 60


@dataclass(frozen=True, eq=False)
class SeriesNoise:
    """What (K, T) series leave over a smooth curve.

    Attributes:
        smooth: (T, d) orthonormal columns that span the curves.
        left: (K, T) residuals.
        weights: (K, G) how credible each of `AUTOCORRELATIONS` is, given the lag-1
            autocorrelation of the residuals and what the curve takes out of it; rows sum to 1.
        scales: (K,) standard deviation of the noise, corrected likewise.
        block: Length of the blocks of innovations, in points.
    """

    smooth: Floats
    left: Floats
    weights: Floats
    scales: Floats
    block: int

    @classmethod
    def of(cls, series: Floats, smooth: Floats) -> Self:
        """The noise of (K, T) series around the span of (T, d) orthonormal columns."""
        left = series - (series @ smooth) @ smooth.T
        lags = _expected_lags(smooth)
        found = [_autocorrelation(row, *lags, free=len(smooth) - smooth.shape[1]) for row in left]
        weights = np.stack([row for row, _ in found])
        scales = np.array([scale for _, scale in found])
        new = _innovations(left, weights @ AUTOCORRELATIONS)
        return cls(smooth, left, weights, scales, max(block_length(row) for row in new))

    @property
    def autocorrelations(self) -> Floats:
        """(K,) lag-1 autocorrelation of the noise: the mean of those that explain the residuals."""
        return self.weights @ AUTOCORRELATIONS

    def draws(self, resamples: int, *, seed: int = 0) -> Floats:
        """(K, B, T) noise like that of the series.

        Each draw has its own autocorrelation, one that the residuals allow, and is scaled to leave
        over the smooth curve what the series leave, so that a share of the draws is a level also
        where points are few (a studentised bootstrap).
        """
        series, size = self.left.shape
        rng = np.random.default_rng(seed)
        innovations = _innovations(self.left, self.autocorrelations)
        long = size + BURN_IN
        starts = rng.integers(0, size - 1, size=(resamples, -(-long // self.block)))
        steps = (starts[:, :, None] + np.arange(self.block)).reshape(resamples, -1)[:, :long]
        out = np.empty((series, resamples, size))
        for k, weights in enumerate(self.weights):
            drawn = rng.choice(AUTOCORRELATIONS, size=resamples, p=weights)
            out[k] = _coloured(innovations[k][steps % (size - 1)], drawn)[:, BURN_IN:]
        left = out - (out @ self.smooth) @ self.smooth.T
        norms = np.sqrt(np.sum(left**2, axis=2))
        own = np.sqrt(np.sum(self.left**2, axis=1))
        return np.asarray(out * (own[:, None] / np.where(norms > 0, norms, 1.0))[:, :, None])


def block_length(series: Floats) -> int:
    """Length of the circular blocks that suits (T,) values best, from their autocorrelation.

    One where the values vary less over long stretches than independent ones would: what is left
    over a fitted curve does, and blocks would keep it.
    """
    size = series.size
    quiet = max(5, int(np.ceil(np.sqrt(np.log10(size)))))
    most = min(int(np.ceil(np.sqrt(size))) + quiet, size - 1)
    centered = series - series.mean()
    lags = np.array([centered[k:] @ centered[: size - k] for k in range(most + 1)]) / size
    if not lags[0] > 0:
        return 1
    near = np.abs(lags / lags[0]) < 2 * np.sqrt(np.log10(size) / size)
    last = next((m for m in range(most) if near[m + 1 : m + 1 + quiet].all()), most)
    width = min(2 * max(last, 1), most)
    k = np.arange(-width, width + 1)
    kept = np.clip(2 * (1 - np.abs(k) / width), 0, 1) * lags[np.abs(k)]
    spectrum, slope = float(kept.sum()), float((np.abs(k) * kept).sum())
    if not last or not spectrum > lags[0]:
        return 1
    best = (1.5 * (slope / spectrum) ** 2 * size) ** (1 / 3)
    return int(np.clip(np.ceil(best), 1, np.ceil(min(3 * np.sqrt(size), size / 3))))


def _expected_lags(smooth: Floats) -> tuple[Floats, Floats]:
    """(T,) weights of ρ^k in the expected lagged product and the expected square of residuals."""
    size = len(smooth)
    maker = np.eye(size) - smooth @ smooth.T
    lagged = maker @ (0.5 * (np.eye(size, k=1) + np.eye(size, k=-1))) @ maker
    return _diagonals(lagged), _diagonals(maker)


def _diagonals(matrix: Floats) -> Floats:
    """(T,) sums of a symmetric matrix along its diagonals, both sides together."""
    sums = np.array([np.trace(matrix, offset=k) for k in range(len(matrix))])
    sums[1:] *= 2
    return sums


def _autocorrelation(
    left: Floats, lagged: Floats, squared: Floats, *, free: int
) -> tuple[Floats, float]:
    """(G,) weights of AR(1) coefficients from what (T,) residuals show, and the noise's scale.

    The residuals' lag-1 autocorrelation is about normal, with the error of `free` independent
    points, and no memory is preferred beforehand: a short series says little about its own, and
    bounds that believed in none covered too little where there was some.
    """
    square = float(left @ left)
    if not square > 0:
        return np.eye(AUTOCORRELATIONS.size)[0], 0.0
    powers = AUTOCORRELATIONS[:, None] ** np.arange(left.size)
    expected = (powers @ lagged) / (powers @ squared)
    own = float(left[1:] @ left[:-1]) / square
    errors = np.sqrt((1 - expected**2) / free)
    fit = -0.5 * ((own - expected) / errors) ** 2 - np.log(errors)
    weights = np.exp(fit - fit.max())
    weights /= weights.sum()
    return weights, float(np.sqrt(square / (weights @ powers @ squared)))


def _innovations(left: Floats, autocorrelations: Floats) -> Floats:
    """(K, T − 1) what is new at each step, of mean 0 and variance 1 (0 where there is no noise)."""
    new = left[:, 1:] - autocorrelations[:, None] * left[:, :-1]
    new = new - new.mean(axis=1, keepdims=True)
    spread = new.std(axis=1, keepdims=True)
    return np.asarray(new / np.where(spread > 0, spread, 1.0))


def _coloured(new: Floats, autocorrelations: Floats) -> Floats:
    """(B, T) AR(1) noise of variance 1 from (B, T) innovations, each row with its coefficient."""
    out = new.copy()
    fresh = np.sqrt(1 - autocorrelations**2)
    for t in range(1, new.shape[1]):
        out[:, t] = autocorrelations * out[:, t - 1] + fresh * new[:, t]
    return out
