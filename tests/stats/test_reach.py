"""How far bounds will be on other numbers of units."""

import math

import numpy as np
import pytest
from scipy.stats import exponnorm

from rmcheck.metrics.best_of_n import DropOf
from rmcheck.stats.reach import Reach
from rmcheck.stats.unseen import rule_of_three


def test_without_an_allowance_it_is_the_normal_quantile():
    """1.645 standard errors, on both sides, whatever the number of units."""
    reach = Reach()

    for units in (30, 3_000):
        assert reach.below(0.1, units, 0.95) == pytest.approx(0.1644854)
        assert reach.above(0.1, units, 0.95) == pytest.approx(0.1644854)


@pytest.mark.parametrize("level", [0.6, 0.95, 0.999])
@pytest.mark.parametrize("moved", [0.01, 1.0, 30.0])
def test_one_more_unit_adds_an_exponential_number(moved, level):
    """The quantile of a normal plus an exponential number, as scipy has it."""
    found = Reach((moved, 0.0)).below(0.05, 40, level)

    mean = moved / 40
    assert found == pytest.approx(exponnorm.ppf(level, mean / 0.05, scale=0.05), rel=1e-6)


def test_bounds_that_have_no_formula_come_closer_as_errors_do():
    """So many standard errors, on each side its own."""
    reach = Reach(errors=(1.0, 3.0))

    assert reach.below(0.1, 30, 0.95) == pytest.approx(0.1)
    assert reach.above(0.1, 30, 0.95) == pytest.approx(0.3)


def test_without_spread_one_more_unit_is_the_rule_of_three():
    """−ln .05 = 3.00 units among n."""
    assert Reach((0.0, 2.0)).above(0.0, 100, 0.95) == pytest.approx(-2 * math.log(0.05) / 100)


def test_what_could_have_been_missed_is_the_least_that_it_is():
    """Thirty prompts that lost nothing: a share of .095 could lose 2, and .0030 of a thousand."""
    rows = np.array([[-1.0, 1.0], [1.0, 1.0]])
    rule = rule_of_three(DropOf(0, 1), np.array([30.0, 30.0]), rows, rows, units=30)
    reach = Reach(rule=rule)

    assert reach.above(1e-6, 30, 0.95) == pytest.approx(2 * (1 - 0.05 ** (1 / 30)))
    assert reach.above(1e-6, 1_000, 0.95) == pytest.approx(2 * (1 - 0.05**0.001))
    assert reach.above(0.5, 30, 0.95) == pytest.approx(0.822, abs=0.001)
    assert reach.below(1e-6, 30, 0.95) == pytest.approx(1.645e-6, rel=0.01)
