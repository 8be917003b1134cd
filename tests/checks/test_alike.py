"""How often a checkpoint as good as its baseline passes a check of the drop between them."""

from dataclasses import replace

import numpy as np
import pytest

from rmcheck.checks.alike import ASSUMED, alike, spread_inside, two_alike
from rmcheck.checks.measurement import Sampling, measure, measure_drop
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards

ACCURACY = make_metric("accuracy")


def pool(prompts, responses=5, seed=0):
    """Normal golden rewards, and no model."""
    golden = np.random.default_rng(seed).normal(size=(prompts, responses))
    return Rewards.from_arrays(np.zeros_like(golden), golden)


def models(rewards, seed=0):
    """The two assumed models on the rows of a pool."""
    proxies = two_alike(rewards.golden, spread_inside(rewards), seed)
    return tuple(replace(rewards, proxy=proxy) for proxy in proxies)


def chance(metric, prompts, max_drop):
    """Share of runs in which an equal checkpoint passes."""
    found = alike(metric, models(pool(prompts)), where={}, sampling=Sampling())
    return found.passes(max_drop)


def test_the_two_models_are_what_is_said_of_them():
    """Each correlates .7 with golden inside prompts, and so do their errors with each other, .5."""
    rewards = pool(4_000)
    both = models(rewards)
    errors = [(model.proxy - model.golden) for model in both]

    assert "correlate 0.7" in ASSUMED
    for model in both:
        assert measure(make_metric("pearson"), model).estimate.value == pytest.approx(
            0.66, abs=0.02
        )
        assert np.corrcoef(model.proxy, model.golden)[0, 1] == pytest.approx(0.7, abs=0.02)
    assert np.corrcoef(*errors)[0, 1] == pytest.approx(0.5, abs=0.02)


# From an independent simulation of two such models: shares of runs with a max_drop of .01.
PASSES = {200: 0.23, 500: 0.42, 2_000: 0.88}


@pytest.mark.parametrize("prompts", PASSES)
def test_the_share_agrees_with_an_independent_simulation(prompts):
    """Within a tenth, since its prompts differed in difficulty."""
    assert chance(ACCURACY, prompts, 0.01) == pytest.approx(PASSES[prompts], abs=0.1)


@pytest.mark.parametrize(
    ("metric", "max_drop"),
    [(ACCURACY, 0.02), (make_metric("bon_drop_ratio", n=4), 0.08)],
    ids=str,
)
def test_the_share_is_that_of_runs_of_the_gate(metric, max_drop):
    """Of 150 pools of 150 prompts, within 10 percentage points (2.5 standard errors)."""
    passed = []
    for seed in range(150):
        both = models(pool(150, seed=seed), seed)
        drop = measure_drop(metric, *both, sampling=Sampling(resamples=200)).estimate
        passed.append(drop.upper <= max_drop)

    assert np.mean(passed) == pytest.approx(chance(metric, 150, max_drop), abs=0.1)


def test_the_drop_that_is_passed_in_a_share_of_runs_is_the_inverse():
    """At `passed_by(.9)` the share is .9; a drop of 0 passes as often as the level lets it."""
    found = alike(ACCURACY, models(pool(300)), where={}, sampling=Sampling())

    assert found.passes(found.passed_by(0.9)) == pytest.approx(0.9)
    assert found.passes(0.0) == pytest.approx(0.05)


def test_prompts_on_which_golden_is_constant_do_not_make_errors_smaller():
    """The spread of golden is that of the prompts that say something."""
    rewards = pool(100)
    golden = rewards.golden.reshape(100, 5)
    more = Rewards.from_arrays(*[np.concatenate([golden, np.ones((300, 5))])] * 2)

    assert spread_inside(more) == pytest.approx(spread_inside(rewards))
    assert spread_inside(Rewards.from_arrays(np.ones((3, 2)), np.ones((3, 2)))) == 0


def test_what_nothing_passes_is_said():
    """Fewer prompts than are decided on, or a golden that is the same everywhere."""
    with pytest.raises(UndefinedMetricError, match="20 independent prompts, fewer than 30"):
        chance(ACCURACY, 20, 0.1)
    constant = Rewards.from_arrays(np.zeros((50, 4)), np.ones((50, 4)))
    with pytest.raises(UndefinedMetricError, match="the golden rewards are all equal"):
        alike(ACCURACY, models(constant), where={}, sampling=Sampling())
