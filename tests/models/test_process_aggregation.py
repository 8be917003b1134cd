"""How the log-odds of steps become one reward."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.models.kinds.process.aggregation import AGGREGATES, aggregated

WAYS = sorted(AGGREGATES)
log_odds = st.lists(st.floats(-80, 80), min_size=1, max_size=12).map(np.array)


def close(found, expected):
    """Whether two log-odds agree to rounding."""
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        # p = .5, .8, .9: their least, product .36, mean 2.2 / 3, and last.
        ("min", 0.0),
        ("product", math.log(0.36 / 0.64)),
        ("mean", math.log(2.2 / 0.8)),
        ("last", math.log(0.9 / 0.1)),
    ],
)
def test_three_steps_by_hand(how, expected):
    """Probabilities .5, .8 and .9 are aggregated as on paper."""
    steps = np.log(np.array([0.5, 0.8, 0.9]) / np.array([0.5, 0.2, 0.1]))

    assert aggregated(steps, how) == pytest.approx(expected, abs=1e-12)


@given(log_odds, st.integers(0, 11), st.floats(0, 20))
def test_better_steps_are_never_worse_together(steps, at, more):
    """Raising the log-odds of one step never lowers the reward."""
    better = steps.copy()
    better[at % len(steps)] += more

    for how in WAYS:
        before, after = aggregated(steps, how), aggregated(better, how)
        assert after >= before or close(after, before)


@given(log_odds)
def test_order_of_the_ways(steps):
    """Product ≤ min ≤ mean ≤ the best step, and min ≤ last."""
    product, least, mean, last = (
        aggregated(steps, how) for how in ("product", "min", "mean", "last")
    )

    assert product <= least or close(product, least)
    assert least <= mean or close(least, mean)
    assert mean <= steps.max() or close(mean, steps.max())
    assert least <= last


@given(log_odds, st.randoms(use_true_random=False))
def test_order_of_steps_matters_for_the_last_alone(steps, random):
    """Shuffled steps get the same product, mean and least, to rounding."""
    shuffled = random.sample(steps.tolist(), len(steps))

    for how in ("product", "mean", "min"):
        assert close(aggregated(np.array(shuffled), how), aggregated(steps, how))


@given(st.floats(-1e4, 1e4))
def test_one_step_is_its_own_reward(value):
    """A response of one step has that step's log-odds, whatever the way, even out of reach of p."""
    for how in WAYS:
        assert close(aggregated(np.array([value]), how), value)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8))
def test_agrees_with_plain_probabilities(steps):
    """Where nothing rounds away, the reward is the log-odds of plain products and means."""
    p = 1 / (1 + np.exp(-np.array(steps)))

    for how, together in (("product", p.prod()), ("mean", p.mean()), ("min", p.min())):
        found = aggregated(np.array(steps), how)
        assert 1 / (1 + math.exp(-found)) == pytest.approx(together, rel=1e-9)


@pytest.mark.parametrize("value", [-80.0, 80.0])
@pytest.mark.parametrize("how", WAYS)
def test_500_certain_steps_stay_finite(how, value):
    """With 500 steps of log-odds ±80 nothing overflows, and the product still knows how many."""
    found = aggregated(np.full(500, value), how)

    # Π p = e^(-500 · 80) for wrong steps; 1 - Π p = 500 e^(-80) for right ones.
    product = -500 * 80.0 if value < 0 else 80.0 - math.log(500)
    assert found == pytest.approx(product if how == "product" else value, rel=1e-12)
