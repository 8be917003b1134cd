"""Bounds from resampled totals alone: what each unit did is gone, and hardly missed."""

from statistics import NormalDist

import numpy as np
import pytest

from rmcheck.stats.bootstrap import BCa, resample
from rmcheck.stats.resampled_totals import resample_totals
from rmcheck.stats.unit_weights import unit_keys, unit_weights
from rmcheck.stats.weights import draw_weights

UNITS = 400


class Mean:
    """First total over second."""

    def value(self, sums, /):
        """The mean."""
        return sums[..., 0] / sums[..., 1]

    def gradient(self, sums, /):
        """Its derivative by both totals."""
        first, second = sums[..., 0], sums[..., 1]
        return np.stack([1 / second, -first / second**2], axis=-1)


class MeanWithoutGradient(Mean):
    """The same, for which no derivative is known."""

    def gradient(self, sums, /):
        """None."""


class SquaredMean(Mean):
    """Its square, which is flat where the mean is 0."""

    def value(self, sums, /):
        """The squared mean."""
        return super().value(sums) ** 2

    def gradient(self, sums, /):
        """Chain rule."""
        return 2 * super().value(sums)[..., None] * super().gradient(sums)


def sums_of(values):
    """(n, 2): the values, and 1."""
    return np.stack([values, np.ones(len(values))], axis=1)


def skewed():
    """(n, 2) sums of a mean whose bias and acceleration are about .05."""
    return sums_of(np.random.default_rng(5).exponential(size=UNITS) ** 2)


def drawn(sums, resamples=20_000):
    """(B, 2) totals with Poisson(1) weights."""
    return unit_weights(unit_keys(map(str, range(len(sums)))), resamples, seed=1) @ sums


def test_bias_and_acceleration_are_those_of_single_units():
    """On a skewed mean both agree with ordinary resampling within .03 and .009: three Monte-Carlo
    errors of 20,000 draws on each side.
    """  # noqa: D205
    sums = skewed()
    found = resample_totals(Mean(), sums.sum(axis=0), drawn(sums), units=UNITS)
    expected = resample(Mean(), sums, draw_weights(UNITS, 20_000, 2))

    assert isinstance(found, BCa)
    assert expected.bias > 0.03
    assert found.bias == pytest.approx(expected.bias, abs=0.03)
    assert found.bias == pytest.approx(NormalDist().inv_cdf(_share_below(sums)), abs=1e-9)
    assert found.acceleration == pytest.approx(expected.acceleration, abs=0.009)


def _share_below(sums):
    draws = Mean().value(drawn(sums))
    return float(np.mean(draws < Mean().value(sums.sum(axis=0))))


def test_a_statistic_without_a_gradient_gets_a_numerical_one():
    """The acceleration is the same to six digits."""
    sums = skewed()
    known, found = (
        resample_totals(statistic, sums.sum(axis=0), drawn(sums, 2000), units=UNITS)
        for statistic in (Mean(), MeanWithoutGradient())
    )

    assert abs(known.acceleration) > 0.03
    assert found.acceleration == pytest.approx(known.acceleration, rel=1e-6)


def test_a_flat_point_has_no_acceleration():
    """Where the derivative is 0 no unit has an influence of first order, and skewness is none."""
    sums = sums_of(np.tile([-1.0, 1.0], UNITS // 2))
    found = resample_totals(SquaredMean(), sums.sum(axis=0), drawn(sums, 500), units=UNITS)

    assert found.acceleration == 0
    assert 0 <= found.bound(0.05) <= found.bound(0.95)


def test_what_is_not_smooth_gets_percentiles():
    """Corrections for bias and skewness are left out."""
    sums = skewed()
    found = resample_totals(Mean(), sums.sum(axis=0), drawn(sums, 500), units=UNITS, smooth=False)

    assert (found.bias, found.acceleration) == (0, 0)


def test_weights_of_a_name_never_change():
    """Totals that other machines and later versions make must fit those that are there."""
    # Made by this code at its first release: 64 bits of BLAKE2b, Philox 4x64, Poisson(1).
    golden = [[0, 2, 0, 0, 1, 0, 1, 0, 0], [0, 2, 2, 4, 2, 1, 1, 0, 1]]

    assert unit_weights(unit_keys(["p0", "naïve ☃"]), 9, seed=3).T.tolist() == golden


class Total(Mean):
    """The first total."""

    def value(self, sums, /):
        """The total."""
        return sums[..., 0]

    def gradient(self, sums, /):
        """1 and 0."""
        return np.array([1.0, 0.0])


@pytest.mark.filterwarnings("error")
def test_a_skewness_beyond_the_numbers_is_none():
    """Where the cubes of the totals overflow there is no correction, no NaN and no error."""
    totals = 1e120 * np.random.default_rng(9).exponential(size=(200, 2))

    found = resample_totals(Total(), totals.mean(axis=0), totals, units=200)

    assert found.acceleration == 0
