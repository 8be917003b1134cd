"""Whether a noisy series turns down: false alarms, power, and what is refused."""

import numpy as np
import pytest

from rmcheck.errors import UndefinedMetricError
from rmcheck.stats.turning_point import Trend, block_resampled, smoother


def noise(rng, size, autocorrelation, runs):
    """(runs, size) AR(1) noise of variance 1."""
    out = rng.normal(size=(runs, size))
    for t in range(1, size):
        fresh = np.sqrt(1 - autocorrelation**2)
        out[:, t] = autocorrelation * out[:, t - 1] + fresh * out[:, t]
    return out


def alarms(curve, autocorrelation, *, runs=300, scale=0.08, seed=0):
    """Share of noisy copies of a curve that are said to fall."""
    drawn = noise(np.random.default_rng(seed), curve.size, autocorrelation, runs)
    return np.mean([Trend.of(curve + scale * e).p_fall <= 0.05 for e in drawn])


# Monte-Carlo error of .05 at 300 runs is .0126; larger runs are in the module's docstring.
@pytest.mark.parametrize("size", [10, 20, 40])
@pytest.mark.parametrize("autocorrelation", [0.0, 0.5])
def test_flat_series_rarely_fall(size, autocorrelation):
    """The worst case of no fall raises a false alarm in 5 % of series at most."""
    assert alarms(np.zeros(size), autocorrelation) <= 0.05 + 2 * 0.0126


@pytest.mark.parametrize("autocorrelation", [0.0, 0.5, 0.8])
def test_rising_series_hardly_ever_fall(autocorrelation):
    """A series that rises and saturates is below the level even with strong autocorrelation."""
    curve = 1 - np.exp(-5 * np.linspace(0, 1, 20))

    assert alarms(curve, autocorrelation) <= 0.05


def test_a_clear_fall_is_seen():
    """A hump that loses 40 % of its gain is found in most runs of 40 points."""
    curve = np.interp(np.linspace(0, 1, 40), [0, 0.4, 1], [0, 1, 0.6])

    assert alarms(curve, 0.0, runs=100) >= 0.9


def test_a_trend_has_no_units():
    """Scale and offset of a series do not change its p-values."""
    series = np.random.default_rng(1).normal(size=20).cumsum()
    plain, other = Trend.of(series), Trend.of(3.0 + 50 * series)

    assert other.p_fall == plain.p_fall
    assert other.p_rise_from(3) == plain.p_rise_from(3)
    assert other.detectable_fall(3, 0.95) == pytest.approx(50 * plain.detectable_fall(3, 0.95))


def test_a_rise_is_the_fall_of_the_mirror():
    """What rises from a point is evidence of a rise, and not of a fall."""
    rising = np.arange(30) + np.random.default_rng(2).normal(size=30)

    assert Trend.of(rising).p_rise_from(0) <= 0.01
    assert Trend.of(-rising).p_rise_from(0) >= 0.99
    assert Trend.of(-rising).p_fall <= 0.01


def test_a_fall_that_can_be_detected_is_detected():
    """Noise with the detectable fall added from the candidate on is about at the level."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(60):
        series = 0.1 * rng.normal(size=40)
        trend = Trend.of(series)
        start = trend.flat.candidates[trend.candidate_near(20)]
        fall = trend.detectable_fall(trend.candidate_near(20), 0.95)
        drop = np.maximum(np.arange(40) - start, 0) / (39 - start)
        found.append(Trend.of(series - 2 * fall * drop).p_fall <= 0.05)

    assert np.mean(found) >= 0.8


def test_candidates_leave_enough_points_after_them():
    """The last candidate is before the last fifth, and points past it belong to it."""
    trend = Trend.of(np.random.default_rng(4).normal(size=50))
    last = trend.flat.candidates.size - 1

    assert trend.flat.candidates[last] == 40
    assert trend.candidate_near(49) == last
    assert trend.candidate_near(0) == 0


def test_a_quartic_is_reproduced_by_the_smoother():
    """The smoother leaves quartics as they are, over any x."""
    x = np.array([0.1, 0.4, 0.5, 0.9, 1.6, 2.0, 3.1, 3.3])
    curve = 1 - x + 0.2 * x**3 - 0.05 * x**4

    np.testing.assert_allclose(smoother(x) @ curve, curve, atol=1e-10)


def test_resampled_series_scatter_around_the_curve():
    """Their mean is the curve, their spread that of the residuals, and the seed decides."""
    rng = np.random.default_rng(5)
    curve = np.linspace(0, 3, 60)
    series = curve + 0.3 * rng.normal(size=60)

    found = block_resampled(curve, series, 2000, seed=1)

    np.testing.assert_allclose(found.mean(), curve.mean(), atol=0.03)
    assert (found - curve).std() == pytest.approx((series - curve).std(), rel=0.1)
    np.testing.assert_array_equal(found, block_resampled(curve, series, 2000, seed=1))


@pytest.mark.parametrize(
    ("series", "said"),
    [
        (np.arange(9.0), "9 points; 10 are needed"),
        (np.full(20, 0.3), "without any noise"),
        (np.arange(20.0), "without any noise"),
    ],
)
def test_what_cannot_be_told_from_noise_is_refused(series, said):
    """Too few points, a constant and a smooth line give no number."""
    with pytest.raises(UndefinedMetricError, match=said):
        Trend.of(series)
