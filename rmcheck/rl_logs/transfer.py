"""How much of what proxy gained over an RL run golden gained too.

The gain of a series is its slope over proxy's climb: over a rising curve through proxy, so that the
steps at which proxy moves count, however few they are. Each point of that curve is fitted without
the noise of its own stretch of the log; otherwise an easy batch of prompts, on which both rewards
are high, would pass for a gain of both.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from rmcheck.stats.series_noise import SeriesNoise
from rmcheck.stats.weights import Floats

# Degree of the curves that golden and proxy may follow: one for ten points, up to quartics.
MAX_DEGREE = 4
POINTS_A_DEGREE = 10
# Of each one-sided bound, and of each test.
CONFIDENCE = 0.95
RESAMPLES = 1_000
NO_CLIMB = 0.01
# Autocorrelation that counts as none.
ALIKE = 0.05


@dataclass(frozen=True)
class SeriesInterval:
    """A number with its two one-sided 95 % bounds, infinite where there is none."""

    value: float
    lower: float
    upper: float

    @classmethod
    def of(cls, value: float, draws: Floats) -> Self:
        """The value, with bounds from what it was on draws; where one is NaN, it could be any."""
        unknown = np.isnan(draws)
        low, high = np.where(unknown, -np.inf, draws), np.where(unknown, np.inf, draws)
        # The order statistic, not one interpolated between a finite draw and an infinite one.
        lower = np.quantile(low, 1 - CONFIDENCE, method="inverted_cdf")
        upper = np.quantile(high, CONFIDENCE, method="inverted_cdf")
        return cls(float(value), min(float(lower), float(value)), max(float(upper), float(value)))


@dataclass(frozen=True, eq=False)
class Gains:
    """Gains of golden and proxy over a run, with draws of both.

    Attributes:
        golden: (T,) mean reward of the test RM.
        proxy: (T,) mean reward of the training RM.
        noise: (2, B, T) draws of the noise of golden and proxy.
        smooth: (T, d) orthonormal columns; curves that golden and proxy may follow.
        climb: (T,) rising curve through proxy.
        contrasts: (3, T) weights that give the gain of a series over the whole climb, its first
            half and its second half, in the series' units.
    """

    golden: Floats
    proxy: Floats
    noise: Floats
    smooth: Floats
    climb: Floats
    contrasts: Floats

    @classmethod
    def of(cls, golden: Floats, proxy: Floats, kl: Floats | None = None, *, seed: int = 0) -> Self:
        """Gains from (T,) series of a run, with its smoothed KL in nats where that is known."""
        both = np.stack([golden, proxy])
        bends = np.empty((golden.size, 0)) if kl is None else gao_columns(kl)
        smooth = _smooth(fitted := _climb(golden, proxy, bends), bends)
        climb = _rising(proxy)
        late = climb >= (climb[0] + climb[-1]) / 2
        parts = (np.ones(proxy.size, bool), ~late, late)
        contrasts = np.stack([_gain(fitted, part) for part in parts])
        draws = SeriesNoise.of(both, smooth).draws(RESAMPLES, seed=seed)
        return cls(golden, proxy, draws, smooth, climb, contrasts)

    @cached_property
    def drawn(self) -> tuple[Floats, Floats]:
        """(B, 3) gains of golden and of proxy on draws."""
        golden, proxy = self.golden + self.noise[0], self.proxy + self.noise[1]
        return golden @ self.contrasts.T, proxy @ self.contrasts.T

    @property
    def proxy_gain(self) -> SeriesInterval:
        """Gain of proxy over its climb, above 0 where it rose."""
        return SeriesInterval.of(float(self.contrasts[0] @ self.proxy), self.drawn[1][:, 0])

    @property
    def golden_gain(self) -> SeriesInterval:
        """Gain of golden over proxy's climb."""
        return SeriesInterval.of(float(self.contrasts[0] @ self.golden), self.drawn[0][:, 0])

    def transfer(self, part: int = 0) -> SeriesInterval:
        """Gain of golden for each unit of proxy over a part of the climb."""
        golden, proxy = self.drawn
        weights = self.contrasts[part]
        value = float(_per(weights @ self.golden, weights @ self.proxy))
        return SeriesInterval.of(value, _per(golden[:, part], proxy[:, part]))

    @property
    def late_over_early(self) -> SeriesInterval:
        """Transfer over the second half of the climb against the first: free of units."""
        golden, proxy = self.drawn
        own = self.contrasts @ self.golden, self.contrasts @ self.proxy
        early, late = (_per(own[0][part], own[1][part]) for part in (1, 2))
        drawn_early, drawn_late = (_per(golden[:, part], proxy[:, part]) for part in (1, 2))
        return SeriesInterval.of(float(_per(late, early)), _per(drawn_late, drawn_early))

    def beyond(self, share: float) -> tuple[Floats, Floats]:
        """(T,) golden less a share of proxy, and (B, T) draws of its noise.

        It rises while golden gains more than that share of what proxy gains. Where both rewards are
        of one batch, what makes a batch easy moves both: proxy shows it, as what proxy leaves over
        its own curve, and the part of it that golden has (by least squares) is taken out.
        """
        series = self.golden - share * self.proxy
        noise = self.noise[0] - share * self.noise[1]
        if not self.shows_difficulty:
            return series, noise
        weight = self._difficulty[0] - share
        shown, drawn = (v - (v @ self.smooth) @ self.smooth.T for v in (self.proxy, self.noise[1]))
        return series - weight * shown, noise - weight * drawn

    @property
    def difficulty_correlation(self) -> float:
        """Correlation of what golden and proxy leave over their curves."""
        return self._difficulty[1]

    @property
    def shows_difficulty(self) -> bool:
        """Whether proxy shows part of golden's noise, beyond what chance would."""
        return bool(self.difficulty_correlation > 2 / np.sqrt(self.golden.size))

    @cached_property
    def _difficulty(self) -> tuple[float, float]:
        """Slope and correlation of golden's residuals on proxy's."""
        golden, proxy = (v - self.smooth @ (v @ self.smooth) for v in (self.golden, self.proxy))
        product, squares = float(golden @ proxy), float(proxy @ proxy)
        if not squares > 0 or not golden @ golden > 0:
            return 0.0, 0.0
        return product / squares, product / float(np.sqrt(squares * (golden @ golden)))


def _climb(golden: Floats, proxy: Floats, bends: Floats) -> Floats:
    """(T,) rising curve through proxy, each point fitted without the noise of its neighbours."""
    both = np.stack([golden, proxy])
    fitted = _rising_elsewhere(proxy, 0)
    noise = SeriesNoise.of(both, _smooth(fitted, bends))
    # Noise that is a hundredth of proxy's variance cannot pass for a climb; golden's still can
    # where proxy has a share in it.
    shown = slice(0, 2 if noise.scales[1] ** 2 > NO_CLIMB * proxy.var() else 1)
    for _ in range(2):  # once more, because noise that was fitted hides its autocorrelation
        rho = float(noise.autocorrelations[shown].max())
        alike = int(np.log(ALIKE) / np.log(max(rho, 1e-9)))
        fitted = _rising_elsewhere(proxy, min(alike, proxy.size // 6))
        noise = SeriesNoise.of(both, _smooth(fitted, bends))
    return fitted


def _rising(series: Floats) -> Floats:
    from scipy.optimize import isotonic_regression

    return np.asarray(isotonic_regression(series).x)


def _rising_elsewhere(series: Floats, reach: int) -> Floats:
    """(T,) a rising curve whose every point is fitted without the points up to `reach` from it."""
    points = np.arange(series.size)
    out = np.empty(series.size)
    for point in points:
        other = np.abs(points - point) > reach
        out[point] = np.interp(point, points[other], _rising(series[other]))
    return out


def gao_columns(kl: Floats) -> Floats:
    """(T, 2) columns of Gao's form over d = √KL, whose slope at 0 no quartic follows."""
    d = np.sqrt(kl)
    return np.stack([d, d * np.log(np.where(d > 0, d, 1.0))], axis=1)


def _smooth(climb: Floats, bends: Floats) -> Floats:
    """(T, d) orthonormal columns of the quartics over the steps, of proxy's climb and of others."""
    grid = np.linspace(-1, 1, climb.size)
    degree = min(MAX_DEGREE, climb.size // POINTS_A_DEGREE)
    columns = np.polynomial.legendre.legvander(grid, degree)
    every = np.column_stack([columns, climb, bends])
    found, size = np.linalg.qr(every)
    least = 1e-9 * np.maximum(1.0, np.abs(every).max(axis=0))
    return np.asarray(found[:, np.abs(np.diag(size)) > least])


def _gain(climb: Floats, part: np.ndarray) -> Floats:
    """(T,) weights of the slope over the climb, times the climb's height over that part."""
    out = np.zeros(climb.size)
    centered = climb[part] - climb[part].mean() if part.any() else climb[part]
    squares = float(np.sum(centered**2))
    if squares > 0:
        out[part] = centered / squares * np.ptp(climb[part])
    return out


def _per(golden: Floats | float, proxy: Floats | float) -> Floats:
    """Golden for each unit of proxy; NaN where proxy did not rise."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(proxy) > 0, np.asarray(golden) / np.asarray(proxy), np.nan)
