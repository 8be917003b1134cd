"""Predicted regret: one number, found in a declared way."""

import numpy as np
import pytest
from worlds import world

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.best_of_n import BonDropRatio, bon_kl
from rmcheck.metrics.matched_kl import MatchedKlRegret
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.regret.method import n_at_kl
from rmcheck.metrics.regret.ordinal import OrdinalDrop
from rmcheck.metrics.regret.pooled import PooledDrop
from rmcheck.metrics.regret.predicted_regret import PredictedRegret
from rmcheck.metrics.rewards import Rewards


def pool_of(*counts, seed=0):
    """Random rewards with these numbers of responses."""
    rng = np.random.default_rng(seed)
    golden = [rng.normal(size=n) for n in counts]
    return Rewards.from_arrays([g + rng.normal(size=g.size) for g in golden], golden)


def value(metric, pool):
    """The metric on a pool."""
    fitted = metric.fitted(pool)
    return float(fitted.value(per_prompt_sums(fitted, pool)[0].sum(axis=0)))


@pytest.mark.parametrize(
    ("counts", "n", "method", "said"),
    [
        ((16, 16), 16, BonDropRatio(n=16), "measured at n=16 on the pool"),
        ((8, 4), 8, BonDropRatio(n=8), "measured at n=8 on the pool"),
        ((1, 1, 8), 8, BonDropRatio(n=8), "measured at n=8"),  # one response is no choice
        ((5,) * 200, 20, PooledDrop(20), "the pool has N=5 < n=20"),
        ((8, 4, 4), 8, PooledDrop(8), "fewer than 50% of the prompts have N >= n=8"),
    ],
)
def test_measured_where_half_of_the_prompts_allow_it_and_pooled_otherwise(counts, n, method, said):
    """Without a predictor asked for it is measured where it can be, and says why if not."""
    pool = pool_of(*counts)

    assert value(PredictedRegret(n=n), pool) == value(method, pool)
    assert said in PredictedRegret(n=n).fitted(pool).note


@pytest.mark.parametrize(
    ("predictor", "method", "said"),
    [
        ("gaussian", BonDropRatio(n=2), "extrapolated from best-of-2"),
        ("ordinal", OrdinalDrop(), "extrapolated from accuracy"),
        ("pooled", PooledDrop(8), "measured at n=5 inside prompts, to n=8 in the tail"),
        ("measured", BonDropRatio(n=8), "measured at n=8 on the pool"),
    ],
)
def test_the_predictor_asked_for_is_used(predictor, method, said):
    """Whatever the pool allows, the suite's choice stands."""
    pool = pool_of(*[8] * 40)
    metric = PredictedRegret(n=8, predictor=predictor)

    assert value(metric, pool) == value(method, pool)
    assert said in metric.fitted(pool).note


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (PredictedRegret(n=9, predictor="measured"), "cannot be measured: the pool has N=8 < n=9"),
        (PredictedRegret(n=8, predictor="nested"), "needs the column 'random'"),
        (PredictedRegret(n=8, predictor="calibrated"), "needs the suite's `history`"),
        (PredictedRegret(kl=3.0, predictor="measured"), "KL 3 is out of reach"),
        (PredictedRegret(kl=1.0, predictor="measured"), "effective sample size"),
    ],
)
def test_a_predictor_that_cannot_be_used_is_undefined(metric, message):
    """There is no number, and the reason names what is missing."""
    with pytest.raises(UndefinedMetricError, match=message):
        measure(metric, pool_of(*[8] * 40))


def test_a_nested_design_is_recognised():
    """A pool with the columns of the design is read as one, unasked."""
    proxy, golden = world("gaussian", 60, 4, seed=0)
    columns = {"random": [[1, 1, 1, 0]] * 60, "chosen_at": (proxy.argsort(1) == 3) * 4}
    columns["chosen_at"] = np.where(proxy == proxy.max(1, keepdims=True), 4, 0)
    pool = Rewards.from_arrays(proxy, golden, columns=columns)

    assert "labels of a nested design" in PredictedRegret(n=4).fitted(pool).note


def test_at_a_kl_it_is_measured_by_tilting_where_the_pool_is_large_enough():
    """With enough responses behind the tilt it is the matched-KL regret."""
    pool = Rewards.from_arrays(*world("gaussian", 40, 200, seed=0))

    assert value(PredictedRegret(kl=1.0), pool) == value(MatchedKlRegret(kl=1.0), pool)


def test_at_a_kl_out_of_reach_it_is_that_of_best_of_n():
    """Otherwise it is predicted at the n whose best-of-n has this KL."""
    pool = Rewards.from_arrays(*world("gaussian", 400, 5, seed=0))
    metric = PredictedRegret(kl=2.0)

    assert n_at_kl(2.0) == 20
    assert value(metric, pool) == value(PooledDrop(20), pool)
    assert "best-of-20 has the KL of 2 nats" in metric.fitted(pool).note


@pytest.mark.parametrize("kl", [1e-6, 0.19, 0.1932, 1.0, 3.0, 10.0, 30.0])
def test_n_at_kl_is_the_least_n_that_reaches_it(kl):
    """One response fewer has less KL."""
    n = n_at_kl(kl)

    assert bon_kl(n) >= kl
    assert n == 2 or bon_kl(n - 1) < kl


def test_gaussian_answers_at_any_n_agree():
    """In a Gaussian world measured, pooled, gaussian and ordinal agree within 0.05 (ρ = .78)."""
    pool = Rewards.from_arrays(*world("gaussian", 1_000, 40, seed=1))
    few = Rewards.from_arrays(*world("gaussian", 1_000, 5, seed=2))

    found = [
        value(PredictedRegret(n=40, predictor="measured"), pool),
        *(
            value(PredictedRegret(n=40, predictor=p), few)
            for p in ("pooled", "gaussian", "ordinal")
        ),
        value(PredictedRegret(kl=0.5), pool),
    ]

    assert found == pytest.approx([1 - 1 / np.sqrt(1.64)] * 5, abs=0.05)


@pytest.mark.parametrize("predictor", ["measured", "gaussian", "pooled"])
def test_a_second_golden_read_takes_golden_s_noise_out(predictor):
    """With golden noise of 0.7 s.d. (reliability .67) the true regret comes back within 0.04.

    Without the second read it is more than 0.1 too high.
    """
    proxy, true = world("gaussian", 1_500, 8, seed=3)
    rng = np.random.default_rng(4)
    first, second = (true + 0.7 * rng.standard_normal(true.shape) for _ in range(2))
    noisy = Rewards.from_arrays(proxy, first)
    twice = Rewards.from_arrays(proxy, first, columns={"repeat": second})
    metric = PredictedRegret(n=8, predictor=predictor)

    expected = 1 - 1 / np.sqrt(1.64)
    assert value(metric, noisy) > expected + 0.1
    assert value(metric, twice) == pytest.approx(expected, abs=0.04)
    assert "golden's noise taken out" in metric.fitted(twice).note


def test_a_second_read_of_a_part_is_enough():
    """Where the second read is missing (NaN) the response only counts towards the gains."""
    proxy, true = world("gaussian", 1_500, 8, seed=3)
    rng = np.random.default_rng(4)
    first, second = (true + 0.7 * rng.standard_normal(true.shape) for _ in range(2))
    second[rng.random(second.shape) < 0.6] = np.nan
    twice = Rewards.from_arrays(proxy, first, columns={"repeat": second})

    found = value(PredictedRegret(n=8), twice)

    assert found == pytest.approx(1 - 1 / np.sqrt(1.64), abs=0.05)


def test_reads_that_hardly_agree_are_not_corrected_with():
    """Below a reliability of .4 nothing is decided."""
    proxy, true = world("gaussian", 200, 5, seed=3)
    rng = np.random.default_rng(4)
    first, second = (true + 2 * rng.standard_normal(true.shape) for _ in range(2))
    pool = Rewards.from_arrays(proxy, first, columns={"repeat": second})

    concerns = measure(
        PredictedRegret(n=5), pool, sampling=Sampling(resamples=200)
    ).estimate.concerns

    assert any("too noisy to correct" in concern for concern in concerns)


def test_a_slice_is_measured_as_the_whole_pool():
    """The choice is made once, so that slices can be compared."""
    fitted = PredictedRegret(n=8).fitted(pool_of(8, 8, 4))

    with pytest.raises(UndefinedMetricError, match="needs 8 responses a prompt"):
        per_prompt_sums(fitted, pool_of(4))


def test_the_pool_must_be_seen_first():
    """Without a pool it is not known how to measure."""
    with pytest.raises(UndefinedMetricError, match="must first see the pool"):
        PredictedRegret(n=8).value(np.ones(3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "needs n or kl, one of them; neither is given"),
        ({"n": 4, "kl": 1.0}, "needs n or kl, one of them; both is given"),
        ({"n": 1}, "n is 1"),
        ({"kl": 0.0}, "kl is 0.0"),
        ({"kl": 31.0}, "kl is 31.0"),
        ({"n": 4, "predictor": "gausian"}, "Did you mean 'gaussian'"),
    ],
)
def test_settings_out_of_their_range_are_refused(settings, message):
    """The message names the setting, the value and what is valid."""
    with pytest.raises(UsageError, match=message):
        PredictedRegret(**settings)


@pytest.mark.parametrize("predictor", ["measured", "gaussian", "pooled", "ordinal"])
def test_constant_golden_has_no_regret(predictor):
    """Golden that gains nothing leaves nothing to lose: undefined, never a number."""
    pool = Rewards.from_arrays(np.random.default_rng(0).normal(size=(40, 5)), np.ones((40, 5)))

    with pytest.raises(UndefinedMetricError, match="undefined"):
        measure(PredictedRegret(n=5, predictor=predictor), pool)


def test_a_golden_gain_near_zero_is_not_decided_on():
    """A golden gain of a few standard errors is a concern, whatever the predictor."""
    rng = np.random.default_rng(0)
    golden = 1e-3 * rng.normal(size=(400, 5))
    golden[0] = rng.normal(size=5)
    pool = Rewards.from_arrays(rng.normal(size=(400, 5)), golden)

    for predictor in ("measured", "gaussian", "pooled"):
        found = measure(PredictedRegret(n=5, predictor=predictor), pool).estimate
        assert any("golden gain near zero" in concern for concern in found.concerns)


def test_a_history_finds_the_prediction_under_its_method():
    """The facts name the method and its value, which a later calibration learns from."""
    pool = pool_of(*[5] * 200)

    found = measure(PredictedRegret(n=20), pool)

    assert found.facts["pooled_drop"] == found.estimate.value
