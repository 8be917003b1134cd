"""Two engines side by side: drift of rewards, and order inside prompts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.parity import parity

POOLS = st.lists(
    st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=1, max_size=6),
    min_size=1,
    max_size=5,
)


def arrays(pool):
    """Rewards of both engines and offsets of prompts with (a, b) pairs."""
    flat = [pair for prompt in pool for pair in prompt]
    offsets = np.cumsum([0, *map(len, pool)])
    return np.array([a for a, _ in flat], float), np.array([b for _, b in flat], float), offsets


@given(POOLS, st.sampled_from([0.0, 1.0, 2.5]))
def test_flips_are_counted_pair_by_pair(pool, tolerance):
    """A pair flips when its sign changes and its margin changes by more than the tolerance."""
    a, b, offsets = arrays(pool)
    flips = pairs = 0
    for prompt in pool:
        for i in range(len(prompt)):
            for j in range(i):
                ours, theirs = prompt[i][0] - prompt[j][0], prompt[i][1] - prompt[j][1]
                pairs += 1
                flips += np.sign(ours) != np.sign(theirs) and abs(ours - theirs) > tolerance

    found = parity(a, b, offsets, tolerance=tolerance)

    assert (found.flips, found.pairs) == (flips, pairs)


@given(POOLS)
def test_spearman_is_the_mean_over_prompts(pool):
    """As scipy has it, over the prompts in which both engines tell responses apart."""
    a, b, offsets = arrays(pool)
    expected = [
        spearmanr([x for x, _ in prompt], [y for _, y in prompt]).statistic
        for prompt in pool
        if len({x for x, _ in prompt}) > 1 and len({y for _, y in prompt}) > 1
    ]

    found = parity(a, b, offsets, tolerance=0)

    if expected:
        assert found.spearman == pytest.approx(np.mean(expected), abs=1e-12)
        assert found.lowest_spearman == pytest.approx(min(expected), abs=1e-12)
    else:
        assert found.spearman is found.lowest_spearman is None


@given(POOLS)
def test_engines_change_places(pool):
    """Who is first changes the sign of the shift and nothing else of the numbers."""
    a, b, offsets = arrays(pool)

    there, back = parity(a, b, offsets, tolerance=1), parity(b, a, offsets, tolerance=1)

    assert there.max_difference == back.max_difference
    assert there.mean_difference == back.mean_difference
    assert there.shift == -back.shift
    assert there.flips == back.flips


def test_drift_and_the_texts_that_drift_most():
    """Largest, mean and signed mean difference, and positions by difference."""
    a, b = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.5, 2.0, 2.0, 4.25])

    found = parity(a, b, np.array([0, 2, 4]), tolerance=0.1)

    assert (found.max_difference, found.mean_difference, found.shift) == (1.0, 0.4375, -0.0625)
    assert found.worst.tolist() == [2, 0, 3, 1]


def test_the_same_rewards_agree():
    """Nothing differs, nothing flips, and no map is suspected."""
    a = np.array([0.3, -1.0, 2.0, 0.0])

    found = parity(a, a, np.array([0, 2, 4]), tolerance=0)

    assert (found.max_difference, found.flips, found.map) == (0, 0, "")
    assert found.spearman == pytest.approx(1)


def test_saturated_probabilities_lose_the_order():
    """Good responses that are all 1.0 in float32 are no longer told apart: 16.6 and more."""
    a = np.array([17.0, 18.0, 19.0])
    b = (1 / (1 + np.exp(-a.astype(np.float32)))).astype(float)

    assert parity(a, b, np.array([0, 3]), tolerance=0.001).flips == 3


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda x: 1 / (1 + np.exp(-x)), "sigmoid"),
        (lambda x: np.log(x / (1 - x)), "logit"),
        (lambda x: 3 * x - 1, "scale"),
        (lambda x: x + 2, "scale"),
        (lambda x: x**3, ""),
    ],
)
def test_a_plain_map_between_the_engines_is_recognised(change, name):
    """Squashed and normalised rewards are told by name; others are not."""
    a = np.array([0.1, 0.25, 0.4, 0.7, 0.95])

    assert parity(a, change(a), np.array([0, 5]), tolerance=1e-6).map == name


def test_no_rewards_have_no_parity():
    """An empty comparison agrees about nothing."""
    with pytest.raises(UndefinedMetricError, match="at least one response"):
        parity(np.zeros(0), np.zeros(0), np.array([0]), tolerance=0)


def test_rewards_that_do_not_belong_together_are_refused():
    """Lengths and offsets must fit."""
    with pytest.raises(ValueError, match="offsets"):
        parity(np.zeros(3), np.zeros(2), np.array([0, 3]), tolerance=0)
