"""BCa bounds are widened where the units are few."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.stats.bootstrap import BCa, SortedDraws, resample
from rmcheck.stats.weights import draw_weights

NORMAL = scipy.stats.norm


def symmetric(units):
    """A distribution with no bias and no skew: quantiles of a normal with standard deviation 1."""
    draws = NORMAL.ppf((np.arange(100_001) + 0.5) / 100_001)
    return BCa(SortedDraws(draws), bias=0.0, acceleration=0.0, units=units)


@pytest.mark.parametrize("units", [10, 30, 100, 1_000])
@pytest.mark.parametrize("level", [0.01, 0.05, 0.5, 0.95, 0.99])
def test_without_bias_and_skew_a_bound_is_that_of_students_t(units, level):
    """√(n / (n − 1)) times the t quantile with n − 1 degrees of freedom, in draws' deviations."""
    wide = np.sqrt(units / (units - 1)) * scipy.stats.t.ppf(level, units - 1)

    assert symmetric(units).bound(level) == pytest.approx(wide, rel=0.005, abs=1e-9)


def test_a_t_interval_is_what_a_mean_of_few_normal_numbers_gets():
    """Draws of a mean spread by the standard deviation with divisor n; the bound is t's."""
    x = np.random.default_rng(0).normal(size=12)
    draws = x.mean() + x.std() / np.sqrt(12) * symmetric(12).draws.draws
    bound = BCa(SortedDraws(draws), 0.0, 0.0, 12).bound(0.95)

    assert bound == pytest.approx(
        x.mean() + scipy.stats.t.ppf(0.95, 11) * x.std(ddof=1) / np.sqrt(12), abs=0.001
    )


@given(st.integers(2, 10_000), st.floats(0.01, 0.99), st.floats(-0.3, 0.3), st.floats(-0.05, 0.05))
def test_level_undoes_bound_for_any_number_of_units(units, level, bias, acceleration):
    """The p-value agrees with the bound, whatever the widening, unless it left the draws."""
    distribution = BCa(symmetric(2).draws, bias, acceleration, units)
    bound = distribution.bound(level)
    if abs(bound) < 3.5:
        assert distribution.level(bound) == pytest.approx(level, abs=2e-3)


def test_a_value_that_few_units_carry_is_as_unsure_as_they_are():
    """Of 400 units ten carry the value: its bounds are widened as those of ten."""

    class Total:
        def value(self, sums):
            return sums[..., 0]

        def parts(self, sums):
            return None

    sums = np.random.default_rng(1).normal(size=(400, 1))
    weights = draw_weights(400, 5_000, seed=0)
    all_, few = (resample(Total(), sums, weights, effective=k).bound(0.95) for k in (None, 10.0))

    own = resample(Total(), sums, weights)
    assert few == BCa(own.draws, own.bias, own.acceleration, 10.0).bound(0.95)
    assert few > all_
