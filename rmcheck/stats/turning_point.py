"""Whether a noisy series falls to its end, and from where.

Both are told by slopes: least squares slopes over a stretch of the series, in standard errors that
draws of its noise give (`rmcheck.stats.series_noise`).
"""

import numpy as np
from numpy.typing import NDArray

from rmcheck.stats.weights import Floats

Ints = NDArray[np.int64]

# Points of a stretch whose slope is taken to the end: this many, and this share of the series.
MIN_AFTER = 4
MIN_AFTER_SHARE = 0.2
MAX_CANDIDATES = 40


def slopes_to_the_end(x: Floats) -> tuple[Ints, Floats]:
    """(C,) candidate points, and (C, T) contrasts that give the slope from each to the end.

    The candidates leave four points and a fifth of the series after them.
    """
    size = x.size
    last = size - max(MIN_AFTER, int(np.ceil(MIN_AFTER_SHARE * size)))
    candidates = _spread(last + 1)
    return candidates, np.stack([_slope(x, int(c), size) for c in candidates])


def p_fall(series: Floats, draws: Floats, contrasts: Floats) -> float:
    """Evidence that at least one of these contrasts is below 0; one-sided p-value.

    Corrected for looking at all of them, by the largest of them on draws of noise.

    Args:
        series: (T,) values.
        draws: (B, T) draws of their noise.
        contrasts: (C, T) weights, such as slopes.
    """
    own, drawn = _studentised(series, draws, contrasts)
    return float((1 + np.sum((-drawn).max(axis=1) >= (-own).max())) / (len(draws) + 1))


def peak(series: Floats) -> int:
    """Where (T,) values that rise and then fall are highest: least squares over all such shapes.

    The last point of the top, so that a level stretch before a fall counts as not fallen.
    """
    size = series.size
    fits = [
        np.concatenate([_monotone(series[:m], rises=True), _monotone(series[m:], rises=False)])
        for m in range(size)
    ]
    best = fits[int(np.argmin([np.sum((series - fit) ** 2) for fit in fits]))]
    return int(np.flatnonzero(best == best.max())[-1])


def peak_bounds(
    series: Floats, draws: Floats, x: Floats, confidence: float = 0.95
) -> tuple[int, int]:
    """Points before and after which the peak of a series that rises and then falls is not.

    Each end is a one-sided bound, for any such shape: where the peak is at a point or before it,
    no stretch after the point rises; where it is there or after it, none before falls. The points
    are tested in their order until one is not refuted, each over all stretches, so that nothing
    need be corrected for the number of points. The ends are the neighbours of the points that
    could not be refuted: between two points the log says nothing.

    Args:
        series: (T,) values.
        draws: (B, T) draws of their noise.
        x: (T,) where they were taken, never falling.
        confidence: Of each bound.
    """
    last = series.size - 1
    forward = _first_with_no_rise(series, draws, x, confidence)
    backward = last - _first_with_no_rise(series[::-1], draws[:, ::-1], -x[::-1], confidence)
    # Bounds that cross say that the course is no single rise and fall: it could be all between.
    low, high = min(forward, backward), max(forward, backward)
    return (low, high) if low < high else (max(low - 1, 0), min(high + 1, last))


def _first_with_no_rise(series: Floats, draws: Floats, x: Floats, confidence: float) -> int:
    """The neighbour before the first point after which no stretch rises measurably."""
    points = _spread(series.size)
    starts, ends = np.triu_indices(points.size, k=1)
    long = (points[ends] - points[starts] >= MIN_AFTER - 1) & (x[points[ends]] > x[points[starts]])
    starts, ends = starts[long][::-1], ends[long][::-1]  # the last start first
    contrasts = [
        _slope(x, int(start), int(end) + 1)
        for start, end in zip(points[starts], points[ends], strict=True)
    ]
    own, drawn = _studentised(series, draws, np.stack(contrasts))
    own = np.maximum.accumulate(own)
    critical = np.quantile(np.maximum.accumulate(drawn, axis=1), confidence, axis=0)
    last_of_start = np.flatnonzero(np.diff(starts, append=-1))
    rises = dict(zip(starts[last_of_start], (own > critical)[last_of_start], strict=True))
    first = next((i for i in range(points.size) if not rises.get(i, False)), points.size - 1)
    return int(points[max(first - 1, 0)])


def _studentised(series: Floats, draws: Floats, contrasts: Floats) -> tuple[Floats, Floats]:
    """(C,) contrasts of the series and (B, C) of the draws, in standard errors."""
    drawn = draws @ contrasts.T
    errors = drawn.std(axis=0)
    errors = np.where(errors > 0, errors, 1.0)
    return (contrasts @ series) / errors, drawn / errors


def _slope(x: Floats, start: int, stop: int) -> Floats:
    """(T,) weights that give the slope over points start to stop − 1."""
    out = np.zeros(x.size)
    centered = x[start:stop] - x[start:stop].mean()
    squares = float(np.sum(centered**2))
    out[start:stop] = centered / squares if squares > 0 else 0.0
    return out


def _spread(size: int) -> Ints:
    """At most `MAX_CANDIDATES` of `size` points, the first and the last among them."""
    return np.unique(np.linspace(0, size - 1, min(MAX_CANDIDATES, size)).round().astype(np.int64))


def _monotone(series: Floats, *, rises: bool) -> Floats:
    from scipy.optimize import isotonic_regression

    if not series.size:
        return series
    return np.asarray(isotonic_regression(series, increasing=rises).x)
