"""Whether the members of an ensemble disagree where the optimiser goes."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.best_of_n import BonDropRatio
from rmcheck.metrics.ensemble import DISAGREEMENT, DisagreementRatio
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.rewards import Rewards
from rmcheck.models.kinds.ensemble import EnsembleRewardModel
from rmcheck.models.kinds.fake import FakeRewardModel
from rmcheck.models.model import Combined
from rmcheck.models.sample import Sample

FEW = Sampling(resamples=1000, seed=1)


def rewards(proxy, golden, disagreement):
    """Rewards of an ensemble."""
    return Rewards.from_arrays(proxy, golden, columns={DISAGREEMENT: disagreement})


def value(pool, n=None):
    """The metric on a pool."""
    sums, _ = per_prompt_sums(DisagreementRatio(n=n), pool)
    return float(DisagreementRatio(n=n).value(sums.sum(axis=0)))


def facts(pool, n=None):
    """The facts of the metric on a pool."""
    sums, _ = per_prompt_sums(DisagreementRatio(n=n), pool)
    return DisagreementRatio(n=n).facts(sums.sum(axis=0))


def test_by_hand():
    """Best of 2 of three responses is the highest with probability 2/3, the middle one with 1/3."""
    pool = rewards([[1.0, 3.0, 2.0]], [[0.0, 1.0, 2.0]], [[5.0, 3.0, 1.0]])

    assert value(pool, n=2) == pytest.approx((2 / 3 * 3 + 1 / 3 * 1) / 3)
    assert value(pool) == pytest.approx(3 / 3)


small = st.integers(2, 6).flatmap(
    lambda size: st.tuples(
        st.just(size),
        st.integers(2, size),
        *(
            st.lists(
                st.lists(st.integers(0, 3), min_size=size, max_size=size), min_size=2, max_size=2
            )
            for _ in range(2)
        ),
    )
)


@given(case=small)
@settings(max_examples=80, deadline=None)
def test_it_is_the_mean_over_every_draw(case):
    """Brute force: every n of the N, the best by the ensemble, ties at random; ratio of means."""
    size, n, proxies, found = case
    chosen = []
    for proxy, d in zip(proxies, found, strict=True):
        draws = []
        for drawn in combinations(range(size), n):
            best = max(proxy[j] for j in drawn)
            draws.append(np.mean([d[j] for j in drawn if proxy[j] == best]))
        chosen.append(np.mean(draws))
    everywhere = np.mean(found)
    result = value(rewards(proxies, proxies, found), n=n)

    if everywhere == 0:
        assert np.isnan(result)
    else:
        assert result == pytest.approx(np.mean(chosen) / everywhere)


def test_a_proxy_that_prefers_nothing_chooses_as_chance_does():
    """The ratio is 1 when the choice has nothing to do with the disagreement."""
    d = np.random.default_rng(0).exponential(size=(20, 6))

    assert value(rewards(np.zeros((20, 6)), d, d)) == pytest.approx(1)


def test_the_correlation_with_the_error_is_pooled_inside_prompts():
    """Pearson of d and |z(proxy) − z(golden)|, both less their prompt's mean; a reference."""
    rng = np.random.default_rng(3)
    proxy, golden, d = rng.normal(size=(3, 40, 7))
    d = np.abs(d) + 10 * rng.normal(size=(40, 1))

    def standardised(x):
        return (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)

    error = np.abs(standardised(proxy) - standardised(golden))
    expected = np.corrcoef(
        (error - error.mean(axis=1, keepdims=True)).ravel(),
        (d - d.mean(axis=1, keepdims=True)).ravel(),
    )[0, 1]
    found = facts(rewards(3 * proxy + 5, golden, d))

    assert found["error_correlation"] == pytest.approx(expected)
    assert found["disagreement"] == pytest.approx(d.mean())


def test_prompts_without_an_error_do_not_count_for_the_correlation():
    """Where proxy or golden is constant there is nothing to standardise."""
    rng = np.random.default_rng(4)
    proxy, golden, d = np.abs(rng.normal(size=(3, 10, 5)))
    constant = [np.zeros((10, 5)), golden, d], [proxy, np.ones((10, 5)), d]
    alone = facts(rewards(proxy, golden, d))["error_correlation"]

    for p, g, e in constant:
        more = rewards(np.vstack([proxy, p]), np.vstack([golden, g]), np.vstack([d, e]))
        assert facts(more)["error_correlation"] == pytest.approx(alone)
        assert "error_correlation" not in facts(rewards(p, g, e))


def test_one_model_has_no_disagreement():
    """The error says what to give instead; no number stands in."""
    pool = Rewards.from_arrays([[1.0, 2.0]], [[1.0, 2.0]])

    with pytest.raises(UndefinedMetricError, match=r"needs an ensemble.*ensemble:SPEC,SPEC"):
        per_prompt_sums(DisagreementRatio(), pool)
    with pytest.raises(UndefinedMetricError, match="needs the column 'disagreement'"):
        DisagreementRatio().per_prompt(pool.proxy[None], pool.golden[None])


def test_members_that_agree_on_everything_leave_it_undefined():
    """Nothing is divided by zero disagreement."""
    flat = np.zeros((40, 4))
    proxy = np.random.default_rng(0).normal(size=(40, 4))

    with pytest.raises(UndefinedMetricError, match="undefined: on all 40 prompts"):
        measure(DisagreementRatio(), rewards(proxy, proxy, flat), sampling=FEW)


def ensemble_rewards(scores, golden, combine):
    """Rewards of an ensemble whose members gave (K, P, N) scores."""
    members = [FakeRewardModel("random", seed=k) for k in range(len(scores))]
    size, count = golden.shape
    samples = [Sample(str(i), j, (), "") for i in range(size) for j in range(count)]
    model = EnsembleRewardModel(members, combine=combine)
    parts = [Combined(row) for row in scores.reshape(len(scores), -1)]
    found = model.together(parts, samples)
    return rewards(
        found.rewards.reshape(golden.shape),
        golden,
        found.columns[DISAGREEMENT].reshape(golden.shape),
    )


@pytest.fixture(scope="module")
def world():
    """Golden z and four members z + e with errors of their own, normal, standard deviation 1."""
    rng = np.random.default_rng(11)
    golden = rng.normal(size=(600, 16))
    return golden, golden + rng.normal(size=(4, 600, 16))


def drop(pool):
    """Drop ratio of best-of-4."""
    sums, _ = per_prompt_sums(BonDropRatio(n=4), pool)
    return float(BonDropRatio(n=4).value(sums.sum(axis=0)))


def test_the_mean_of_members_with_independent_errors_drops_less_than_any(world):
    """Jointly Gaussian: 1 − ρ, with ρ = 1/√(1 + σ²/K): .293 for one member, .106 for four."""
    golden, scores = world
    single = [drop(Rewards.from_arrays(member, golden)) for member in scores]
    mean = drop(ensemble_rewards(scores, golden, "mean"))

    # Four standard errors; the bootstrap's are 0.0067 and 0.0027.
    assert single == pytest.approx([1 - 1 / np.sqrt(2)] * 4, abs=0.027)
    assert mean == pytest.approx(1 - 1 / np.sqrt(1.25), abs=0.011)
    assert mean < min(single) - 0.1


def test_combinations_that_fear_disagreement_choose_where_members_agree(world):
    """Worst case and UWO go below 1; the mean, whose errors are as large anywhere, stays at it."""
    golden, scores = world
    measured = {
        combine: measure(
            DisagreementRatio(n=16), ensemble_rewards(scores, golden, combine), sampling=FEW
        ).estimate
        for combine in ("mean", "worst", "uwo")
    }

    assert measured["mean"].lower < 1 < measured["mean"].upper
    assert measured["worst"].upper < measured["mean"].lower
    assert measured["uwo"].upper < measured["mean"].lower


def test_errors_that_grow_in_the_tail_are_seen_and_point_at_the_error(world):
    """A member hacked on some responses pulls the mean there: the ratio is far above 1."""
    golden, scores = world
    hacked = scores.copy()
    hacked[0] += 12.0 * (np.random.default_rng(5).random(golden.shape) < 0.03)
    found = measure(DisagreementRatio(n=8), ensemble_rewards(hacked, golden, "mean"), sampling=FEW)
    calm = facts(ensemble_rewards(scores, golden, "mean"), n=8)

    assert found.estimate.lower > 1.2
    assert found.facts["error_correlation"] > 0.3 > abs(calm["error_correlation"])
