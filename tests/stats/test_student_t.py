"""Student's t bounds on a smooth statistic."""

import numpy as np
import pytest
from scipy.stats import multinomial, ttest_1samp

from rmcheck.metrics.ratio import RatioMetric
from rmcheck.stats.bootstrap import Exact
from rmcheck.stats.student_t import influence_error, influence_skew, student_t


class Mean(RatioMetric):
    """Of the first column over the second."""

    name, range, invariances = "mean", (-np.inf, np.inf), frozenset()

    def per_prompt(self, proxy, golden):
        """Not used."""
        raise NotImplementedError


def test_bounds_of_a_mean_are_those_of_the_one_sample_t_test():
    """Value, standard error and quantile, against scipy."""
    values = np.random.default_rng(0).normal(0.3, 1, 40)
    sums = np.stack([values, np.ones(40)], axis=1)
    found = student_t(values.mean(), influence_error(Mean(), sums), 40, reach=(0, 0))
    expected = ttest_1samp(values, 0, alternative="greater")

    assert found.bound(0.05) == pytest.approx(expected.confidence_interval(0.95).low)
    assert found.level(0.0) == pytest.approx(expected.pvalue)


def test_units_that_all_agree_may_hide_one_that_does_not():
    """No standard error: the rule of three with the reach of one unit."""
    found = student_t(0.0, 0.0, 30, reach=(1.0, 1.0))

    assert isinstance(found, Exact)
    assert found.bound(0.95) == pytest.approx(1 - 0.05 ** (1 / 30))


@pytest.mark.parametrize(
    ("value", "error", "exact"),
    [(0.5, 1e-13, True), (0.5, 1e-11, False), (1e6, 1e-7, True), (1e6, 1e-5, False)],
)
def test_an_error_of_rounding_size_is_none(value, error, exact):
    """Rounding is a share of the value, and of 1 where that is less."""
    assert isinstance(student_t(value, error, 30, reach=(0, 0)), Exact) == exact


def test_two_units_have_an_error_and_one_has_none():
    """The textbook's standard error of a mean, from the smallest sample that has one."""
    sums = np.array([[1.0, 1.0], [4.0, 1.0]])

    assert influence_error(Mean(), sums) == pytest.approx(1.5)
    assert influence_error(Mean(), sums[:1]) == 0


@pytest.mark.parametrize("n", [30, 60, 100])
def test_one_unit_to_one_side_says_less_than_none(n):
    """The bound on that side lies beyond the one where all agree; the other is that of t."""
    sums = np.stack([np.eye(n)[0], np.ones(n)], axis=1)
    skew, error = influence_skew(Mean(), sums), influence_error(Mean(), sums)
    none = student_t(0.0, 0.0, n, reach=(1.0, 1.0))
    one = student_t(1 / n, error, n, reach=(1.0, 1.0), skew=skew)
    plain = student_t(1 / n, error, n, reach=(1.0, 1.0))

    assert one.bound(0.95) > none.bound(0.95)
    assert one.bound(0.05) == plain.bound(0.05)


@pytest.mark.parametrize("skew", [-1.2, -0.1, 0.1, 1.2])
@pytest.mark.parametrize("level", [0.01, 0.05, 0.4, 0.6, 0.95, 0.99])
def test_the_level_of_a_bound_is_its_level(skew, level):
    """Also where skewness has moved it."""
    found = student_t(0.3, 0.1, 40, reach=(1.0, 1.0), skew=skew)

    assert found.level(found.bound(level)) == pytest.approx(level)


@pytest.mark.parametrize(("worse", "better"), [(0.03, 0.0), (0.05, 0.0), (0.06, 0.02), (0.1, 0.1)])
def test_a_drop_passes_at_its_own_size_in_few_pools_of_pairs(worse, better):
    """100 prompts, of which these shares differ: every outcome, each with its probability."""
    n, passed = 100, 0.0
    for k in range(20):
        for j in range(20):
            values = np.r_[np.ones(k), -np.ones(j), np.zeros(n - k - j)]
            sums = np.stack([values, np.ones(n)], axis=1)
            error, skew = influence_error(Mean(), sums), influence_skew(Mean(), sums)
            found = student_t((k - j) / n, error, n, reach=(1.0, 1.0), skew=skew)
            if found.bound(0.95) < worse - better:
                rest = 1 - worse - better
                passed += multinomial.pmf([k, j, n - k - j], n, [worse, better, rest])

    assert passed <= 0.08
