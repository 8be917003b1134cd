"""Pairwise accuracy against other implementations and by its laws."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, somersd
from sklearn.metrics import roc_auc_score

from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.pairwise import Accuracy, pair_counts
from rmcheck.metrics.rewards import Rewards
from rmcheck.testing import distinct_scores, scores


def pairs_of(proxy, golden):
    """(concordant, discordant, proxy ties, golden ties, both tied) by looking at every pair."""
    found = [0] * 5
    for (r, g), (s, h) in itertools.combinations(zip(proxy, golden, strict=True), 2):
        product = (r - s) * (g - h)
        for place, seen in enumerate((product > 0, product < 0, r == s, g == h, r == s and g == h)):
            found[place] += seen
    return found


def counted(proxy, golden):
    """The same from `pair_counts`, of one prompt."""
    counts = pair_counts(proxy[None], golden[None])
    names = ("concordant", "discordant", "proxy_tied", "golden_tied", "both_tied")
    return [int(getattr(counts, name)[0]) for name in names]


def accuracy(proxy, golden, **settings):
    """Accuracy of one prompt."""
    return Accuracy(**settings).prompt_values(np.array([proxy]), np.array([golden]))[0]


same_size = st.integers(2, 8).flatmap(lambda n: st.tuples(scores(n), scores(n)))
untied = st.integers(2, 8).flatmap(lambda n: st.tuples(distinct_scores(n), distinct_scores(n)))


@given(rows=same_size)
def test_pair_counts_equal_looking_at_every_pair(rows):
    """Concordant, discordant and tied pairs are counted exactly, ties or none."""
    assert counted(*rows) == pairs_of(*rows)


@pytest.mark.parametrize("size", [255, 256, 257, 300, 600])
def test_pair_counts_of_long_prompts(size):
    """Counts stay exact where a byte would overflow."""
    rng = np.random.default_rng(size)
    proxy = np.stack([np.arange(size), rng.integers(0, 40, size), rng.normal(size=size)])
    golden = np.stack([np.arange(size), rng.integers(0, 9, size), rng.integers(0, 2, size)])
    sign = np.sign(proxy[:, :, None] - proxy[:, None]) * np.sign(
        golden[:, :, None] - golden[:, None]
    )

    counts = pair_counts(proxy.astype(float), golden.astype(float))

    assert counts.concordant.tolist() == ((sign > 0).sum(axis=(1, 2)) // 2).tolist()
    assert counts.discordant.tolist() == ((sign < 0).sum(axis=(1, 2)) // 2).tolist()


@given(rows=same_size)
def test_accuracy_is_somers_d(rows):
    """With ties counting half it is (1 + Somers' D of the proxy given golden) / 2."""
    proxy, golden = rows
    if np.ptp(golden) == 0 or np.ptp(proxy) == 0:  # scipy leaves a constant proxy undefined
        return

    expected = (1 + somersd(golden, proxy).statistic) / 2

    assert accuracy(proxy, golden) == pytest.approx(expected, abs=1e-12)


@given(rows=untied)
def test_accuracy_without_ties_is_kendalls_tau(rows):
    """Without ties it is (1 + τ) / 2, symmetric, and 1 − itself for the reversed proxy."""
    proxy, golden = rows
    expected = (1 + kendalltau(proxy, golden).statistic) / 2

    assert accuracy(proxy, golden) == pytest.approx(expected, abs=1e-12)
    assert accuracy(proxy, golden) == accuracy(golden, proxy)
    assert accuracy(-proxy, golden) == pytest.approx(1 - expected, abs=1e-12)


@given(rows=same_size)
def test_reversed_proxy_has_the_complement(rows):
    """acc(−r, g) = 1 − acc(r, g) with ties counting half."""
    proxy, golden = rows
    if np.ptp(golden) > 0:
        assert accuracy(-proxy, golden) == pytest.approx(1 - accuracy(proxy, golden), abs=1e-12)


@given(rows=same_size)
def test_strict_ties_only_lower_the_value(rows):
    """`wrong` ≤ `half` ≤ `wrong` + share of pairs tied in the proxy."""
    proxy, golden = rows
    if np.ptp(golden) == 0:
        return
    _, _, proxy_tied, golden_tied, both = pairs_of(proxy, golden)
    pairs = len(proxy) * (len(proxy) - 1) // 2
    strict, half = accuracy(proxy, golden, ties="wrong"), accuracy(proxy, golden)

    assert strict <= half <= strict + (proxy_tied - both) / (pairs - golden_tied) + 1e-12


@given(proxy=scores(7), cut=st.integers(1, 6))
def test_binary_golden_gives_the_roc_auc(proxy, cut):
    """Where golden is right or wrong, accuracy is the area under the ROC curve."""
    golden = (np.arange(7) < cut).astype(float)

    assert accuracy(proxy, golden) == pytest.approx(roc_auc_score(golden, proxy), abs=1e-12)


@pytest.mark.parametrize(("ties", "expected"), [("half", 0.5), ("wrong", 0.0)])
def test_constant_proxy(ties, expected):
    """A proxy that gives every response the same has one half, or nothing if ties are wrong."""
    assert accuracy([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], ties=ties) == expected


def test_constant_golden_is_undefined():
    """A prompt whose responses are all as good has no accuracy and does not count."""
    sums, measured = per_prompt_sums(
        Accuracy(), Rewards.from_arrays([[1, 2], [1, 2]], [[1, 1], [1, 2]])
    )

    assert sums.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert Accuracy().compared(sums).tolist() == [False, True]
    assert measured.tolist() == [True, True]
    assert Accuracy().value(sums.sum(axis=0)) == 1


def test_averages_weigh_prompts_or_pairs():
    """`prompts` gives every prompt one vote, `pairs` every pair."""
    pool = Rewards.from_arrays([[1, 2], [3, 2, 1]], [[1, 2], [1, 2, 3]])

    found = {}
    for average in ("prompts", "pairs"):
        metric = Accuracy(average=average)
        found[average] = float(metric.value(per_prompt_sums(metric, pool)[0].sum(axis=0)))

    assert found == {"prompts": 0.5, "pairs": 0.25}
