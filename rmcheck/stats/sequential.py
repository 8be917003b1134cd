"""Bounds and p-values that stay valid when one looks again and again while data come in.

Looking several times at a 95 % bound, and stopping where it first decides, is wrong more often than
5 % of the time. Group-sequential levels mend that: α is spent over the looks, little of it early,
so that the chance of a wrong bound at any look is α.

References:
    Lan and DeMets 1983, Biometrika 70:659-663 (spending functions);
    Kim and DeMets 1987, Biometrika 74:149-154 (the power family that is used here);
    Jennison and Turnbull 1989, J. Royal Stat. Soc. B 51:305-361 (repeated bounds and p-values).
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from rmcheck.stats.bootstrap import Distribution
from rmcheck.stats.weights import Floats

# α t^RHO is spent when a share t of the data is in. At t = 0.1 a level of 0.05 leaves 0.0005, which
# 10,000 resamples can still show; at the last look 0.04 is left.
RHO = 2.0
# Levels between which nominal ones are interpolated, and how densely on the normal's scale.
SMALLEST, LARGEST = 1e-9, 0.5
_KNOTS = 61
# Legendre nodes of the integration, and how many standard errors below 0 it begins.
_NODES = 128
_REACH = 8.0
# A level that comes out more than this many times too large is finer than resampling can show.
_BLUR = 2.0


@dataclass(frozen=True)
class Looks:
    """When one looks: the shares of the data that are in.

    A bound that is taken at `nominal(α, j)` at every look j is wrong at any of them with a chance
    of α at most. This assumes that the value is normal with independent increments, as a mean of
    more and more units in random order is.

    Attributes:
        shares: Ascending, above 0; the last is 1.

    Raises:
        ValueError: The shares are not such.
    """

    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        ascending = all(a < b for a, b in pairwise((0.0, *self.shares)))
        if not (self.shares and ascending and self.shares[-1] == 1):
            raise ValueError(f"shares of looks ascend from above 0 to 1, unlike {self.shares}")

    def nominal(self, alpha: float, look: int) -> float:
        """Level to use at one look, from the level that all looks share; never larger.

        Args:
            alpha: In (0, 0.5]; what is below 1e-9 counts as that.
            look: Counted from 0.
        """
        alphas, nominal = _levels(self.shares)
        return _interpolated(alpha, alphas, nominal[:, look])

    def overall(self, p: float, look: int) -> float:
        """The repeated p-value, `nominal` solved for α: the smallest at which this look decides.

        Args:
            p: p-value from the data of this look alone, in [0, 0.5].
            look: Counted from 0.

        Returns:
            A level in [1e-9, 0.5]: 0.5 wherever it is not below.
        """
        alphas, nominal = _levels(self.shares)
        return _interpolated(p, nominal[:, look], alphas)


@dataclass(frozen=True)
class Repeated(Distribution):
    """A distribution at one of several looks; its bounds hold at all looks together.

    Attributes:
        inner: What the data of this look alone say.
        looks: When one looks.
        look: Which look this is, counted from 0.
    """

    inner: Distribution
    looks: Looks
    look: int

    def bound(self, level: float) -> float:
        """The bound at the nominal level; infinite where that is finer than resampling can show."""
        nominal = self.looks.nominal(_tail(level), self.look)
        at = self.inner.bound(nominal if level < 0.5 else 1 - nominal)
        if at == self.inner.bound(0.5) or not math.isfinite(at):
            return at  # a value that cannot be elsewhere, or a bound that there is none of
        if _tail(self.inner.level(at)) > _BLUR * nominal:
            return -math.inf if level < 0.5 else math.inf
        return at

    def level(self, at: float) -> float:
        """`bound` solved for its level; 0.5 where no look would decide anything."""
        inner = self.inner.level(at)
        overall = self.looks.overall(_tail(inner), self.look)
        return overall if inner < 0.5 else 1 - overall


def _tail(level: float) -> float:
    return min(level, 1 - level)


def nominal_levels(spent: Floats, shares: tuple[float, ...]) -> Floats:
    """Levels at each look that spend what is given, by integrating over the paths that go on.

    W(t) is Brownian motion; look j stops where W(t_j) > b_j. The densities g_j of the paths that
    have not stopped follow from g_(j−1) by one convolution, and b_j from what look j may spend
    (Armitage, McPherson and Rowe 1969, J. Royal Stat. Soc. A 132:235-244).

    Args:
        spent: (A, J) chance to have stopped at look j or before, ascending in j, in (0, 1).
        shares: (J,) shares of the data, as in `Looks`.

    Returns:
        (A, J) one-sided levels Φ(−b_j / √t_j).
    """
    from scipy.special import ndtr

    position, weight = np.polynomial.legendre.leggauss(_NODES)
    levels = np.empty_like(spent)
    nodes = np.zeros((spent.shape[0], 1))  # every path begins at 0
    mass = np.ones((spent.shape[0], 1))
    for j, (before, share) in enumerate(pairwise((0.0, *shares))):
        step, root = math.sqrt(share - before), math.sqrt(share)
        new = np.diff(spent, axis=1, prepend=0.0)[:, j]
        low, high = np.full(len(spent), -_REACH * root), np.full(len(spent), _REACH * root)
        for _ in range(60):  # halves 16 standard errors to less than rounding
            middle = (low + high) / 2
            stops = np.sum(mass * ndtr((nodes - middle[:, None]) / step), axis=1)
            low, high = np.where(stops > new, middle, low), np.where(stops > new, high, middle)
        bound = (low + high) / 2
        levels[:, j] = ndtr(-bound / root)
        half = (bound + _REACH * root) / 2
        following = half[:, None] * (position + 1) - _REACH * root
        away = (following[:, :, None] - nodes[:, None, :]) / step
        density = np.einsum("ai,aki->ak", mass, np.exp(-0.5 * away**2))
        density /= step * math.sqrt(2 * math.pi)
        nodes, mass = following, density * half[:, None] * weight
    return levels


@lru_cache(maxsize=32)
def _levels(shares: tuple[float, ...]) -> tuple[Floats, Floats]:
    """(A,) overall levels, ascending, and the (A, J) nominal ones of each look."""
    from scipy.special import ndtr, ndtri

    alphas = ndtr(np.linspace(ndtri(SMALLEST), ndtri(LARGEST), _KNOTS))
    spent = alphas[:, None] * np.asarray(shares) ** RHO
    return alphas, nominal_levels(spent, shares)


def _interpolated(level: float, known: Floats, wanted: Floats) -> float:
    """Between the knots on the normal's scale, on which both levels are nearly one line."""
    from scipy.special import ndtr, ndtri

    if level <= known[0]:
        return float(wanted[0])
    return float(ndtr(np.interp(ndtri(level), ndtri(known), ndtri(wanted))))
