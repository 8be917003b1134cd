"""Whether a noisy series falls to its end, and from where."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmcheck.stats.turning_point import p_fall, peak, peak_bounds, slopes_to_the_end


def noise(seed, runs, size, scale=0.1):
    """(runs, size) independent noise."""
    return scale * np.random.default_rng(seed).normal(size=(runs, size))


def p_values(curve, *, runs=200, seed=0):
    """p-values of a fall of noisy copies of a curve, under draws of the true noise."""
    x = np.arange(curve.size, dtype=float)
    draws, contrasts = noise(seed + 1, 500, curve.size), slopes_to_the_end(x)[1]
    series = curve + noise(seed, runs, curve.size)
    return np.array([p_fall(row, draws, contrasts) for row in series])


def test_a_flat_series_falls_at_the_level():
    """The worst case of no fall is an alarm in 5 % of series, however many points one looks at."""
    # Monte-Carlo error of .05 at 200 runs is .0154.
    assert np.mean(p_values(np.zeros(40)) <= 0.05) <= 0.05 + 2 * 0.0154


def test_a_fall_beyond_all_noise_has_the_smallest_p_value_there_is():
    """One of as many as there are draws and the series itself; a rise as steep has the largest."""
    x = np.arange(20.0)
    draws, contrasts = noise(0, 99, 20, 1e-3), slopes_to_the_end(x)[1]

    assert p_fall(-x, draws, contrasts) == 1 / 100
    assert p_fall(x, draws, contrasts) == 1.0


def test_a_rising_series_does_not_fall():
    """One that rises is never said to fall, and one that saturates less often than a flat one."""
    t = np.linspace(0, 1, 40)

    assert np.mean(p_values(t) <= 0.05) == 0
    assert np.mean(p_values(1 - np.exp(-5 * t)) <= 0.05) <= 0.05


def test_a_late_fall_is_seen():
    """A hump that loses 40 % of its gain over its last third is found though it rose over all."""
    curve = np.interp(np.linspace(0, 1, 40), [0, 0.67, 1], [0, 1, 0.6])

    assert np.mean(p_values(curve, runs=50) <= 0.05) >= 0.9


def test_candidates_leave_enough_points_after_them():
    """The last candidate is before the last fifth, or four points before the end."""
    assert slopes_to_the_end(np.arange(50.0))[0][-1] == 40
    assert slopes_to_the_end(np.arange(12.0))[0][-1] == 8


def test_the_contrasts_are_slopes():
    """Of a line each gives its slope, over an axis that is not even too."""
    x = np.array([0.0, 1, 2, 4, 7, 8, 9, 12, 15, 20])

    candidates, contrasts = slopes_to_the_end(x)

    np.testing.assert_allclose(contrasts @ (3 - 2 * x), -2)
    for start, row in zip(candidates, contrasts, strict=True):
        assert not row[:start].any()


@given(st.integers(0, 29), st.integers(0, 10))
@settings(max_examples=30, deadline=None)
def test_the_peak_of_a_course_without_noise_is_its_peak(top, seed):
    """Any strict rise to a point and fall from it is found exactly."""
    steps = np.random.default_rng(seed).uniform(0.1, 1, 29)
    series = np.concatenate([[0], np.cumsum(np.where(np.arange(29) < top, steps, -steps))])

    assert peak(series) == top


def test_the_peak_of_a_level_course_is_its_last_point_before_the_fall():
    """What neither rises nor falls counts as not fallen yet."""
    assert peak(np.array([1.0, 1, 1, 1, 1, 0.5, 0.2, 0])) == 4


@pytest.mark.parametrize(
    ("course", "top"),
    [
        (lambda t: np.minimum(t, 1 - t), 0.5),
        (lambda t: np.interp(t, [0, 0.7, 1], [0, 0.5, 0.2]), 0.7),
        (lambda t: 0.5 - 2 * (t - 0.55) ** 2, 0.55),
        (lambda t: np.interp(t, [0, 0.6, 0.65, 1], [0, 0.2, -0.3, -0.3]), 0.6),
        (lambda t: np.interp(t, [0, 0.1, 1], [0, -0.5, -0.5]), 0.0),
    ],
    ids=["kink", "late kink", "parabola", "collapse", "falls at once"],
)
def test_the_bounds_hold_the_peak(course, top):
    """Each bound fails in 5 % of series at most, whatever the form of the rise and the fall."""
    t = np.linspace(0, 1, 31)
    draws = noise(10, 200, 31)
    bounds = np.array([peak_bounds(course(t) + e, draws, t) for e in noise(11, 60, 31)])

    # Monte-Carlo error of .05 at 60 runs is .028.
    assert np.mean(bounds[:, 0] > top * 30) <= 0.05 + 2 * 0.028
    assert np.mean(bounds[:, 1] < top * 30) <= 0.05 + 2 * 0.028
    assert (bounds[:, 0] < bounds[:, 1]).all()


def test_the_bounds_are_as_near_as_the_noise_allows():
    """Less noise brings them nearer, and none leaves the neighbours of the peak."""
    t = np.linspace(0, 1, 40)
    course = np.minimum(t, 1 - t)
    widths = []
    for scale in (1e-6, 0.01, 0.1):
        draws = noise(12, 300, 40, scale)
        low, high = peak_bounds(course + noise(13, 1, 40, scale)[0], draws, t)
        widths.append(high - low)

    assert 2 <= widths[0] <= 8
    assert widths == sorted(widths)
    assert widths[0] < widths[2]


def test_without_noise_the_bounds_are_what_four_points_can_tell():
    """A stretch has four points or more: of a tent those that begin two before its top still rise.

    So the bounds are two points away from it, or the ends.
    """
    draws = noise(15, 100, 31, 1e-9)
    for top in (1, 12, 15, 29):
        tent = -np.abs(np.arange(31.0) - top)

        assert peak_bounds(tent, draws, np.arange(31.0)) == (max(top - 2, 0), min(top + 2, 30))


@pytest.mark.parametrize("seed", range(4))
def test_a_series_read_backwards_has_the_mirrored_bounds(seed):
    """Also where the noise grows along the series."""
    x = np.arange(31.0)
    draws, (error,) = noise(seed, 200, 31) * x / 4, noise(seed + 9, 1, 31) * x / 4
    series = -np.abs(x - 12) / 10 + error
    low, high = peak_bounds(series, draws, x)

    assert peak_bounds(series[::-1], draws[:, ::-1], -x[::-1]) == (30 - high, 30 - low)


def test_points_at_one_place_of_the_axis_have_no_slope():
    """A stretch over which the axis stands still says nothing, and is no error."""
    x = np.concatenate([np.zeros(10), np.arange(10.0)])
    series = np.concatenate([np.full(10, 0.2), np.linspace(0.2, 1, 10)])

    low, high = peak_bounds(series, noise(14, 200, 20, 0.01), x)

    assert 10 <= low < high == 19
