"""Independent units: what prompts add up to, and who is resampled with whom."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.stats.units import Units, few_units
from rmcheck.stats.weights import draw_weights

PROMPTS = st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 9)), min_size=1, max_size=40)


def units(prompts, pool=10):
    """Units of (value, cluster) pairs: the value, and the number of prompts."""
    values, clusters = np.array(prompts, dtype=np.int64).T
    sums = np.stack([values, np.ones(len(values))], axis=1).astype(float)
    return Units.of(sums, clusters, pool)


@given(PROMPTS)
def test_prompts_of_a_cluster_add_up_to_one_unit(prompts):
    """Every prompt is in exactly one unit, and units stand in the order of their clusters."""
    found = units(prompts)

    assert found.places.tolist() == sorted({cluster for _, cluster in prompts})
    assert found.whole.tolist() == [sum(value for value, _ in prompts), len(prompts)]
    for place, (total, count) in zip(found.places, found.sums, strict=True):
        own = [value for value, cluster in prompts if cluster == place]
        assert (total, count) == (sum(own), len(own))


@given(PROMPTS, st.integers(0, 5))
def test_a_slice_is_resampled_with_the_weights_of_the_pool(prompts, seed):
    """A unit counts in a resample as often as it does for the whole pool."""
    found, weights = units(prompts), draw_weights(10, 50, seed)
    counts = np.concatenate(list(weights.counts), axis=1)[:, :50].T[:, found.places].astype(float)
    size = counts.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = len(found) * (counts @ found.sums) / size

    np.testing.assert_allclose(found.resampled(50, seed), expected, rtol=1e-9, atol=1e-9)


@given(PROMPTS)
def test_columns_beside_each_other_are_resampled_as_they_are_alone(prompts):
    """Models and metrics that share units share resamples, so that differences are paired."""
    found = units(prompts)
    alone, both = found.resampled(20, 0), found.beside(found).resampled(20, 0)

    np.testing.assert_allclose(both, np.hstack([alone, alone]), rtol=1e-9, atol=1e-9)


def test_too_few_units_are_named_with_those_that_say_nothing():
    """Thirty decide unless somebody says otherwise."""
    assert few_units(30) == few_units(5, 5) == ()
    assert few_units(29) == ("29 independent prompts, fewer than 30",)
    assert few_units(4, 5, constant=2) == (
        "4 independent prompts, fewer than 5 (on 2 more the golden rewards are all equal)",
    )
