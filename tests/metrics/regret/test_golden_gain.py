"""What golden itself would gain: a model that knows its ceiling, and the error of its fit."""

import numpy as np
import pytest
from scipy.special import beta as beta_function

from rmcheck.metrics.regret.golden_gain import Labels, golden_gain

N, K = 64, 5


def labels(golden, weight=None, *, at_random=True):
    """Of (P, K) golden rewards."""
    prompts, size = golden.shape
    weight = np.ones(golden.size) if weight is None else weight.ravel()
    return Labels(golden.ravel(), np.repeat(np.arange(prompts), size), weight, at_random)


def grades(prompts, size, rng):
    """Five grades, of prompts that differ."""
    quality = rng.normal(0, 0.8, (prompts, 1))
    return 1.0 + np.digitize(quality + rng.standard_normal((prompts, size)), [-1.5, -0.5, 0.5, 1.5])


def verifier(prompts, size, rng):
    """Right or wrong, with a share of right answers that is Beta(.6, .6)."""
    return (rng.random((prompts, size)) < rng.beta(0.6, 0.6, (prompts, 1))).astype(float)


def normal(prompts, size, rng):
    """No ceiling, and prompts whose level differs as much as their answers."""
    return rng.standard_normal((prompts, 1)) + rng.standard_normal((prompts, size))


def offsets(prompts, size, rng):
    """As a Bradley-Terry golden RM may be: levels of prompts that mean nothing."""
    return 5 * rng.standard_normal((prompts, 1)) + rng.standard_normal((prompts, size))


def true_gain(world, n):
    """Mean of the best of n less the mean, over many prompts."""
    golden = world(20_000, n, np.random.default_rng(99))
    return float(np.mean(golden.max(axis=1) - golden.mean(axis=1)))


@pytest.mark.parametrize("world", [grades, verifier, normal, offsets])
@pytest.mark.parametrize("n", [16, 64])
def test_five_labels_a_prompt_tell_it_within_a_tenth(world, n):
    """In the mean of eight pools of 300 prompts, for grades, verdicts and amounts."""
    rng = np.random.default_rng(0)

    found = [golden_gain(labels(world(300, K, rng)), n).per_prompt.mean() for _ in range(8)]

    assert np.mean(found) == pytest.approx(true_gain(world, n), rel=0.10)


@pytest.mark.parametrize("world", [grades, verifier, normal])
def test_influences_know_the_error_of_the_fit(world):
    """The error that the prompts' influences state is that of fresh pools, within a third."""
    rng = np.random.default_rng(1)

    found = [golden_gain(labels(world(300, K, rng)), N).per_prompt for _ in range(40)]
    stated = np.mean([each.std() / np.sqrt(each.size) for each in found])

    assert stated == pytest.approx(np.std([each.mean() for each in found]), rel=0.35)


def test_grades_do_not_rise_beyond_the_highest():
    """The best of very many is the highest grade that a prompt gives at all."""
    golden = grades(300, K, np.random.default_rng(2))

    gain = golden_gain(labels(golden), 100_000).per_prompt.mean()

    assert gain < 5 - golden.mean()


def test_a_verifier_follows_the_beta_binomial():
    """The gain is 1 − B(a, b + n) / B(a, b) less the share of right answers."""
    golden = verifier(20_000, K, np.random.default_rng(3))
    missed = beta_function(0.6, 0.6 + N) / beta_function(0.6, 0.6)

    found = golden_gain(labels(golden), N)

    assert found.per_prompt.mean() == pytest.approx(1 - missed - 0.5, rel=0.03)
    assert "beta-binomial" in found.note


def test_what_every_prompt_has_is_measured():
    """At an n that the labels have, no model is asked."""
    golden = normal(50, K, np.random.default_rng(4))

    found = golden_gain(labels(golden), K)

    assert found.per_prompt == pytest.approx(golden.max(axis=1) - golden.mean(axis=1))
    assert found.note == "golden's own gain is measured at n=5"


def test_a_constant_golden_gains_nothing():
    """There is nothing to choose."""
    assert not golden_gain(labels(np.ones((40, K))), N).per_prompt.any()


def test_the_order_of_prompts_and_responses_is_nothing():
    """The same labels in another order have the same gain."""
    rng = np.random.default_rng(5)
    golden = grades(200, K, rng)
    other = rng.permuted(golden, axis=1)[rng.permutation(200)]

    first, second = (golden_gain(labels(g), N).per_prompt.mean() for g in (golden, other))

    assert first == pytest.approx(second, rel=1e-9)


def test_prompts_may_have_unlike_many_labels():
    """What is measured is measured at the fewest, and all labels are in the model."""
    rng = np.random.default_rng(6)
    golden, counts = normal(400, 8, rng), rng.integers(3, 9, 400)
    kept = np.arange(8) < counts[:, None]
    row = np.repeat(np.arange(400), counts)

    found = golden_gain(Labels(golden[kept], row, np.ones(row.size), True), N)

    assert found.per_prompt.mean() == pytest.approx(true_gain(normal, N), rel=0.15)
    assert "beyond n=3" in found.note
