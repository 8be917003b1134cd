"""Influences, and the differences and numbers of units that follow from their spread."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.metrics.ratio import ratio, ratio_gradient
from rmcheck.stats.bootstrap import standard_error
from rmcheck.stats.difference import Difference
from rmcheck.stats.power import influences, unit_sd, units_to_detect

levels = st.floats(0.6, 0.99)
sizes = st.floats(1e-3, 10)


class Ratio:
    """First sum over second."""

    def value(self, sums):
        """The ratio of the totals."""
        return ratio(sums[..., 0], sums[..., 1])

    def gradient(self, sums):
        """Of a ratio."""
        return ratio_gradient(sums, sign=1.0)

    def parts(self, sums):
        """It is no maximum."""


class WithoutGradient(Ratio):
    """The same, whose influences must be found by leaving units out."""

    def gradient(self, sums):
        """None."""


def gains(seed=0, n=200):
    """Two correlated sums a unit, the second with a mean well above 0."""
    rng = np.random.default_rng(seed)
    golden = rng.exponential(1.0, n) + 0.2
    return np.stack([0.7 * golden + 0.3 * rng.normal(size=n), golden], axis=-1)


def test_the_factor_is_the_textbook_one():
    """(1.6449 + 0.8416)² = 6.183 units a squared standard deviation over squared difference."""
    assert units_to_detect(0.1, 1.0) == 619  # 618.3, rounded up


@given(levels, levels, sizes, sizes)
def test_so_many_units_see_the_difference_and_one_fewer_does_not(confidence, power, sd, difference):
    """The difference is z_c + z_p standard errors, and one unit fewer makes those larger."""
    n = units_to_detect(difference, sd, confidence=confidence, power=power)
    errors = NormalDist().inv_cdf(confidence) + NormalDist().inv_cdf(power)

    assert errors * sd / math.sqrt(n) <= difference * (1 + 1e-9)
    if n > 1:
        assert errors * sd / math.sqrt(n - 1) > difference * (1 - 1e-9)


def test_a_test_on_so_many_units_has_the_power_that_was_asked_for():
    """5,000 one-sided z-tests of a mean find the difference in 80 % of the cases (se 0.6 %)."""
    n = units_to_detect(0.25, 1.0)
    means = 0.25 + np.random.default_rng(3).normal(size=(5_000, n)).mean(axis=1)

    found = (means > 1.6449 / np.sqrt(n)).mean()

    assert found == pytest.approx(0.8, abs=0.02)


def test_influences_of_a_ratio_are_the_linearised_ones():
    """(a_i − R b_i) / mean b, which sum to 0."""
    sums = gains()
    a, b = sums.T
    found = influences(Ratio(), sums)

    assert found == pytest.approx((a - a.sum() / b.sum() * b) / b.mean())
    assert abs(found.sum()) < 1e-9


def test_influences_without_a_gradient_are_nearly_the_same():
    """The jackknife agrees with the derivative to the order of 1 / n."""
    sums = gains()
    exact, left_out = influences(Ratio(), sums), influences(WithoutGradient(), sums)

    assert abs(left_out.mean()) < 1e-12
    assert np.abs(exact - left_out).max() < 0.05 * exact.std()


def test_the_spread_over_the_root_of_n_is_the_standard_error():
    """For a value and for a paired difference, each unit its own cluster."""
    first, second = gains(0), gains(1)
    paired = Difference(Ratio(), Ratio(), split=2)
    for statistic, sums in ((Ratio(), first), (paired, np.hstack([first, second]))):
        sd = unit_sd(influences(statistic, sums), np.arange(len(sums)))

        assert sd / np.sqrt(len(sums)) == pytest.approx(standard_error(statistic, sums))


def test_units_of_one_cluster_count_once():
    """Every unit twice in its cluster has the standard error of half as many units."""
    sums = gains()
    once = unit_sd(influences(Ratio(), sums), np.arange(200)) / np.sqrt(200)

    doubled = influences(Ratio(), np.repeat(sums, 2, axis=0))
    twice = unit_sd(doubled, np.repeat(np.arange(200), 2)) / np.sqrt(400)

    assert twice == pytest.approx(once)


def test_without_a_gradient_the_jackknife_gives_the_influences():
    """Of a mean they are the distances from it, exactly."""
    x = np.random.default_rng(8).normal(size=25)

    found = influences(WithoutGradient(), np.stack([x, np.ones(25)], axis=1))

    np.testing.assert_allclose(found, x - x.mean(), atol=1e-12)
