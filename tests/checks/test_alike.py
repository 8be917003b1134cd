"""How often a checkpoint as good as its baseline passes a check of the drop between them."""

import numpy as np
import pytest

from rmcheck.checks.alike import ASSUMED, alike, stand_in, two_alike
from rmcheck.checks.measurement import Sampling, measure, measure_drop
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards

ACCURACY = make_metric("accuracy")


def pool(prompts, responses=5, seed=0):
    """Normal golden rewards, and no model."""
    golden = np.random.default_rng(seed).normal(size=(prompts, responses))
    return Rewards.from_arrays(np.zeros_like(golden), golden)


def chance(metric, prompts, max_drop):
    """Share of runs in which an equal checkpoint passes."""
    found = alike(metric, two_alike(pool(prompts), 0), where={}, sampling=Sampling())
    return found.passes(max_drop)


def test_the_two_models_are_what_is_said_of_them():
    """Each correlates .7 with golden inside prompts, and so do their errors with each other, .5."""
    rewards = pool(4_000)
    first, second = two_alike(rewards, 0)
    errors = [(model.proxy - model.golden) for model in (first, second)]

    assert "correlate 0.7" in ASSUMED
    for model in (first, second):
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
        models = two_alike(pool(150, seed=seed), seed)
        drop = measure_drop(metric, *models, sampling=Sampling(resamples=200)).estimate
        passed.append(drop.upper <= max_drop)

    assert np.mean(passed) == pytest.approx(chance(metric, 150, max_drop), abs=0.1)


def test_the_drop_that_is_passed_in_a_share_of_runs_is_the_inverse():
    """At `passed_by(.9)` the share is .9; a drop of 0 passes as often as the level lets it."""
    found = alike(ACCURACY, two_alike(pool(300), 0), where={}, sampling=Sampling())

    assert found.passes(found.passed_by(0.9)) == pytest.approx(0.9)
    assert found.passes(0.0) == pytest.approx(0.05)


def test_a_golden_rm_is_stood_in_for():
    """Before it has scored anything its rewards are taken to be normal."""
    empty = Rewards.from_arrays(np.zeros((50, 4)), np.zeros((50, 4)))

    assert alike(ACCURACY, two_alike(stand_in(empty, 0), 0), where={}, sampling=Sampling()).passes(
        0.5
    ) == pytest.approx(1)


def test_what_nothing_passes_is_said():
    """Fewer prompts than are decided on, or a golden that is the same everywhere."""
    with pytest.raises(UndefinedMetricError, match="20 independent prompts, fewer than 30"):
        chance(ACCURACY, 20, 0.1)
    constant = Rewards.from_arrays(np.zeros((50, 4)), np.ones((50, 4)))
    with pytest.raises(UndefinedMetricError, match="the golden rewards are all equal"):
        alike(ACCURACY, two_alike(constant, 0), where={}, sampling=Sampling())
