"""Reward variance: does the proxy tell the policy's responses apart?"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.rewards import Rewards
from rmcheck.metrics.teacher import RewardVariance
from rmcheck.testing import scores

prompts = st.lists(st.integers(2, 6).flatmap(scores), min_size=1, max_size=5)


def pool_of(rows):
    """Rewards with these proxies; golden is not used."""
    return Rewards.from_arrays(rows, [np.zeros(len(row)) for row in rows])


def totals(rewards):
    """The metric, fitted, and its totals."""
    metric = RewardVariance().fitted(rewards)
    return metric, per_prompt_sums(metric, rewards)[0].sum(axis=0)


def value(rows):
    """The metric on a pool."""
    metric, sums = totals(pool_of(rows))
    return float(metric.value(sums))


@given(prompts)
def test_value_is_the_mean_variance_of_whitened_rewards(rows):
    """Rewards are divided by the standard deviation of all of them, then vary inside prompts."""
    everything = np.concatenate(rows)
    if np.ptp(everything) == 0:
        assert np.isnan(value(rows))
        return
    whitened = [(row - everything.mean()) / everything.std() for row in rows]

    expected = np.mean([row.var(ddof=1) for row in whitened])

    assert value(rows) == pytest.approx(expected, abs=1e-9)


def test_value_is_the_share_of_variance_inside_prompts():
    """Rewards with variance 0.3 inside prompts and 0.7 between them give 0.3."""
    rng = np.random.default_rng(0)
    between = math.sqrt(0.7) * rng.normal(size=(4000, 1))
    # Standard error of the share: about 0.007.
    found = value(between + math.sqrt(0.3) * rng.normal(size=(4000, 8)))

    assert found == pytest.approx(0.3, abs=0.02)


def test_the_unit_of_the_proxy_does_not_matter_and_offsets_of_prompts_do():
    """One scale and shift for the pool change nothing; a shift per prompt adds variance between."""
    rows = np.random.default_rng(0).normal(size=(50, 4))
    offsets = 10 * np.arange(50)[:, None]

    assert value(1e-3 * rows + 1e6) == pytest.approx(value(rows), rel=1e-5)
    assert value(rows + offsets) < 0.1 * value(rows)


def test_facts_are_the_plain_variance_and_the_flat_prompts():
    """In the proxy's units, and the share of prompts that vary by less than 1 % of the pool's."""
    # The pool's variance is 50/9 = 5.56: a prompt of variance 0.02 is flat, one of 2 is not.
    metric, sums = totals(pool_of([[0.0, 2.0], [4.0, 6.0], [6.0, 6.2]]))

    assert metric.facts(sums) == pytest.approx(
        {"variance": (2 + 2 + 0.02) / 3, "flat_prompts": 1 / 3}
    )


def test_flat_is_measured_against_the_whole_pool_in_every_slice():
    """A slice that hardly varies at all is flat, not its own yardstick."""
    rows = [[0.0, 10.0]] * 30 + [[5.0, 5.1]] * 30
    rewards = Rewards.from_arrays(
        rows, np.zeros((60, 2)), slices={"kind": ["wide"] * 30 + ["narrow"] * 30}
    )

    wide, narrow = (
        measure(RewardVariance(), rewards, where={"kind": kind}).facts
        for kind in ("wide", "narrow")
    )

    assert (wide["flat_prompts"], narrow["flat_prompts"]) == (0, 1)


def test_gradient_is_the_derivative_of_resampled_totals():
    """They are not centred, since the pool's mean is not the resample's."""
    metric = RewardVariance().fitted(pool_of(np.random.default_rng(1).normal(size=(9, 3))))
    sums = per_prompt_sums(metric, pool_of(np.random.default_rng(2).exponential(size=(4, 3))))[0]
    totals = sums.sum(axis=0)
    steps = 1e-6 * np.eye(6)

    numerical = (metric.value(totals + steps) - metric.value(totals - steps)) / 2e-6

    np.testing.assert_allclose(metric.gradient(totals), numerical, atol=1e-8)


def test_note_says_what_it_applies_to():
    """A reader of the number learns that best-of-n does not need it."""
    assert "applies to RL, not to best-of-n" in RewardVariance().note


def test_bounds_hold_the_true_share():
    """Of 200 pools of 60 prompts, each one-sided 95 % bound misses in at most about 5 %."""
    low = high = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        rows = 1.5 * rng.normal(size=(60, 1)) + rng.normal(size=(60, 6))
        sampling = Sampling(resamples=400, seed=seed)
        e = measure(RewardVariance(), pool_of(rows), sampling=sampling).estimate
        truth = 1 / (1 + 1.5**2)
        low += e.lower > truth
        high += e.upper < truth

    # Binomial(200, 0.05) is at most 20 with probability 0.999.
    assert low <= 20
    assert high <= 20


@pytest.mark.parametrize("reward", [0.0, 0.1, -7e5])
def test_a_constant_proxy_is_undefined(reward):
    """A proxy that never differs has no variance to share, whatever its offset rounds to."""
    with pytest.raises(UndefinedMetricError, match="reward_variance is undefined"):
        measure(
            RewardVariance(), pool_of(np.full((40, 3), reward)), sampling=Sampling(resamples=100)
        )


def test_the_pool_must_be_seen_first():
    """The pool's mean and variance come from all of it."""
    with pytest.raises(UndefinedMetricError, match="must first see the pool"):
        per_prompt_sums(RewardVariance(), pool_of([[1.0, 2.0]]))
