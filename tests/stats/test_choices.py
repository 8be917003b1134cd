"""Ratings from choices: Bradley and Terry's, and Luce's."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.stats.choices import PRIOR, ratings


def pairs(wins):
    """Lists and shares of (a, b, won by a), as often as it says."""
    rows = [(a, b, won) for a, b, won, times in wins for _ in range(times)]
    shares = [(won, 1 - won) for _, _, won in rows]
    return np.array([row[:2] for row in rows]), np.array(shares, dtype=float)


def test_many_wins_of_two_are_their_log_odds():
    """With 7,500 wins of 10,000 the prior is nothing: log(0.75 / 0.25)."""
    found = ratings(2, *pairs([(0, 1, 1.0, 7500), (1, 0, 1.0, 2500)]))

    assert found[0] - found[1] == pytest.approx(np.log(3), abs=1e-4)


def test_two_wins_of_two_are_finite():
    """The root of 2 (1 - s(2 r)) = 0.1 r, with s the logistic function, found by bisection."""
    found = ratings(2, *pairs([(0, 1, 1.0, 1), (1, 0, 0.0, 1)]))

    assert found.tolist() == pytest.approx([1.3234951, -1.3234951], abs=1e-7)


def test_abilities_of_a_textbook():
    """Agresti's baseball, 1987: home and away wins of seven teams; R's BradleyTerry2 has these
    log abilities without an order effect, to what the prior takes from 13 games a pair.
    """  # noqa: D205
    teams = ["Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore"]
    table = {
        (0, 1): 7, (0, 2): 9, (0, 3): 7, (0, 4): 7, (0, 5): 9, (0, 6): 11,
        (1, 2): 7, (1, 3): 5, (1, 4): 11, (1, 5): 9, (1, 6): 9,
        (2, 3): 7, (2, 4): 7, (2, 5): 8, (2, 6): 12,
        (3, 4): 6, (3, 5): 7, (3, 6): 10,
        (4, 5): 7, (4, 6): 12,
        (5, 6): 6,
    }  # fmt: skip
    wins = [(a, b, 1.0, won) for (a, b), won in table.items()]
    wins += [(b, a, 1.0, 13 - won) for (a, b), won in table.items()]

    found = ratings(len(teams), *pairs(wins))

    published = [1.581, 1.436, 1.294, 1.248, 1.108, 0.684, 0.0]
    assert found - found[-1] == pytest.approx(np.array(published), abs=0.05)


@given(
    count=st.integers(2, 6),
    size=st.integers(2, 4),
    seed=st.integers(0, 999),
)
def test_each_wins_as_often_as_its_rating_says(count, size, seed):
    """The equations of the likelihood, and a mean of 0: shares won are those expected, less the
    prior.
    """  # noqa: D205
    rng = np.random.default_rng(seed)
    lists = [one for one in combinations(range(count), min(size, count)) for _ in range(2)]
    shares = rng.multinomial(1, np.full(len(lists[0]), 1 / len(lists[0])), len(lists)).astype(float)

    found = ratings(count, np.array(lists), shares)

    powers = np.exp(found)[np.array(lists)]
    expected = powers / powers.sum(axis=1, keepdims=True)
    excess = np.zeros(count)
    np.add.at(excess, np.array(lists), shares - expected)
    np.testing.assert_allclose(excess, PRIOR * found, atol=1e-5)
    assert found.mean() == pytest.approx(0, abs=1e-6)


def test_names_play_no_part_and_equal_records_are_equal():
    """A cycle of wins rates all alike, to the last digit."""
    cycle = pairs([(0, 1, 1.0, 1), (1, 2, 1.0, 1), (2, 0, 1.0, 1)])

    assert ratings(3, *cycle).tolist() == [0, 0, 0]
    assert ratings(2, np.zeros((0, 2), dtype=int), np.zeros((0, 2))).tolist() == [0, 0]
