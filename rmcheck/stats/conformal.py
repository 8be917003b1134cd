"""Bounds on a new target from past (features, target) rows, whatever their distribution.

One-sided jackknife+ (Barber et al. 2021, Annals of Statistics 49:486-507) with signed residuals:
row m is predicted by a regression fitted without it, and the new row is given that row's error,

    v_m = f_{-m}(new) + y_m - f_{-m}(x_m).

The k-th smallest v, k = ceil(level * (M + 1)), is the upper bound. The rows and the new one must be
exchangeable. Coverage is at least 2 * level - 1, and close to `level` in practice.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmcheck.errors import UndefinedMetricError
from rmcheck.stats.bootstrap import Distribution
from rmcheck.stats.weights import Floats

# Rows without which nothing can be left out and still be predicted.
MIN_ROWS = 2
# level * (M + 1) that is whole in decimals need not be whole in floats: (1 - 0.9) * 10 < 1.
PLACE_ROUNDING = 1e-9


@dataclass(frozen=True)
class JackknifePlus(Distribution):
    """What M past rows say about the target of a new one.

    Attributes:
        draws: (M,) ascending v_m.
        prediction: The regression on all M rows, at the new features.
        residuals: (M,) y_m minus its prediction without row m, in the order of the rows.
    """

    draws: Floats
    prediction: float
    residuals: Floats

    def bound(self, level: float) -> float:
        """The order statistic of this level; infinite where M rows are too few for it."""
        position = level * (self.draws.size + 1)
        upper = level >= 0.5
        k = math.ceil(position - PLACE_ROUNDING) if upper else math.floor(position + PLACE_ROUNDING)
        if k > self.draws.size:
            return math.inf
        return float(self.draws[k - 1]) if k > 0 else -math.inf

    def level(self, at: float) -> float:
        """`bound` solved for its level: the largest level above .5, or smallest below, it meets."""
        size = self.draws.size + 1
        not_above = int(np.searchsorted(self.draws, at, side="right")) / size
        not_below = (int(np.searchsorted(self.draws, at, side="left")) + 1) / size
        return _between(not_above, not_below)


@dataclass(frozen=True)
class Hull(Distribution):
    """The widest of several distributions at every level."""

    parts: tuple[Distribution, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("a hull needs one distribution or more")

    def bound(self, level: float) -> float:
        """The largest upper bound, or below level .5 the smallest lower bound."""
        bounds = [part.bound(level) for part in self.parts]
        return max(bounds) if level >= 0.5 else min(bounds)

    def level(self, at: float) -> float:
        """`bound` solved for its level: what the least sure part says, .5 where they disagree."""
        levels = [part.level(at) for part in self.parts]
        return _between(min(levels), max(levels))


def jackknife_plus(
    features: Floats, targets: Floats, new: Floats, *, ridge: float = 0.0
) -> JackknifePlus:
    """One-sided jackknife+ around least squares with an intercept.

    Args:
        features: (M, F) of the past rows.
        targets: (M,) of the past rows.
        new: (F,) features of the new row.
        ridge: Penalty on the squared slopes of the standardised features, as a share of M; for
            F > 1, where features that go together make slopes unsteady. 0 is plain least squares.

    Raises:
        UndefinedMetricError: Fewer than two rows, shapes that do not fit, or numbers that are not
            finite.
    """
    _require(features, targets, new)
    size = targets.size
    at_new, residuals = np.empty(size), np.empty(size)
    for m in range(size):
        others = np.arange(size) != m
        both = np.vstack([new, features[m]])
        at_new[m], own = _predict(features[others], targets[others], both, ridge)
        residuals[m] = targets[m] - own
    prediction = float(_predict(features, targets, new[None], ridge)[0])
    return JackknifePlus(np.sort(at_new + residuals), prediction, residuals)


def rows_needed(level: float) -> int:
    """Fewest past rows with which a bound of this level is finite: 9 at .9, 19 at .95."""
    tail = min(level, 1 - level)
    return math.ceil(1 / tail - PLACE_ROUNDING) - 1


def left_one_out_bounds(
    features: Floats, targets: Floats, level: float, *, ridge: float = 0.0
) -> Floats:
    """(M,) bound of each row from the M − 1 others: what it would have been told.

    The share of targets that lie below is an estimate of the coverage. Infinite where M − 1 rows
    are too few.

    Raises:
        UndefinedMetricError: See `jackknife_plus`; three rows are needed here.
    """
    size = targets.size
    found = np.empty(size)
    for m in range(size):
        others = np.arange(size) != m
        past = jackknife_plus(features[others], targets[others], features[m], ridge=ridge)
        found[m] = past.bound(level)
    return found


def range_guard(features: Floats, new: Floats, names: Sequence[str]) -> tuple[str, ...]:
    """Which features of the new row lie outside the past ones, a sentence each.

    Exchangeability is not believable there, so a conformal bound says nothing.

    Args:
        features: (M, F) of the past rows.
        new: (F,) features of the new row.
        names: (F,) names of the features.
    """
    low, high = features.min(axis=0), features.max(axis=0)
    return tuple(
        f"{name} is {value:.4g}, outside the {len(features)} past ones ({a:.4g} to {b:.4g})"
        for name, value, a, b in zip(names, new, low, high, strict=True)
        if not a <= value <= b
    )


def no_smaller(features: Floats, new: Floats) -> Floats:
    """(F,) features of the new row, those below all past ones moved up to the smallest of these.

    Where a larger feature goes with a larger target this is the safe side: a row better than all
    past ones is told what the best of them would have been told.

    Args:
        features: (M, F) of the past rows.
        new: (F,) features of the new row.
    """
    return np.asarray(np.maximum(new, features.min(axis=0)))


def _between(upper: float, lower: float) -> float:
    """One level from the one that upper bounds give and the one that lower bounds give."""
    if upper >= 0.5:
        return upper if lower > 0.5 else 0.5
    return min(lower, 0.5)


def _predict(features: Floats, targets: Floats, at: Floats, ridge: float) -> Floats:
    """(n,) predictions of least squares at (n, F) features."""
    center, scale = features.mean(axis=0), features.std(axis=0)
    # Features that do not vary say nothing; rounding must not turn them into slopes.
    constant = scale <= 1e-12 * np.maximum(1.0, np.abs(center))
    scale = np.where(constant, np.inf, scale)
    x, mean = (features - center) / scale, targets.mean()
    penalty = math.sqrt(ridge * targets.size) * np.eye(x.shape[1])
    design = np.vstack([x, penalty]) if ridge else x
    response = np.concatenate([targets - mean, np.zeros(design.shape[0] - targets.size)])
    slopes = np.linalg.lstsq(design, response, rcond=None)[0]
    return np.asarray(mean + (at - center) / scale @ slopes)


def _require(features: Floats, targets: Floats, new: Floats) -> None:
    if features.ndim != 2 or targets.shape != features.shape[:1] or new.shape != features.shape[1:]:
        raise UndefinedMetricError(
            f"past features have shape {features.shape}, targets {targets.shape} and new features "
            f"{new.shape}; they must be (M, F), (M,) and (F,)"
        )
    if targets.size < MIN_ROWS:
        raise UndefinedMetricError(
            f"{targets.size} past rows; {MIN_ROWS} or more are needed to leave one out"
        )
    for name, values in (("past features", features), ("targets", targets), ("new", new)):
        if not np.isfinite(values).all():
            bad = np.argwhere(~np.isfinite(values))[0].tolist()
            raise UndefinedMetricError(f"{name} at {bad} is {values[tuple(bad)]}, not finite")
