"""Several checks at once, and how much data a decision needs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.stats.multiplicity import holm
from rmcheck.stats.power import units_to_decide

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_holm_agrees_with_a_worked_example():
    """R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") gives 0.03 0.06 0.06 0.02."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(p_values)
def test_holm_lies_between_the_raw_value_and_bonferroni(p):
    """Never below the raw p-value, never above K times it (capped at 1)."""
    for raw, adjusted in zip(p, holm(p), strict=True):
        assert raw <= adjusted <= min(1.0, len(p) * raw) + 1e-15


@given(p_values, st.randoms())
def test_holm_does_not_depend_on_the_order_of_checks(p, random):
    """A permutation of the checks permutes the adjusted values."""
    order = list(range(len(p)))
    random.shuffle(order)

    assert holm([p[i] for i in order]) == [holm(p)[i] for i in order]


def test_of_no_checks_nothing_is_adjusted():
    """An empty family is fine."""
    assert holm([]) == []


@pytest.mark.parametrize(("value", "lower", "upper"), [(0.82, 0.76, 0.87), (0.78, 0.73, 0.84)])
def test_with_as_many_prompts_as_it_says_the_bound_would_be_reached(value, lower, upper):
    """Shrinking the interval by √(n/n') moves its end just past the bound."""
    n, bound = 100, 0.80
    needed = units_to_decide(n=n, value=value, lower=lower, upper=upper, bound=bound)
    end = lower if value > bound else upper

    moved = value + (end - value) * np.sqrt(n / needed)

    assert (moved - bound) * (value - bound) >= 0
    assert needed < 1.25 * n * ((end - value) / (value - bound)) ** 2


def test_a_value_on_the_bound_is_never_decided():
    """No number of prompts tells a value from itself."""
    assert units_to_decide(n=100, value=0.8, lower=0.7, upper=0.9, bound=0.8) is None


@pytest.mark.parametrize(
    ("n", "lower", "units"),
    [(10, 0.85, 23), (30, 0.85, 68), (50, 0.85, 120), (100, 0.8, 400), (1234, 0.85, 2800)],
)
def test_units_to_decide_are_rounded_up_to_two_digits(n, lower, units):
    """Three standard errors of .05 a side where two are between: n · 1.5², and so on."""
    found = units_to_decide(n=n, value=1.0, lower=lower, upper=1.1, bound=0.9)

    assert found == units
