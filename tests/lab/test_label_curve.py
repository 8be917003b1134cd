"""The share of the picks that has a label, over n."""

import itertools

import numpy as np
import pytest

from rmcheck.errors import UndefinedMetricError
from rmcheck.lab.curves.labels import label_curve
from rmcheck.metrics.rewards import Rewards

RNG = np.random.default_rng(3)
PROXY = RNG.permuted(np.tile(np.arange(6.0), (12, 1)), axis=1)
GOLDEN = RNG.permuted(np.tile(np.arange(6.0), (12, 1)), axis=1)
LABEL = RNG.integers(0, 2, (12, 6)).astype(float)


def enumerated(scores, n):
    """The mean label of the best of every n of a prompt's responses."""
    best = [
        label[max(some, key=lambda i: score[i])]
        for score, label in zip(scores, LABEL, strict=True)
        for some in itertools.combinations(range(6), n)
    ]
    return np.mean(best)


def test_it_is_the_mean_over_every_draw():
    """By enumeration, of the proxy's picks and of golden's."""
    found = label_curve(Rewards.from_arrays(PROXY, GOLDEN), "odd", LABEL.ravel(), (1, 2, 4))

    assert found.pool == pytest.approx(LABEL.mean())
    assert found.proxy.values == pytest.approx([enumerated(PROXY, n) for n in (1, 2, 4)])
    assert found.golden.values == pytest.approx([enumerated(GOLDEN, n) for n in (1, 2, 4)])
    assert found.beyond.values == pytest.approx(found.proxy.values - found.golden.values)
    assert (found.proxy.lower < found.proxy.values).all()
    assert (found.proxy.upper > found.proxy.values).all()


def test_prompts_without_the_label_are_left_out():
    """One response without it is enough, and with one prompt left there is no curve."""
    labels, rewards = LABEL.copy(), Rewards.from_arrays(PROXY, GOLDEN)
    labels[:5, 2] = np.nan

    assert label_curve(rewards, "odd", labels.ravel(), (1, 2)).prompts == 7
    labels[1:, 0] = np.nan
    with pytest.raises(UndefinedMetricError, match="label 'odd': a curve needs 2 independent"):
        label_curve(rewards, "odd", labels.ravel(), (1, 2))


def test_the_bounds_of_a_curve_hold_at_every_n_at_once():
    """In 19 of 20 pools or more the truth is above none of the upper bounds."""
    held, grid = 0, (1, 2, 4)
    truth = (0.3, 0.3, 0.3)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        proxy, golden = rng.standard_normal((2, 60, 5))
        label = (rng.random((60, 5)) < 0.3).astype(float).ravel()
        found = label_curve(
            Rewards.from_arrays(proxy, golden), "made", label, grid, resamples=200, seed=seed
        )
        held += bool((found.proxy.upper >= truth).all())

    assert held >= 52
