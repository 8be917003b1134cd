"""Bounds on a sum of absolute values: noise alone makes it larger."""

import numpy as np
import pytest

from rmcheck.stats.absolute_sum import absolute_sum


def distribution(true, error, seed, draws=2_000):
    """What resampling says after terms were seen with normal noise of this size."""
    rng = np.random.default_rng(seed)
    seen = np.asarray(true) + error * rng.standard_normal(len(true))
    return absolute_sum(seen, seen + error * rng.standard_normal((draws, len(true))))


@pytest.mark.parametrize(
    "true", [[0.0] * 8, [0.02] * 8, [0.1, -0.1] * 4, [0.0] * 7 + [0.3]], ids=str
)
def test_both_bounds_hold_where_terms_are_near_zero_and_where_they_are_not(true):
    """Of 400 samples at least 93 % have the true sum above the lower and below the upper bound."""
    total = np.abs(true).sum()
    found = [distribution(true, 0.03, seed, draws=400) for seed in range(400)]

    assert np.mean([f.bound(0.05) <= total for f in found]) >= 0.93
    assert np.mean([f.bound(0.95) >= total for f in found]) >= 0.93


@pytest.mark.parametrize("true", [[0.0] * 8, [0.1, -0.1] * 4], ids=str)
def test_levels_are_the_inverse_of_bounds(true):
    """The level at a bound is the level that was asked for, wherever the bound is not cut at 0."""
    found = distribution(true, 0.03, seed=1)

    for level in (0.01, 0.05, 0.2, 0.8, 0.95, 0.99):
        bound = found.bound(level)
        if bound > 0:
            assert found.level(bound) == pytest.approx(level, abs=0.002)
    assert found.level(-0.001) == 0.0


def test_bounds_never_exclude_the_estimate_and_grow_with_the_level():
    """The lower bound is at most the estimate, the upper at least."""
    found = distribution([0.05] * 6, 0.02, seed=2)
    bounds = [found.bound(level) for level in (0.01, 0.1, 0.3, 0.7, 0.9, 0.99)]

    assert bounds == sorted(bounds)
    assert bounds[2] <= found.value <= bounds[3]


def test_no_noise_has_no_distribution():
    """Where no resample differs from the terms there is nothing to quantify."""
    assert absolute_sum(np.ones(3), np.ones((50, 3))) is None
