"""Best-of-n: exact weights, gains and their ratios."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.errors import UsageError
from rmcheck.metrics.best_of_n import (
    NDR,
    BoN,
    BonDropRatio,
    DropOf,
    best_of_n_gains,
    bon_kl,
    bon_weights,
    tied_bon_weights,
)
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.pairwise import Accuracy
from rmcheck.metrics.rewards import Rewards
from rmcheck.testing import distinct_scores, scores

same_size = st.integers(2, 7).flatmap(lambda n: st.tuples(scores(n), scores(n)))


def chosen_reward(selector, golden, n):
    """Mean golden reward of the selector's choice over every subset of n, ties at random."""
    found = []
    for subset in itertools.combinations(range(len(selector)), n):
        best = max(selector[i] for i in subset)
        tied = [golden[i] for i in subset if selector[i] == best]
        found.append(sum(tied) / len(tied))
    return sum(found) / len(found)


def gains(proxy, golden, n):
    """(proxy gain, golden gain) of one prompt."""
    return best_of_n_gains(np.array([proxy]), np.array([golden]), n)[0]


def value(metric, proxy, golden):
    """The metric on a pool."""
    pool = Rewards.from_arrays(proxy, golden)
    return float(metric.value(per_prompt_sums(metric, pool)[0].sum(axis=0)))


@pytest.mark.parametrize("n", [1, 2, 5, 64, 1279, 1280])
def test_weights_equal_exact_integers(n):
    """At N = 1280 the recursion equals C(k−1, n−1) / C(N, n) in whole numbers."""
    exact = [float(Fraction(math.comb(k - 1, n - 1), math.comb(1280, n))) for k in range(1, 1281)]

    # Nakano et al. 2021, appendix I; a float product of 1280 factors errs by about 1e-13 relative.
    np.testing.assert_allclose(bon_weights(1280, n), exact, rtol=1e-11, atol=1e-17)


@given(size=st.integers(1, 60), data=st.data())
def test_weights_are_a_distribution_that_rises_with_rank(size, data):
    """Weights are probabilities, and no lower rank has more than a higher one."""
    weights = bon_weights(size, data.draw(st.integers(1, size)))

    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert (weights >= 0).all()
    assert (np.diff(weights) >= -1e-15).all()


@pytest.mark.parametrize("n", [0, -1, 6])
def test_n_outside_the_pool_is_refused(n):
    """Drawing fewer than one or more than N is refused; the error says both."""
    with pytest.raises(UsageError, match=f"best of {n} from 5 responses; n must be 1 to 5"):
        bon_weights(5, n)


@given(rows=same_size, data=st.data())
def test_gains_equal_enumeration_of_all_subsets(rows, data):
    """The expected choice is that over all subsets of n, ties broken at random."""
    proxy, golden = rows
    n = data.draw(st.integers(1, len(proxy)))
    mean = golden.mean()

    expected = [
        chosen_reward(proxy, golden, n) - mean,
        chosen_reward(golden, golden, n) - mean,
    ]

    np.testing.assert_allclose(gains(proxy, golden, n), expected, atol=1e-12)


@given(selector=st.integers(1, 7).flatmap(scores), data=st.data())
def test_tied_responses_share_their_weight(selector, data):
    """Weights sum to 1, and responses that tie have equal ones."""
    weights = tied_bon_weights(selector[None], data.draw(st.integers(1, len(selector))))[0]

    assert weights.sum() == pytest.approx(1, abs=1e-12)
    for level in np.unique(selector):
        assert np.ptp(weights[selector == level]) <= 1e-15


@given(rows=same_size)
def test_golden_curve_rises_and_flattens(rows):
    """Golden's own gain never falls with n and its steps never grow; no proxy beats it."""
    proxy, golden = rows
    curve = np.array([gains(proxy, golden, n) for n in range(1, len(golden) + 1)])
    steps = np.diff(curve[:, 1])

    assert curve[0] == pytest.approx([0, 0], abs=1e-12)
    assert (steps >= -1e-12).all()
    assert (np.diff(steps) <= 1e-12).all()
    assert (curve[:, 0] <= curve[:, 1] + 1e-12).all()


@given(rows=same_size)
def test_reversed_proxy_loses_at_two_what_it_gained(rows):
    """At n = 2 the gain of the reversed proxy is exactly the opposite."""
    proxy, golden = rows

    assert gains(-proxy, golden, 2)[0] == pytest.approx(-gains(proxy, golden, 2)[0], abs=1e-12)


@given(golden=st.lists(st.integers(0, 1), min_size=2, max_size=9), data=st.data())
def test_binary_golden_gives_pass_at_k(golden, data):
    """For right-or-wrong golden, golden's own choice is pass@k = 1 − C(N−c, k) / C(N, k)."""
    size, correct = len(golden), sum(golden)
    k = data.draw(st.integers(1, size))
    expected = 1 - math.comb(size - correct, k) / math.comb(size, k)
    rewards = np.array(golden, float)

    assert gains(rewards, rewards, k)[1] + rewards.mean() == pytest.approx(expected, abs=1e-12)


@given(rows=same_size)
def test_ndr_at_two_is_weighted_concordance(rows):
    """NDR_2 = Σ sign(Δr) Δg / Σ |Δg| over the pairs."""
    proxy, golden = rows
    if np.ptp(golden) == 0:
        return
    upper = np.triu_indices(len(proxy), 1)
    dr = (proxy[:, None] - proxy)[upper]
    dg = (golden[:, None] - golden)[upper]

    expected = (np.sign(dr) * dg).sum() / np.abs(dg).sum()

    assert value(NDR(n=2), [proxy], [golden]) == pytest.approx(expected, abs=1e-12)


@given(proxy=distinct_scores(2), golden=distinct_scores(2))
def test_ratio_of_two_responses_is_accuracy(proxy, golden):
    """At N = 2 the paper's Bo-n is 2 accuracy − 1."""
    accuracy = value(Accuracy(), [proxy], [golden])

    assert value(BoN(), [proxy], [golden]) == pytest.approx(2 * accuracy - 1, abs=1e-12)


@given(golden=st.integers(2, 7).flatmap(scores), n=st.integers(2, 4))
def test_ends_of_the_drop_ratio(golden, n):
    """Golden itself loses nothing, a constant proxy loses all, and drop is 1 − NDR."""
    if np.ptp(golden) == 0 or len(golden) < n:
        return
    constant = np.zeros_like(golden)

    assert value(BonDropRatio(n=n), [golden], [golden]) == pytest.approx(0, abs=1e-12)
    assert value(BonDropRatio(n=n), [constant], [golden]) == pytest.approx(1, abs=1e-12)
    assert value(NDR(n=n), [-golden], [golden]) <= 0


def test_prompts_of_constant_golden_leave_ndr_as_it_is():
    """A ratio of means needs no golden spread on every prompt."""
    proxy, golden = [[1.0, 2.0, 0.0]], [[1.0, 0.0, 3.0]]

    expected = value(NDR(n=2), proxy, golden)

    assert value(NDR(n=2), [*proxy, [1, 2, 3]], [*golden, [7, 7, 7]]) == expected


def test_no_golden_gain_is_undefined():
    """0 / 0 is not a number, and a concern says why."""
    pool = Rewards.from_arrays([[1, 2, 3]] * 3, [[5.1, 5.1, 5.1]] * 3)
    metric = BonDropRatio(n=2)
    sums, _ = per_prompt_sums(metric, pool)

    assert np.isnan(metric.value(sums.sum(axis=0)))
    assert metric.concerns(sums) == ("golden gain near zero: 0.0 standard errors, fewer than 5",)


def test_concern_when_golden_gain_is_small():
    """Below five standard errors, or below `min_golden_gain`, nothing should be decided."""
    sums = np.ones((100, 3))
    sums[:, 1] = np.where(np.arange(100) < 10, 1.0, 0.0)  # mean 0.1, standard error 0.030

    assert NDR(n=2).concerns(sums) == ("golden gain near zero: 3.3 standard errors, fewer than 5",)
    sums[:, 1] = 0.1
    assert NDR(n=2).concerns(sums) == ()
    assert NDR(n=2, min_golden_gain=0.2).concerns(sums) == (
        "golden gain near zero: 0.1, less than 0.2",
    )


def test_facts_are_the_gains():
    """Both gains per prompt stand under a check."""
    pool = Rewards.from_arrays([[1, 2], [2, 1]], [[0, 4], [0, 2]])
    sums, _ = per_prompt_sums(NDR(n=2), pool)

    assert NDR(n=2).facts(sums.sum(axis=0)) == {"proxy_gain": 0.5, "golden_gain": 1.5}


def test_a_drop_ratio_may_stand_anywhere_in_larger_sums():
    """`DropOf` reads two columns as the drop ratio reads its first two, gradient and all."""
    sums = np.array([[7.0, 4.0, 3.0], [7.0, 5.0, -1.0]])
    plain = BonDropRatio(n=2)

    np.testing.assert_allclose(DropOf(2, 1).value(sums), plain.value(sums[:, [2, 1]]))
    gradient = DropOf(2, 1).gradient(sums)
    np.testing.assert_allclose(gradient[:, [2, 1]], plain.gradient(sums[:, [2, 1]]))
    assert not gradient[:, 0].any()


def test_prompts_with_fewer_than_n_responses_are_left_out():
    """Best of three is measured on the prompts that have three responses."""
    pool = Rewards.from_arrays([[1, 2], [1, 2, 3]], [[2, 1], [1, 2, 3]])
    sums, measured = per_prompt_sums(BonDropRatio(n=3), pool)

    assert measured.tolist() == [False, True]
    assert BonDropRatio(n=3).value(sums.sum(axis=0)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "nats"),
    [(1, 0), (2, 0.1931), (4, 0.6363), (16, 1.835), (256, 4.549), (1280, 6.155), (60000, 10.00)],
)
def test_kl_of_best_of_n(n, nats):
    """The divergence is ln n − (n − 1)/n nats, always below ln n."""
    assert bon_kl(n) == pytest.approx(nats, rel=5e-4)
    assert bon_kl(n) <= math.log(n)
    with pytest.raises(UsageError, match="n must be 1 or more"):
        bon_kl(0)
