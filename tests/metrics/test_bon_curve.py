"""Best-of-n over a grid of n: one sort, many n."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.best_of_n import best_of_n_gains, bon_kl
from rmcheck.metrics.bon_curve import (
    BonCurve,
    bits,
    curve_gains,
    largest_n,
    n_grid,
    pool_kl,
)
from rmcheck.metrics.ranks import order
from rmcheck.metrics.rewards import Rewards
from rmcheck.testing import scores

pair = st.integers(2, 8).flatmap(lambda n: st.tuples(scores(n), scores(n)))


def both(rows):
    """(1, N) proxy and golden of one prompt."""
    return rows[0][None], rows[1][None]


@given(rows=pair)
def test_every_n_equals_best_of_n_alone(rows):
    """The curve is what `best_of_n_gains` gives for each n, with or without ties."""
    proxy, golden = both(rows)
    grid = range(1, proxy.shape[1] + 1)
    found = curve_gains(proxy, golden, grid)
    alone = np.stack([best_of_n_gains(proxy, golden, n)[0] for n in grid])

    np.testing.assert_allclose(found.golden[0], alone[:, 0], atol=1e-12)
    np.testing.assert_allclose(found.best[0], alone[:, 1], atol=1e-12)
    np.testing.assert_allclose(
        found.proxy[0], [best_of_n_gains(proxy, proxy, n)[0, 0] for n in grid], atol=1e-12
    )


@given(rows=pair)
def test_golden_and_proxy_curves_rise_and_flatten(rows):
    """Golden's own curve and the proxy's own never fall and their steps never grow."""
    proxy, golden = both(rows)
    found = curve_gains(proxy, golden, range(1, proxy.shape[1] + 1))

    for gain in (found.best, found.proxy):
        steps = np.diff(gain[0])
        assert (steps >= -1e-12).all()
        assert (np.diff(steps) <= 1e-12).all()
    assert (found.golden <= found.best + 1e-12).all()
    assert (found.golden[:, 0], found.proxy[:, 0], found.kl[:, 0]) == (0.0, 0.0, 0.0)


@given(rows=pair)
def test_pool_divergence_is_below_both_limits(rows):
    """It is 0 at n = 1, rises with n, and is bounded by the analytic one and by ln N − ln ties."""
    proxy, _ = both(rows)
    size = proxy.shape[1]
    grid = [1, 2, 3, 8, 100]
    found = pool_kl(order(proxy), grid)[0]
    ties = (proxy == proxy.max()).sum()

    assert found[0] == pytest.approx(0, abs=1e-12)
    assert (np.diff(found) >= -1e-12).all()
    assert (found <= [bon_kl(n) + 1e-12 for n in grid]).all()
    assert found[-1] <= math.log(size) - math.log(ties) + 1e-12


@pytest.mark.parametrize(("n", "nats"), [(2, 0.191), (16, 1.794), (1280, 2.773)])
def test_divergence_of_a_proxy_of_16_levels(n, nats):
    """Sixteen equally likely levels, as computed by hand from the chance of each level."""
    proxy = np.repeat(np.arange(16.0), 80)[None]
    share = np.arange(17) / 16
    chosen = np.diff(share**n)
    expected = sum(p * math.log(16 * p) for p in chosen if p > 0)

    found = pool_kl(order(proxy), [n])[0, 0]

    assert found == pytest.approx(expected, abs=1e-12)
    assert found == pytest.approx(nats, abs=1e-3)


def test_tied_and_untied_prompts_of_one_block():
    """A prompt's divergence does not depend on the others in its block."""
    rng = np.random.default_rng(0)
    proxy = np.stack([rng.permutation(np.arange(12.0)), np.repeat([0.0, 1.0], 6)])
    together = pool_kl(order(proxy), [2, 5])
    alone = np.concatenate([pool_kl(order(row[None]), [2, 5]) for row in proxy])

    np.testing.assert_allclose(together, alone, atol=1e-14)


def test_grid_is_whole_and_spread_evenly_in_log_n():
    """About 16 different whole numbers, from 1 to the largest."""
    grid = n_grid(1280)

    assert (grid[0], grid[-1], len(grid)) == (1, 1280, 16)
    assert all(isinstance(n, int) for n in grid)
    assert list(grid) == sorted(set(grid))
    assert n_grid(1) == (1,)
    assert n_grid(5) == (1, 2, 3, 4, 5)
    with pytest.raises(UsageError, match="grid of 1 n up to 5"):
        n_grid(5, points=1)


def test_largest_n_is_what_nine_prompts_in_ten_have():
    """Few short prompts are left out; many keep the grid short; single responses do not count."""
    sizes = [3] * 5 + [8] * 95
    pool = Rewards.from_arrays([np.zeros(n) for n in sizes], [np.zeros(n) for n in sizes])
    half = [3] * 50 + [8] * 50 + [1] * 20
    split = Rewards.from_arrays([np.zeros(n) for n in half], [np.zeros(n) for n in half])

    assert largest_n(pool) == 8
    assert largest_n(split) == 3
    assert largest_n(Rewards.from_arrays([[1.0, 2.0]] * 3, [[1.0, 2.0]] * 3)) == 2
    with pytest.raises(UndefinedMetricError, match="the pool has 1 at most"):
        largest_n(Rewards.from_arrays([[1.0]], [[1.0]]))
    with pytest.raises(UndefinedMetricError, match="the pool has 0 at most"):
        largest_n(Rewards.from_arrays([], []))


def test_short_prompts_are_left_out_of_every_n():
    """The curve has one population: prompts with as many responses as the largest n."""
    rng = np.random.default_rng(1)
    proxy, golden = rng.normal(size=(2, 20, 6))
    whole = Rewards.from_arrays([*proxy, [1.0, 2.0]], [*golden, [9.0, 0.0]])
    curve = BonCurve((1, 2, 6))
    sums, took_part = curve.sums(whole)
    without, _ = curve.sums(Rewards.from_arrays(proxy, golden))

    assert took_part.tolist() == [True] * 20 + [False]
    np.testing.assert_array_equal(sums[:20], without)
    with pytest.raises(UndefinedMetricError, match="best of 7 asked; the pool has 6 responses"):
        BonCurve((1, 7)).sums(whole)


def test_readings_of_the_totals():
    """NDR is the ratio of the mean gains, drop its complement, and s.d. are within prompts."""
    rng = np.random.default_rng(2)
    proxy, golden = rng.normal(size=(2, 30, 8))
    curve = BonCurve((1, 2, 8))
    totals = curve.sums(Rewards.from_arrays(proxy, golden))[0].sum(axis=0)
    gains = np.stack([best_of_n_gains(proxy, golden, n).mean(axis=0) for n in (2, 8)])

    np.testing.assert_allclose(curve.golden_gain(totals)[1:], gains[:, 0])
    np.testing.assert_allclose(curve.best_gain(totals)[1:], gains[:, 1])
    np.testing.assert_allclose(curve.ndr(totals)[1:], gains[:, 0] / gains[:, 1])
    np.testing.assert_allclose(curve.drop(totals)[1:], 1 - gains[:, 0] / gains[:, 1])
    assert np.isnan(curve.ndr(totals)[0])
    assert curve.proxy_sd(totals) == pytest.approx(np.sqrt(proxy.var(axis=1, ddof=1).mean()))
    assert curve.golden_sd(totals) == pytest.approx(np.sqrt(golden.var(axis=1, ddof=1).mean()))


def test_offsets_of_any_size_cost_nothing():
    """A proxy and a golden that sit at a billion gain what they gain at zero."""
    rng = np.random.default_rng(3)
    proxy, golden = rng.integers(0, 50, size=(2, 4, 9)).astype(float)
    here = curve_gains(proxy, golden, (1, 3, 9))
    there = curve_gains(proxy + 1e9, golden - 1e9, (1, 3, 9))

    np.testing.assert_allclose(there.golden, here.golden, atol=1e-12)
    np.testing.assert_allclose(there.proxy, here.proxy, atol=1e-12)


@pytest.mark.parametrize("grid", [(), (1,), (2, 1), (1, 2, 2), (0, 4), (1, 2.5), (True, 4)])
def test_a_grid_that_is_none_is_refused(grid):
    """A grid is ascending whole numbers from 1 that end at 2 or more."""
    with pytest.raises(UsageError, match="ascending whole numbers from 1"):
        BonCurve(grid)


def test_a_bit_is_a_choice_of_two():
    """Ln 2 nats; best of 2 is ln 2 − ½ nats away."""
    assert bits(np.array([math.log(2), 0.0])).tolist() == [1.0, 0.0]


def test_totals_are_read_as_they_were_written():
    """Every curve is the mean over prompts of what it is on one, and spreads are pooled."""
    proxy, golden = np.random.default_rng(0).normal(size=(2, 7, 9))
    curve = BonCurve((1, 3, 9))
    gains = curve_gains(proxy, golden, curve.grid)
    totals = curve.sums(Rewards.from_arrays(proxy, golden))[0].sum(axis=0)

    for name, field in (
        ("golden_gain", gains.golden),
        ("best_gain", gains.best),
        ("proxy_gain", gains.proxy),
        ("kl", gains.kl),
    ):
        np.testing.assert_allclose(getattr(curve, name)(totals), field.mean(axis=0), err_msg=name)
    assert curve.proxy_sd(totals) == pytest.approx(np.sqrt(proxy.var(axis=1, ddof=1).mean()))
    assert curve.golden_sd(totals) == pytest.approx(np.sqrt(golden.var(axis=1, ddof=1).mean()))
    kept = gains.golden.sum(axis=0) / np.where(gains.best.sum(axis=0), gains.best.sum(axis=0), 1)
    np.testing.assert_allclose(curve.drop(totals)[1:], 1 - kept[1:])
