"""Ragged rewards: what is refused, and how they are cut into blocks."""

import gc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics import ranks
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards
from rmcheck.metrics.scored import Scored
from rmcheck.testing import rewards


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", ["proxy", "golden"])
def test_rewards_that_are_not_finite_are_refused(bad, column):
    """NaN and infinity are errors that name prompt and response, never a number."""
    rows = {"proxy": [[1.0, 2.0], [3.0, 4.0]], "golden": [[1.0, 2.0], [3.0, 4.0]]}
    rows[column][1][0] = bad

    with pytest.raises(UndefinedMetricError) as caught:
        Rewards.from_arrays(**rows, prompt_ids=["a", "b"])

    assert f"{column} reward of prompt 'b', response 0 is {bad}" in str(caught.value)
    assert "1 of 4 rewards" in str(caught.value)


def test_shapes_that_differ_are_refused():
    """Proxy and golden must have the same responses."""
    with pytest.raises(UndefinedMetricError, match=r"differ in shape: \[2\] and \[3\]"):
        Rewards.from_arrays([[1, 2]], [[1, 2, 3]])


def test_arrays_that_do_not_fit_the_offsets_are_refused():
    """Flat arrays must end where the offsets end."""
    with pytest.raises(UndefinedMetricError, match=r"offsets ask for \(3,\)"):
        Rewards(
            proxy=np.zeros(2),
            golden=np.zeros(3),
            offsets=np.array([0, 3]),
            prompt_ids=np.array(["a"]),
            clusters=np.array([0]),
        )


def test_float32_rewards_become_float64():
    """Sums over a pool are taken in double precision whatever the store kept."""
    pool = Rewards(
        proxy=np.zeros(2, dtype=np.float32),
        golden=np.zeros(2, dtype=np.float32),
        offsets=np.array([0, 2]),
        prompt_ids=np.array(["a"]),
        clusters=np.array([0]),
    )

    assert pool.proxy.dtype == pool.golden.dtype == np.float64


@given(pool=rewards(), least=st.integers(0, 4), most=st.integers(1, 20))
def test_blocks_hold_every_long_enough_prompt_once(pool, least, most):
    """Blocks are dense, bounded, ascending in N, and together they are the pool."""
    blocks = list(pool.blocks(least, most))
    rows = np.concatenate([np.zeros(0, dtype=int), *(block.rows for block in blocks)])
    sizes = [block.proxy.shape[1] for block in blocks]

    assert sorted(rows) == list(np.flatnonzero(pool.counts >= max(1, least)))
    assert sizes == sorted(sizes)
    for block in blocks:
        assert block.proxy.size <= most or block.proxy.shape[0] == 1
        for row, proxy, golden in zip(block.rows, block.proxy, block.golden, strict=True):
            span = slice(pool.offsets[row], pool.offsets[row + 1])
            np.testing.assert_array_equal(proxy, pool.proxy[span])
            np.testing.assert_array_equal(golden, pool.golden[span])


def test_matching_selects_by_slice():
    """A condition on slices is a mask over prompts; all conditions must hold."""
    pool = Rewards.from_arrays(
        [[1], [2], [3]], [[1], [2], [3]], slices={"a": ["x", "y", "x"], "b": ["u", "u", "v"]}
    )

    assert pool.matching({}).tolist() == [True, True, True]
    assert pool.matching({"a": "x", "b": "u"}).tolist() == [True, False, False]
    with pytest.raises(UndefinedMetricError, match="no slice 'c'; it has: a, b"):
        pool.matching({"c": "x"})
    with pytest.raises(UndefinedMetricError, match="no prompt of the pool has a='z'; a has: x, y"):
        pool.matching({"a": "z"})


def test_rewards_of_labelled_responses_are_those_among_all():
    """A proxy that was replaced without the scores of all responses is refused."""
    scored = Scored(np.array([3.0, 1.0, 2.0]), np.array([0, 3]), np.array([0, 2]), np.ones(2))
    rewards = replace(Rewards.from_arrays([[3.0, 2.0]], [[1.0, 2.0]]), scored=scored)

    with pytest.raises(UndefinedMetricError, match="not those among all responses"):
        replace(rewards, proxy=rewards.proxy + 1)


@pytest.mark.parametrize("chance", [0.0, 1.5, np.nan])
def test_an_inclusion_is_a_probability(chance):
    """A labelled response has a chance above 0 and at most 1 of having been chosen."""
    with pytest.raises(UndefinedMetricError, match="inclusion probability"):
        Scored(np.zeros(2), np.array([0, 2]), np.array([0]), np.array([chance]))


def test_metrics_share_the_order_of_a_block(monkeypatch):
    """Two sorts serve all metrics that go by order, and are forgotten with the rewards."""
    rng = np.random.default_rng(0)
    pool = Rewards.from_arrays(rng.normal(size=(9, 5)), rng.normal(size=(9, 5)))
    sorts, argsort = [], np.argsort
    monkeypatch.setattr(np, "argsort", lambda *a, **k: sorts.append(1) or argsort(*a, **k))
    known = set(ranks._KNOWN)
    for name in ("accuracy", "kendall", "spearman", "xi", "mrr", "ndcg", "bo_n", "bon_drop_ratio"):
        per_prompt_sums(make_metric(name), pool)

    assert len(sorts) == 2
    assert set(ranks._KNOWN) > known
    del pool
    gc.collect()
    assert set(ranks._KNOWN) == known


def test_arrays_that_may_change_are_sorted_anew():
    """A caller who writes into an array gets the order of what it then holds."""
    values = np.array([[3.0, 1.0, 2.0]])
    first = ranks.order(values).index.tolist()
    values[0, 0] = 0.0

    assert (first, ranks.order(values).index.tolist()) == ([[1, 2, 0]], [[0, 1, 2]])


def test_blocks_are_only_read():
    """A metric that writes into what it is given is stopped, not believed."""
    block = next(Rewards.from_arrays([[1.0, 2.0]], [[1.0, 2.0]]).blocks())

    with pytest.raises(ValueError, match="read-only"):
        block.proxy[0, 0] = 7.0


def test_an_empty_pool_has_no_units():
    """And a pool of two prompts of one conversation has one."""
    assert Rewards.from_arrays([], []).units == 0
    assert Rewards.from_arrays([[1.0], [2.0]], [[1.0], [2.0]], clusters=["a", "a"]).units == 1


def test_clusters_cannot_be_mistaken_for_another_column():
    """All but proxy and golden go by name."""
    with pytest.raises(TypeError, match="positional"):
        Rewards.from_arrays([[1.0]], [[1.0]], ["a"])
    assert len(Rewards.from_arrays(proxy=[[1.0]], golden=[[1.0]])) == 1


def test_responses_that_do_not_fit_their_offsets_are_refused():
    """The message shows both numbers."""
    with pytest.raises(UndefinedMetricError, match=r"has shape \(2,\); offsets ask for \(5,\)"):
        Scored(np.zeros(2), np.array([0, 3, 5]), np.array([0]), np.ones(1))


def test_scored_responses_are_cut_into_blocks_of_equal_n():
    """Of the prompts asked for, ascending in N, with at most so many rewards."""
    offsets = np.cumsum([0, 2, 3, 2, 2, 3])
    scored = Scored(np.arange(12.0), offsets, np.array([0]), np.ones(1))

    found = [(r.tolist(), p.tolist()) for r, p in scored.blocks(np.array([0, 1, 2, 3]), 4)]

    assert found == [
        ([0, 2], [[0, 1], [5, 6]]),
        ([3], [[7, 8]]),
        ([1], [[2, 3, 4]]),
    ]
