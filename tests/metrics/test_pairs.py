"""The pairs of a prompt's responses, a bounded number at a time."""

import itertools

import numpy as np
import pytest
from scipy.special import expit

from rmcheck.metrics.pairs import BETTER, SAME, TIED, WORSE, pair_chunks, pair_limit
from rmcheck.metrics.ranks import places

RNG = np.random.default_rng(0)
PROXY, GOLDEN = RNG.permuted(np.tile(np.arange(7.0), (2, 5, 1)), axis=2)


def pairs_read(proxy, golden, limit):
    """Of each prompt, the margins of its pairs, in order; and the weights of all chunks."""
    found, weights = [[] for _ in proxy], set()
    for chunk in pair_chunks(proxy, golden, limit):
        weights.add(chunk.weight)
        for row, margin, gold in zip(
            range(*chunk.rows.indices(len(proxy))), chunk.margin.T, chunk.golden.T, strict=True
        ):
            found[row] += zip(margin.tolist(), gold.tolist(), strict=True)
    return [sorted(row) for row in found], weights


def all_pairs(proxy, golden):
    """The same by two loops."""
    found = []
    for r, g in zip(proxy, golden, strict=True):
        pairs = itertools.combinations(range(r.size), 2)
        up = [(i, j) if r[i] > r[j] else (j, i) for i, j in pairs]
        found.append(sorted((r[i] - r[j], g[i] - g[j]) for i, j in up))
    return found


@pytest.mark.parametrize("size", [1, 5, 21, 50, 2**16])
def test_every_pair_is_read_once_however_small_the_chunks(monkeypatch, size):
    """Five prompts of seven responses have 21 pairs each, with the proxy's margin above 0."""
    monkeypatch.setattr("rmcheck.metrics.pairs.CHUNK_SIZE", size)

    found, weights = pairs_read(PROXY, GOLDEN, 21)

    assert found == all_pairs(PROXY, GOLDEN)
    assert weights == {1.0}


def test_a_chunk_holds_no_more_than_it_may(monkeypatch):
    """So that its memory is bounded: 50 pairs are two prompts of 21."""
    monkeypatch.setattr("rmcheck.metrics.pairs.CHUNK_SIZE", 50)

    assert [c.margin.shape for c in pair_chunks(PROXY, GOLDEN, 21)] == [(21, 2), (21, 2), (21, 1)]


@pytest.mark.parametrize("limit", [1, 2, 7, 10, 20])
def test_with_too_many_pairs_every_kth_stands_for_k(limit):
    """Never more than the limit, all with one weight, that of all pairs together."""
    found, (weight,) = pairs_read(PROXY, GOLDEN, limit)

    for some, every in zip(found, all_pairs(PROXY, GOLDEN), strict=True):
        assert set(some) <= set(every)
    assert {len(row) for row in found} == {round(21 / weight)}
    assert limit / 2 <= 21 / weight <= limit


def test_which_pairs_are_read_does_not_depend_on_the_order_of_responses():
    """Ties in the proxy are put in golden's order."""
    proxy, golden = np.floor(PROXY / 3), GOLDEN
    turned = RNG.permutation(7)

    assert pairs_read(proxy, golden, 6) == pairs_read(proxy[:, turned], golden[:, turned], 6)


def test_golden_says_better_worse_or_nothing_and_a_tie_of_the_proxy_is_told_apart():
    """Of each pair in order of the proxy; where both tie, golden does."""
    proxy, golden = np.array([[1.0, 2.0, 3.0, 3.0, 3.0]]), np.array([[5.0, 5.0, 9.0, 2.0, 2.0]])
    (chunk,) = pair_chunks(proxy, golden, 10)

    pairs = zip(chunk.margin[:, 0], chunk.golden[:, 0], chunk.verdict[:, 0], strict=True)
    for margin, gold, verdict in pairs:
        sure = WORSE if gold < 0 else BETTER
        assert verdict == (TIED if gold == 0 else SAME if margin == 0 else sure)
    assert set(chunk.verdict[:, 0].tolist()) == {WORSE, TIED, BETTER, SAME}


def test_ranks_of_many_responses_do_not_wrap_around():
    """Beyond 256 responses a byte would not hold them."""
    row = RNG.permutation(np.arange(700.0))[None]

    assert places(row).tolist() == row.tolist()


@pytest.mark.parametrize("top", [7.0, 690.0, 720.0, 1e5])
def test_confidence_is_the_logistic_function_of_the_margin(top):
    """Also where one reward is so far from all others that its exponential is no number."""
    proxy = PROXY.copy()
    proxy[2, 0] = top
    for chunk in pair_chunks(proxy, GOLDEN, 21):
        np.testing.assert_allclose(chunk.confidence, expit(chunk.margin), rtol=1e-12)


def test_a_pool_has_about_so_many_pairs_but_a_prompt_enough():
    """Ten prompts share a hundred pairs; a thousand prompts have five each all the same."""
    assert pair_limit(np.full(10, 99), most=100, least=5) == 10
    assert pair_limit(np.full(1000, 99), most=100, least=5) == 5
    assert pair_limit(np.zeros(0, dtype=int), most=100, least=5) == 100
