"""Whole curves of a pool, with bands."""

import json
import math

import numpy as np
import pytest

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.lab.curves.curve import best_of_n_curve
from rmcheck.lab.curves.tilted_curve import tilted_curve
from rmcheck.metrics.best_of_n import BonDropRatio
from rmcheck.metrics.matched_kl import MatchedKlRegret
from rmcheck.metrics.overoptimization import Gamma
from rmcheck.metrics.rewards import Rewards


def world(seed, prompts, responses, rho=0.7, tail=0):
    """A Gaussian golden, and a proxy with Gaussian or Student-t errors."""
    rng = np.random.default_rng(seed)
    golden = rng.normal(size=(prompts, responses))
    error = rng.standard_t(tail, golden.shape) if tail else rng.normal(size=golden.shape)
    error /= math.sqrt(tail / (tail - 2)) if tail else 1.0
    return Rewards.from_arrays(rho * golden + math.sqrt(1 - rho**2) * error, golden)


def test_a_gaussian_pool_keeps_rho_at_every_n():
    """NDR is ρ along the whole curve, drop 1 − ρ, and the bands say so; there is no peak."""
    found = best_of_n_curve(world(0, 300, 256), resamples=500)
    chosen = np.array(found.n) > 1

    np.testing.assert_allclose(found.ndr.values[chosen], 0.7, atol=0.03)
    assert (found.ndr.lower[chosen] < 0.7).all()
    assert (found.ndr.upper[chosen] > 0.7).all()
    np.testing.assert_allclose(found.drop.values[chosen], 1 - found.ndr.values[chosen])
    assert np.isnan(found.ndr.values[0])
    assert found.past_peak.p_value == 1.0
    assert found.fit.without_peak > 0.5
    assert found.fit.n.upper == math.inf
    assert found.gamma.lower < 1 / 0.7 - 1 < found.gamma.upper
    assert found.concerns == ()


def test_the_curve_agrees_with_the_metrics():
    """One n of the curve is `bon_drop_ratio` at that n, and γ is `gamma`."""
    pool = world(1, 60, 32)
    found = best_of_n_curve(pool, resamples=200)
    at = found.n.index(32)
    sampling = Sampling(resamples=200)

    drop = measure(BonDropRatio(n=32), pool, sampling=sampling).estimate.value
    assert found.drop.values[at] == pytest.approx(drop)
    gamma = measure(Gamma(), pool, sampling=sampling).estimate.value
    assert found.gamma.value == pytest.approx(gamma)
    assert found.kl[at] == pytest.approx(math.log(32) - 31 / 32)


def test_past_peak_test_has_its_size_at_a_flat_curve():
    """A proxy without relation to golden is held to be past its peak in 5 % of the pools."""
    # .043 by a larger simulation; 200 pools have a Monte-Carlo error of .015.
    p = [
        best_of_n_curve(world(seed, 50, 32, rho=0.0), resamples=200, seed=seed).past_peak.p_value
        for seed in range(200)
    ]

    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.095


def test_past_peak_test_sees_heavy_tails():
    """With Student-t errors of 3 degrees and n to 256, most pools of 100 prompts show the peak."""
    found = [
        best_of_n_curve(world(seed, 100, 256, 0.6, 3), resamples=200, seed=seed)
        for seed in range(20)
    ]
    test = found[0].past_peak

    assert np.mean([f.past_peak.p_value <= 0.05 for f in found]) >= 0.7
    assert (
        np.mean(
            [
                best_of_n_curve(world(s, 100, 256, 0.6), resamples=200).past_peak.p_value <= 0.05
                for s in range(5)
            ]
        )
        == 0
    )
    assert found[0].n[test.index] < 256
    assert test.lower <= found[0].golden.values.max() - found[0].golden.values[-1]


def test_short_prompts_are_counted():
    """What is left out is said, and the default goes as far as nine prompts in ten."""
    rng = np.random.default_rng(2)
    sizes = [12] * 57 + [5] * 3
    pool = Rewards.from_arrays(
        [rng.normal(size=n) for n in sizes], [rng.normal(size=n) for n in sizes]
    )
    found = best_of_n_curve(pool, resamples=50)

    assert (found.prompts, found.left_out, found.n[-1]) == (57, 3, 12)
    assert best_of_n_curve(pool, grid=[2, 5], resamples=50).prompts == 60


def test_prompts_of_one_conversation_are_one_unit():
    """Bands of a pool whose prompts come in pairs are those of half as many."""
    pool = world(3, 40, 8)
    rows = [*pool.proxy.reshape(40, 8)], [*pool.golden.reshape(40, 8)]
    twice = Rewards.from_arrays(rows[0] * 2, rows[1] * 2, clusters=[*range(40)] * 2)
    found, alone = (best_of_n_curve(p, resamples=100) for p in (twice, pool))

    assert (found.prompts, found.units) == (80, 40)
    np.testing.assert_allclose(found.drop.upper, alone.drop.upper)


@pytest.mark.parametrize(
    ("pool", "grid", "said"),
    [
        (world(0, 1, 8), None, "2 independent prompts"),
        (world(0, 40, 8), [2, 20], "best of 20 asked; the pool has 8"),
        (
            Rewards.from_arrays(np.zeros((40, 8)), world(0, 40, 8).golden.reshape(40, 8)),
            None,
            "proxy",
        ),
        (
            Rewards.from_arrays(world(0, 40, 8).golden.reshape(40, 8), np.ones((40, 8))),
            None,
            "golden",
        ),
        (Rewards.from_arrays([], []), None, "0 at most"),
    ],
)
def test_what_has_no_curve_is_undefined(pool, grid, said):
    """One prompt, n beyond the pool, all ties, constant golden and nothing are errors."""
    with pytest.raises(UndefinedMetricError, match=said):
        best_of_n_curve(pool, grid=grid, resamples=50)


def test_a_curve_of_one_point_is_refused():
    """Two n above 1 are the least that has a shape."""
    with pytest.raises(UsageError, match="n = 1, 8 has no shape"):
        best_of_n_curve(world(0, 40, 8), grid=[1, 8])
    with pytest.raises(UsageError, match="has no shape; prompts need 3 responses or more"):
        best_of_n_curve(world(0, 40, 2))


def test_a_small_pool_is_a_concern():
    """Under 30 independent prompts, or with a golden gain near zero, nothing should be decided."""
    rng = np.random.default_rng(4)
    golden = np.zeros((40, 6))
    golden[0] = rng.normal(size=6)
    rare = Rewards.from_arrays(rng.normal(size=(40, 6)), golden)

    assert best_of_n_curve(world(0, 20, 8), resamples=50).concerns == (
        "20 independent prompts, fewer than 30",
    )
    assert best_of_n_curve(rare, resamples=50).concerns[0].startswith("golden gain near zero")


def test_the_suite_says_how_many_prompts_are_few():
    """Both curves decide on as few prompts as its checks do."""
    pool, how = world(0, 20, 64), {"resamples": 50, "min_prompts": 20}

    assert best_of_n_curve(pool, **how).concerns == ()
    assert tilted_curve(pool, [0.1], **how).concerns == ()
    assert tilted_curve(pool, [0.1], resamples=50).concerns[0].startswith("20 independent prompts")


def test_gamma_where_golden_falls_is_undefined():
    """A reversed proxy has no area below golden's curve: NaN, and null in JSON."""
    pool = world(5, 50, 16)
    found = best_of_n_curve(
        Rewards.from_arrays(-pool.proxy.reshape(50, 16), pool.golden.reshape(50, 16)), resamples=50
    )

    assert math.isnan(found.gamma.value)
    assert found.gamma.undefined == 1.0
    assert found.as_dict()["gamma"]["value"] is None


def test_plain_data_holds_no_number_that_json_has_not():
    """Infinite peaks and undefined ratios are null."""
    found = best_of_n_curve(world(6, 400, 16, 0.99), resamples=50).as_dict()
    text = json.dumps(found, allow_nan=False)

    assert found["points"][0]["n"] == 1
    assert found["points"][0]["drop"] is None
    assert found["fit"]["n"]["value"] is None
    assert json.loads(text)["points"][-1]["n"] == 16
    json.dumps(tilted_curve(world(6, 50, 64), [0.2, 9], resamples=50).as_dict(), allow_nan=False)


def test_tilted_curve_agrees_with_the_metric():
    """One KL of the curve is `matched_kl_regret` at it."""
    pool = world(7, 80, 64)
    found = tilted_curve(pool, [0.4, 0.1], resamples=300)
    regret = measure(MatchedKlRegret(0.4), pool, sampling=Sampling(resamples=300))
    point = found.points[1]

    assert [p.kl for p in found.points] == [0.1, 0.4]
    assert 1 - point.retained == pytest.approx(regret.estimate.value)
    assert point.golden_gain == pytest.approx(regret.facts["proxy_gain"])
    assert point.best_gain == pytest.approx(regret.facts["golden_gain"])
    assert point.ess == pytest.approx(regret.facts["effective_sample_size"])
    assert point.lower < point.retained < point.upper


def test_kl_that_the_pool_cannot_tell_is_refused():
    """Each refusal says why; the others are still measured."""
    found = tilted_curve(world(8, 60, 48), [0.2, 1.0, 5.0], resamples=100)

    assert [p.kl for p in found.points] == [0.2]
    assert [r.kl for r in found.refused] == [1.0, 5.0]
    assert "effective sample size" in found.refused[0].reason
    assert "out of reach" in found.refused[1].reason
    assert tilted_curve(world(8, 60, 48), [5.0], resamples=100).points == ()


@pytest.mark.parametrize(
    ("kls", "error", "said"),
    [
        ([], UsageError, "at least one KL"),
        ([0.0], UsageError, r"kl is 0\.0"),
        ([-1], UsageError, "-1"),
    ],
)
def test_wrong_kl_is_refused(kls, error, said):
    """No KL, and KL that is not above 0."""
    with pytest.raises(error, match=said):
        tilted_curve(world(0, 40, 8), kls)


def test_a_proxy_that_is_golden_has_bands_and_no_peak():
    """Where all 30 prompts are alike nothing falls, and a share of .19 could still be lost."""
    rows = np.tile(np.arange(32.0), (30, 1))
    pool = Rewards.from_arrays(rows, rows)
    found = best_of_n_curve(pool, resamples=200)
    tilted = tilted_curve(pool, [0.1], resamples=200).points[0]

    assert found.past_peak.p_value == 1.0
    assert found.drop.values[1:] == pytest.approx(0)
    assert found.drop.lower[1:] == pytest.approx(0)
    assert found.drop.upper[1:] == pytest.approx(0.19, abs=0.001)
    assert found.ndr.lower[1:] == pytest.approx(0.81, abs=0.001)
    assert tilted.lower == pytest.approx(0.81, abs=0.001)
    json.dumps(found.as_dict(), allow_nan=False)
