"""The two errors of a verifier of 0 and 1."""

import numpy as np
import pytest

from rmcheck.checks.measurement import measure
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards
from rmcheck.testing.laws import evaluate


def test_the_rates_of_a_confusion_table():
    """Those of scikit-learn's documentation of `confusion_matrix`: tn 0, fp 2, fn 1, tp 1."""
    rewards = Rewards.from_arrays(proxy=[[1, 1], [1, 0]], golden=[[0, 1], [0, 1]])

    assert evaluate(make_metric("false_positive_rate"), rewards) == 1.0
    assert evaluate(make_metric("false_negative_rate"), rewards) == 0.5


def test_rates_are_pooled_over_responses():
    """A prompt of one response counts as much as its response."""
    rewards = Rewards.from_arrays(proxy=[[1], [0, 0, 1]], golden=[[0], [0, 0, 1]])

    assert evaluate(make_metric("false_positive_rate"), rewards) == pytest.approx(1 / 3)
    assert evaluate(make_metric("false_negative_rate"), rewards) == 0.0


def test_prompts_without_a_wrong_response_are_left_out():
    """They say nothing of false positives, and are counted as such."""
    rewards = Rewards.from_arrays(proxy=[[1, 0]] * 40, golden=[[0, 1]] * 30 + [[1, 1]] * 10)

    found = measure(make_metric("false_positive_rate"), rewards)

    assert found.estimate.n == 30
    assert found.estimate.value == 1.0


def test_an_error_that_was_not_seen_is_not_surely_none():
    """The bound of no error among 60 prompts allows for one on the next."""
    rewards = Rewards.from_arrays(proxy=[[0, 1]] * 60, golden=[[0, 1]] * 60)

    found = measure(make_metric("false_positive_rate"), rewards).estimate

    assert found.value == 0.0
    assert 0.02 < found.upper < 0.1


@pytest.mark.parametrize("always", [0.0, 1.0])
def test_a_constant_verifier_passes_no_check(always):
    """It makes one of the errors never; the check says that it may be constant."""
    rewards = Rewards.from_arrays(proxy=[[always] * 2] * 60, golden=[[0, 1]] * 60)
    name = "false_negative_rate" if always else "false_positive_rate"

    found = measure(make_metric(name), rewards).estimate

    assert found.value == 0.0
    assert found.concerns


def test_a_graded_reward_has_a_threshold():
    """Rewards above it pass; golden has one of its own."""
    rng = np.random.default_rng(0)
    proxy, golden = rng.normal(size=(50, 4)), rng.normal(size=(50, 4))
    metric = make_metric("false_positive_rate", threshold=-0.5, golden_threshold=0.25)

    found = evaluate(metric, Rewards.from_arrays(proxy, golden))

    assert found == pytest.approx(np.mean(proxy[golden <= 0.25] > -0.5))
