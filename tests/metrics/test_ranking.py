"""Ranking metrics against scipy and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, pearsonr, rankdata, spearmanr
from sklearn.metrics import ndcg_score

from rmcheck.metrics.ranking import MRR, NDCG, Kendall, Pearson, Spearman
from rmcheck.metrics.ranks import average_ranks
from rmcheck.testing import distinct_scores, scores

CORRELATIONS = {
    Pearson(): lambda r, g: pearsonr(r, g).statistic,
    Spearman(): lambda r, g: spearmanr(r, g).statistic,
    Kendall(): lambda r, g: kendalltau(r, g, variant="b").statistic,
}
same_size = st.integers(2, 8).flatmap(lambda n: st.tuples(scores(n), scores(n)))


def value(metric, proxy, golden):
    """The metric of one prompt."""
    return metric.prompt_values(np.array([proxy], float), np.array([golden], float))[0]


@given(values=st.integers(1, 8).flatmap(scores))
def test_average_ranks_are_scipys(values):
    """Equal values share the mean of their ranks."""
    np.testing.assert_array_equal(average_ranks(values[None])[0], rankdata(values))


@pytest.mark.parametrize("metric", CORRELATIONS, ids=lambda m: m.name)
@given(rows=same_size)
def test_correlations_are_scipys(metric, rows):
    """Pearson, Spearman and τ-b agree with scipy, ties or none; antisymmetric and symmetric."""
    proxy, golden = rows
    if np.ptp(proxy) == 0 or np.ptp(golden) == 0:
        return

    expected = CORRELATIONS[metric](proxy, golden)

    assert value(metric, proxy, golden) == pytest.approx(expected, abs=1e-12)
    assert value(metric, -proxy, golden) == pytest.approx(-expected, abs=1e-12)
    assert value(metric, golden, proxy) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", CORRELATIONS, ids=lambda m: m.name)
def test_correlations_are_undefined_for_constants(metric):
    """A constant proxy or golden has no correlation."""
    assert np.isnan(value(metric, [1, 1, 1], [1, 2, 3]))
    assert np.isnan(value(metric, [1, 2, 3], [0.1, 0.1, 0.1]))


@pytest.mark.parametrize("metric", CORRELATIONS, ids=lambda m: m.name)
def test_two_responses_give_a_sign(metric):
    """At N = 2 a correlation is 1 or −1."""
    assert value(metric, [0.3, 0.7], [5, 6]) == pytest.approx(1, abs=1e-15)
    assert value(metric, [0.7, 0.3], [5, 6]) == pytest.approx(-1, abs=1e-15)


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_pearson_survives_extreme_scales(factor):
    """Squares of very large or small rewards neither overflow nor vanish."""
    proxy = np.array([1.0, 2.0, 4.0])

    found = value(Pearson(), proxy * factor, [1, 3, 2])

    assert found == pytest.approx(pearsonr(proxy, [1, 3, 2]).statistic, abs=1e-12)


@given(rows=same_size)
def test_ndcg_is_scikit_learns(rows):
    """NDCG is `ndcg_score` with the ascending golden rank as relevance, proxy ties averaged."""
    proxy, golden = rows
    if np.ptp(golden) == 0:
        return

    expected = ndcg_score(rankdata(golden)[None], proxy[None])

    assert value(NDCG(), proxy, golden) == pytest.approx(expected, abs=1e-12)


@given(golden=distinct_scores(5), other=distinct_scores(5))
def test_reversed_proxy_has_the_lowest_ndcg(golden, other):
    """No order is worse than the reversed one: 0.722 at N = 5."""
    worst = value(NDCG(), -golden, golden)

    assert worst == pytest.approx(0.722, abs=5e-4)
    assert value(NDCG(), other, golden) >= worst - 1e-12


@pytest.mark.parametrize(
    ("size", "ndcg", "mrr"),
    # Chance levels: (N + 1)/2 Σ disc / IDCG, and H_N / N.
    [(2, 0.930, 0.75), (3, 0.895, 0.611), (5, 0.861, 0.457), (10, 0.834, 0.293)],
)
def test_a_constant_proxy_has_the_value_of_chance(size, ndcg, mrr):
    """A proxy that knows nothing has the chance level of its N, and 0 when normalised."""
    constant, golden = np.zeros(size), np.arange(size)

    assert value(NDCG(), constant, golden) == pytest.approx(ndcg, abs=5e-4)
    assert value(MRR(), constant, golden) == pytest.approx(mrr, abs=5e-4)
    assert value(NDCG(normalized=True), constant, golden) == pytest.approx(0, abs=1e-12)
    assert value(MRR(normalized=True), constant, golden) == pytest.approx(0, abs=1e-12)


@given(golden=st.integers(2, 8).flatmap(scores))
def test_a_perfect_proxy_has_one_when_normalised(golden):
    """Golden itself has exactly 1 above chance, golden ties or none."""
    if np.ptp(golden) == 0:
        return

    assert value(MRR(normalized=True), golden, golden) == pytest.approx(1, abs=1e-12)
    assert value(NDCG(normalized=True), golden, golden) == pytest.approx(1, abs=1e-12)
    assert value(NDCG(), golden, golden) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("proxy", "golden", "expected"),
    [
        ([3, 1, 2], [9, 5, 1], 1),
        ([1, 3, 2], [9, 5, 1], 1 / 2),
        ([1, 2, 3], [9, 5, 1], 1 / 3),
        ([3, 3, 1], [9, 5, 1], (1 + 1 / 2) / 2),  # tie at the top: mean over the tied
        ([3, 1, 2], [9, 9, 1], 1 / 1.5),  # golden tie: mean rank
    ],
)
def test_mrr_by_hand(proxy, golden, expected):
    """One over the golden rank of the proxy's first, ties as documented."""
    assert value(MRR(), proxy, golden) == pytest.approx(expected, abs=1e-15)


@given(rows=same_size)
def test_mrr_looks_at_the_top_alone(rows):
    """Only the set of responses that the proxy puts first matters; the value is at least 1/N."""
    proxy, golden = rows
    if np.ptp(golden) == 0:
        return
    top = (proxy == proxy.max()).astype(float)
    found = value(MRR(), proxy, golden)

    assert found == value(MRR(), top, golden)
    assert 1 / len(proxy) - 1e-12 <= found <= 1


@pytest.mark.parametrize("metric", [MRR(), MRR(normalized=True), NDCG(), NDCG(normalized=True)])
def test_constant_golden_is_undefined(metric):
    """Where all responses are as good there is nothing to rank."""
    assert np.isnan(value(metric, [1, 2, 3], [2, 2, 2]))
