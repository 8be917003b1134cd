"""Sums of absolute values: noise alone makes them larger."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.stats.absolute_sum import absolute_difference, absolute_sum, debiased_sum

WORLDS = [[0.0] * 8, [0.02] * 8, [0.1, -0.1] * 4, [0.0] * 7 + [0.3]]
EIGHTHS = np.full(8, 1 / 8)


def resampled(true, error, seed, draws=400):
    """Terms seen with normal noise of this size, and draws with that noise once more."""
    rng = np.random.default_rng(seed)
    seen = np.asarray(true) + error * rng.standard_normal(len(true))
    return seen, seen + error * rng.standard_normal((draws, len(true)))


def distribution(true, error, seed, draws=400):
    """What resampling of many units says."""
    seen, drawn = resampled(true, error, seed, draws)
    return absolute_sum(seen, drawn, drawn, units=10_000)


@pytest.mark.parametrize("true", WORLDS, ids=str)
def test_both_bounds_hold_where_terms_are_near_zero_and_where_they_are_not(true):
    """Of 150 samples at least 92 % have the true sum above the lower and below the upper bound."""
    total = np.abs(true).sum()
    found = [distribution(true, 0.03, seed) for seed in range(150)]

    assert np.mean([f.bound(0.05) <= total for f in found]) >= 0.92
    assert np.mean([f.bound(0.95) >= total for f in found]) >= 0.92


def test_the_upper_bound_is_not_the_noise_twice():
    """Eight terms of 0 with the noise .03 add up to .19; percentiles of resamples go to .41."""
    bounds, percentiles = [], []
    for seed in range(100):
        seen, drawn = resampled([0.0] * 8, 0.03, seed)
        bounds.append(absolute_sum(seen, drawn, drawn, units=10_000).bound(0.95))
        percentiles.append(np.quantile(np.abs(drawn).sum(axis=1), 0.95))

    assert np.mean(percentiles) == pytest.approx(0.36, abs=0.03)
    assert np.mean(bounds) < 0.75 * np.mean(percentiles)


@pytest.mark.parametrize("true", [[0.0] * 8, [0.1, -0.1] * 4], ids=str)
def test_levels_are_the_inverse_of_bounds(true):
    """The level at a bound is the level that was asked for, wherever the bound is not cut at 0."""
    found = distribution(true, 0.03, seed=1, draws=2_000)

    for level in (0.01, 0.05, 0.2, 0.8, 0.95, 0.99):
        bound = found.bound(level)
        if bound > 0:
            assert found.level(bound) == pytest.approx(level, abs=0.002)
    assert found.level(-0.001) == 0.0
    assert 0 < found.level(0.0) <= 0.5
    assert 0.99 < found.level(9.0) < 1


def test_bounds_never_exclude_the_estimate_and_grow_with_the_level():
    """The lower bound is at most the sum, and no level has a smaller bound than a lower one."""
    found = distribution([0.05] * 6, 0.02, seed=2, draws=2_000)
    bounds = [found.bound(level) for level in (0.01, 0.1, 0.3, 0.7, 0.9, 0.99)]

    assert bounds == sorted(bounds)
    assert bounds[2] <= found.value


@pytest.mark.parametrize("far", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("size", [1, 3, 10])
def test_shares_above_one_half_are_those_of_all_resamples_counted(size, far):
    """Resamples that are left out on the way count as above: so they are for larger sums too."""
    rng = np.random.default_rng(size)
    terms = far * rng.standard_normal(size) + rng.standard_normal(size)
    drawn = terms + rng.standard_normal((301, size))
    found = absolute_sum(terms, drawn, drawn, units=10**9)

    noise, errors = drawn - terms, drawn.std(axis=0)
    along = np.where(terms < 0, -1, 1) * errors / errors.sum()
    estimates = np.abs(noise[None] + found.sums[:, None, None] * along).sum(axis=-1)
    above = np.maximum.accumulate((estimates > found.value).mean(axis=1))
    upper = above > 0.5

    assert found.above[upper].tolist() == above[upper].tolist()
    assert (found.above[~upper] <= 0.5).all()


def test_no_noise_has_no_distribution():
    """Where no resample differs from the terms there is nothing to quantify."""
    same = np.ones((50, 3))

    assert absolute_sum(np.ones(3), same, same, units=50) is None
    assert absolute_difference((np.ones(3),) * 2, (same,) * 2, (same,) * 2, units=50) is None


def test_an_error_that_was_not_seen_is_allowed_for():
    """Terms that no resample moves are bounded by what one more unit makes of them."""
    terms = np.full(4, 0.001)
    drawn = np.tile(terms, (2_000, 1))
    more = drawn - np.random.default_rng(0).standard_exponential((2_000, 1)) / 30 / 4
    found = absolute_sum(terms, drawn, more, units=30)

    assert found.bound(0.95) == pytest.approx(-math.log(0.05) / 30, abs=0.006)
    assert found.level(found.bound(0.95)) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("common", [0.0, 0.95])
@pytest.mark.parametrize(("first", "second"), [(0, 0), (2, 2), (0, 2), (2, 0), (1, 3)])
def test_bounds_of_a_difference_hold_for_sums_alike_and_unlike(first, second, common):
    """In 92 % of 100 samples, whether or not both have their noise in common."""
    first, second = WORLDS[first], WORLDS[second]
    truth = np.abs(first).sum() - np.abs(second).sum()
    held = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal((3, 301, 8))
        noise = 0.03 * (math.sqrt(common) * noise[0] + math.sqrt(1 - common) * noise[1:])
        terms = tuple(t + n[0] for t, n in zip((first, second), noise, strict=True))
        drawn = tuple(t + n[1:] for t, n in zip(terms, noise, strict=True))
        found = absolute_difference(terms, drawn, drawn, units=10_000)
        held.append((found.bound(0.05) <= truth, found.bound(0.95) >= truth))

    assert (np.mean(held, axis=0) >= 0.92).all()


def test_a_difference_of_sums_that_err_alike_is_paired():
    """Noise that both have in common does not widen its bounds; levels are their inverse."""
    rng = np.random.default_rng(0)
    noise = 0.03 * rng.standard_normal((301, 8))
    own = 0.001 * rng.standard_normal((2, 301, 8))
    terms = tuple(noise[0] + one[0] for one in own)
    drawn = tuple(t + noise[1:] + one[1:] for t, one in zip(terms, own, strict=True))
    found = absolute_difference(terms, drawn, drawn, units=10_000)

    assert -0.03 < found.bound(0.05) <= 0 <= found.bound(0.95) < 0.03
    for level in (0.02, 0.1, 0.9, 0.98):
        assert found.level(found.bound(level)) == pytest.approx(level, abs=0.005)
    assert found.level(-1.0) < 0.01
    assert found.level(1.0) > 0.99


def test_a_debiased_sum_agrees_with_numbers_worked_out_by_hand():
    """Two shares of one half and errors of .1.

    Terms of .25 and −.28: d² = 2 (.0625 − .01 + .0784 − .01) = .2418, so both means are .24587 or
    2.4587 errors. Noise adds .2 (φ(2.4587) − 2.4587 Φ(−2.4587)) = 4.6e-4 to each. Terms of .05 and
    −.05 are smaller than their errors: d is 0, and all of .1 √(2/π) = .0798 is taken off each. A
    term of .5 is five errors away and stays.
    """
    half, errors = np.full(2, 0.5), np.full(2, 0.1)

    found = debiased_sum(np.array([0.25, -0.28]), errors, half)
    assert found == pytest.approx(0.53 - 2 * 4.553e-4, abs=2e-6)
    assert debiased_sum(np.array([0.5, -0.05]), errors, half) == 0.5
    assert debiased_sum(np.array([0.05, -0.05]), errors, half) == 0.0
    assert debiased_sum(np.array([0.3, -0.1]), np.zeros(2), half) == 0.4
    # d² = 2 (.0225 + .0025 − .02) = .01, both means .05: .1 √(2/π) e^−.125 + .05 (1 − 2 Φ(−.5)).
    assert debiased_sum(np.array([0.15, 0.05]), errors, half) == pytest.approx(
        0.2 - 2 * (0.0797885 * 0.8824969 + 0.05 * 0.3829249 - 0.05), abs=1e-6
    )


@given(
    terms=st.lists(st.floats(-1, 1), min_size=1, max_size=8),
    errors=st.lists(st.floats(0, 1), min_size=8, max_size=8),
)
def test_a_debiased_sum_lies_between_zero_and_the_sum(terms, errors):
    """Noise is only ever taken off; signs and a common order do not matter, nor does no noise."""
    t, s = np.array(terms), np.array(errors[: len(terms)])
    shares = np.full(t.size, 1 / t.size)
    found = debiased_sum(t, s, shares)

    assert 0 <= found <= np.abs(t).sum() + 1e-12
    assert debiased_sum(-t[::-1], s[::-1], shares) == pytest.approx(found, abs=1e-12)
    assert debiased_sum(t, 0 * s, shares) == pytest.approx(np.abs(t).sum(), abs=1e-12)


@pytest.mark.parametrize(
    "true", [[0.0] * 8, [0.01] * 8, [0.03] * 8, [0.1, -0.1] * 4, [0.0] * 7 + [0.3]], ids=str
)
def test_a_debiased_sum_has_less_bias(true):
    """Over 2,000 samples with errors of .03; the sum of eight terms of 0 is .19 with its noise."""
    rng = np.random.default_rng(0)
    seen = np.asarray(true) + 0.03 * rng.standard_normal((2_000, 8))
    total, errors = np.abs(true).sum(), np.full(8, 0.03)
    bias = np.mean([debiased_sum(row, errors, EIGHTHS) for row in seen]) - total

    assert abs(bias) <= max(0.7 * (np.abs(seen).sum(axis=1).mean() - total), 0.005)
