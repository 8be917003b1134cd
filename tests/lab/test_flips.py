"""Label flips: how many labels two reward models disagree on, by the kind of overlap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmcheck.errors import UsageError
from rmcheck.lab.family.flips import flipped_labels

PAIRS = 4000
INCONSISTENT = {
    "disjoint": lambda a, b: a + b,
    "independent": lambda a, b: a + b - 2 * a * b,
    "nested": lambda a, b: abs(a - b),
}
RATES = st.lists(st.integers(0, 12).map(lambda p: p / 100), min_size=2, max_size=8)


def inconsistency(rates, overlap, seed):
    """(M, M) share of labels that two reward models were taught differently."""
    names = [f"rm-{i}" for i in range(len(rates))]
    flips = flipped_labels(names, rates, PAIRS, overlap, seed)
    return (flips[:, None] != flips[None]).mean(axis=2)


@pytest.mark.parametrize("overlap", INCONSISTENT)
@settings(max_examples=30)
@given(rates=RATES, seed=st.integers(0, 2**31))
def test_two_reward_models_disagree_on_the_share_of_labels_that_the_formula_says(
    overlap, rates, seed
):
    """Within five standard errors, the matrix is the formula's, symmetric, with a zero diagonal."""
    found = inconsistency(rates, overlap, seed)
    a, b = np.meshgrid(rates, rates)
    expected = INCONSISTENT[overlap](a, b) * (1 - np.eye(len(rates)))

    assert np.array_equal(found, found.T)
    assert np.array_equal(np.diag(found), np.zeros(len(rates)))
    assert np.abs(found - expected).max() <= 5 * np.sqrt(0.25 / PAIRS)


@given(rates=RATES, seed=st.integers(0, 2**31))
def test_disjoint_flips_never_meet(rates, seed):
    """No label is wrong for two reward models, and each has exactly its share."""
    flips = flipped_labels([str(i) for i in range(len(rates))], rates, 1000, "disjoint", seed)

    assert flips.sum(axis=0).max() <= 1
    assert flips.sum(axis=1).tolist() == [round(1000 * rate) for rate in rates]


def test_flips_of_a_reward_model_do_not_depend_on_the_others():
    """Independent flips go with the name, so a family can grow."""
    alone = flipped_labels(["b"], [0.3], 500, "independent", 1)
    family = flipped_labels(["a", "b"], [0.1, 0.3], 500, "independent", 1)

    assert np.array_equal(alone[0], family[1])


def test_disjoint_rates_that_sum_to_more_than_one_are_refused():
    """There are not enough labels; the message says what to write."""
    with pytest.raises(UsageError, match=r"sum to 1.2.*overlap: independent"):
        flipped_labels(["a", "b"], [0.6, 0.6], 10, "disjoint", 0)
