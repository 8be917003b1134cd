"""The tail alarm and its test, and the descriptive diagnostics of errors."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.best_of_n import NDR
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards
from rmcheck.metrics.tails import (
    HILL_GAUSSIAN,
    L_KURTOSIS_GAUSSIAN,
    TailDiagnostics,
    TailExcess,
    _l_kurtosis,
    tail_diagnostics,
)
from rmcheck.testing import scores


def world(kind, prompts, size, seed):
    """Proxy r = g + 0.8 e; ρ = 0.78 where all is Gaussian with one scale."""
    rng = np.random.default_rng(seed)
    golden, error = rng.normal(size=(2, prompts, size))
    match kind:
        case "hetero":  # every prompt has its own scale of golden and of the error
            golden *= np.exp(0.5 * rng.normal(size=(prompts, 1)))
            error *= np.exp(0.5 * rng.normal(size=(prompts, 1)))
        case "t3":
            error = rng.standard_t(3, size=error.shape) / math.sqrt(3)
        case "hack":  # one response in a hundred is worse, and the proxy loves it
            hacked = rng.random(error.shape) < 0.01
            golden, error = np.where(hacked, golden - 1, golden), np.where(hacked, 5, error)
        case "heavy_golden":
            golden = rng.standard_t(3, size=error.shape) / math.sqrt(3)
    return Rewards.from_arrays(golden + 0.8 * error, golden)


def value(metric, rewards):
    """The metric on a pool."""
    return float(metric.value(per_prompt_sums(metric, rewards)[0].sum(axis=0)))


@given(rows=st.integers(3, 9).flatmap(lambda n: st.tuples(scores(n), scores(n))), data=st.data())
def test_excess_is_the_difference_of_two_kept_shares(rows, data):
    """NDR_2 − NDR_n on the same prompts, ties and all."""
    proxy, golden = rows
    if np.ptp(golden) == 0:
        return
    n = data.draw(st.integers(3, len(proxy)))
    pool = Rewards.from_arrays([proxy], [golden])

    expected = value(NDR(n=2), pool) - value(NDR(n=n), pool)

    assert value(TailExcess(n=n), pool) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("size", "n"), [(3, 3), (5, 3), (16, 4), (32, 8)])
def test_n_is_a_quarter_of_the_responses_unless_given(size, n):
    """Default n is max(3, N // 4)."""
    pool = world("t3", 20, size, 0)

    assert value(TailExcess(), pool) == value(TailExcess(n=n), pool)


@pytest.mark.parametrize("n", [2, 0, True, 3.5])
def test_n_below_three_is_refused(n):
    """At two responses the excess is 0 by construction."""
    with pytest.raises(UsageError, match=f"n is {n!r}; valid: a whole number, 3 or more"):
        TailExcess(n=n)


def test_pools_of_different_n_are_refused_without_an_n():
    """The default n follows N, so that prompts of different N would measure different things."""
    ragged = Rewards.from_arrays([np.arange(8), np.arange(16)], [np.arange(8), np.arange(16)])

    with pytest.raises(UndefinedMetricError, match="8 to 16 a prompt"):
        value(TailExcess(), ragged)
    assert value(TailExcess(n=4), ragged) == pytest.approx(0, abs=1e-12)


def test_facts_are_both_kept_shares():
    """A reader sees what the excess is the difference of."""
    pool = world("hack", 50, 16, 0)
    sums, _ = per_prompt_sums(TailExcess(n=8), pool)

    facts = TailExcess(n=8).facts(sums.sum(axis=0))

    assert facts == {
        "ndr_2": pytest.approx(value(NDR(n=2), pool)),
        "ndr_n": pytest.approx(value(NDR(n=8), pool)),
    }


def test_a_golden_gain_near_zero_is_a_concern():
    """As for any ratio over golden's gain; a golden that is constant has no excess."""
    golden = np.zeros((60, 6))
    golden[0] = np.arange(6)
    proxy = np.random.default_rng(0).normal(size=(60, 6))
    sums, _ = per_prompt_sums(TailExcess(n=3), Rewards.from_arrays(proxy, golden))

    assert TailExcess(n=3).concerns(sums) == (
        "golden gain near zero: 1.0 standard errors, fewer than 5",
    )
    with pytest.raises(UndefinedMetricError, match="tail_excess is undefined"):
        measure(TailExcess(n=3), Rewards.from_arrays(proxy, np.zeros((60, 6))))


# Share of 100 pools of 200 prompts × 32 responses whose 95 % lower bound is above 0. At 5 % a count
# of 100 has a standard deviation of 2.2; benign worlds are given three of them above 0.06.
@pytest.mark.parametrize("n", [8, 32])
@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [
        ("gaussian", 0, 0.12),
        ("hetero", 0, 0.12),
        ("t3", 0.9, 1),
        ("hack", 0.9, 1),
        ("heavy_golden", 0, 0.03),
    ],
)
def test_the_alarm_rings_for_tails_and_not_for_gaussian_errors(kind, n, least, most):
    """Size holds for Gaussian errors whatever the prompts' scales; power at 200 prompts is high."""
    sampling = [Sampling(resamples=400, seed=seed) for seed in range(100)]
    lower = [
        measure(TailExcess(n=n), world(kind, 200, 32, s.seed), sampling=s).estimate.lower
        for s in sampling
    ]

    assert least <= np.mean(np.array(lower) > 0) <= most


def test_references_of_gaussian_errors():
    """Hill's is an integral over the top 5 %, and τ₄ = 30 atan(√2)/π − 9."""
    z = stats.norm.isf(0.05)
    hill, _ = integrate.quad(lambda x: stats.norm.pdf(x) * math.log(x / z), z, np.inf)

    assert pytest.approx(hill / 0.05, abs=5e-4) == HILL_GAUSSIAN
    assert (
        pytest.approx(30 * math.atan(math.sqrt(2)) / math.pi - 9, abs=5e-5) == L_KURTOSIS_GAUSSIAN
    )


def test_l_kurtosis_is_scipys():
    """From unbiased moments of few numbers, by `scipy.stats.lmoment`."""
    values = np.random.default_rng(0).exponential(size=9)

    assert _l_kurtosis(values) == pytest.approx(stats.lmoment(values, order=4))


@pytest.mark.parametrize("kind", ["gaussian", "hetero"])
def test_gaussian_errors_have_the_gaussian_diagnostics(kind):
    """Whatever the prompts' scales: errors are studentised inside the prompt."""
    found = tail_diagnostics(world(kind, 800, 64, 0))

    # 51,200 responses, 2,560 in the tail: standard errors about 0.004, 0.03, 0.001; studentising 64
    # of them thins the tail a little. In the hetero world one slope for the pool leaves a little
    # golden in the errors.
    assert (found.prompts, found.responses) == (800, 51_200)
    assert found.hill == pytest.approx(found.hill_gaussian, abs=0.02)
    assert -0.3 < found.pareto_shape < -0.05
    assert found.l_kurtosis == pytest.approx(found.l_kurtosis_gaussian, abs=0.006)


def test_top_correlation_of_a_gaussian_proxy_is_its_reference():
    """Selecting on the proxy makes golden and error correlate, far below 0, in the best case."""
    found = tail_diagnostics(world("gaussian", 200, 256, 0))
    few = tail_diagnostics(world("gaussian", 800, 32, 0))

    # 512 and 256 responses at the top: standard errors about 0.015 and 0.03. At N = 32 dividing by
    # the prompt's own standard deviation blurs the selection.
    assert found.top_correlation == pytest.approx(found.top_correlation_gaussian, abs=0.05)
    assert found.top_correlation_gaussian == pytest.approx(-0.82, abs=0.01)
    assert few.top_correlation == pytest.approx(-0.75, abs=0.08)


def test_heavy_errors_have_heavier_tails():
    """t₃ errors: a larger Hill index, a positive Pareto shape, a larger τ₄."""
    found = tail_diagnostics(world("t3", 800, 64, 0))

    assert found.hill > 0.35
    assert found.pareto_shape > 0.1
    assert found.l_kurtosis > 0.2


def test_hacked_responses_show_among_what_the_proxy_likes_most():
    """Where the top is hacked, golden falls with the error more than selection alone makes it."""
    found = tail_diagnostics(world("hack", 800, 64, 0))

    assert found.top_correlation < found.top_correlation_gaussian - 0.05


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2), scale=st.floats(0.1, 10), shift=st.floats(-10, 10))
def test_units_do_not_matter(seed, scale, shift):
    """Shifting and scaling proxy and golden of the pool changes no diagnostic."""
    pool = world("t3", 32, 32, seed)
    moved = Rewards.from_arrays(
        (scale * pool.proxy + shift).reshape(32, 32), (3 * pool.golden - shift).reshape(32, 32)
    )

    found, expected = (dataclasses.asdict(tail_diagnostics(p)) for p in (moved, pool))

    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(("prompts", "size", "left"), [(1000, 31, 0), (31, 32, 992), (0, 64, 0)])
def test_too_few_responses_are_refused(prompts, size, left):
    """Below 32 responses a prompt, or 1,000 in all, there is no tail to describe."""
    with pytest.raises(UndefinedMetricError, match=f"need 1000 responses.*the pool has {left}"):
        tail_diagnostics(world("gaussian", prompts, size, 0))


def test_prompts_that_cannot_be_studentised_are_left_out():
    """A prompt of constant golden has no share in the numbers."""
    pool = world("t3", 40, 32, 0)
    flat = Rewards.from_arrays(
        [*pool.proxy.reshape(40, 32), np.arange(32)], [*pool.golden.reshape(40, 32), np.ones(32)]
    )

    assert tail_diagnostics(flat).prompts == 40


def test_errors_that_are_none_are_refused():
    """Golden itself, and a constant golden, have no errors to describe."""
    golden = np.random.default_rng(0).normal(size=(40, 32))

    with pytest.raises(UndefinedMetricError, match="the pool has 0"):
        tail_diagnostics(Rewards.from_arrays(2 * golden + 1, golden))
    with pytest.raises(UndefinedMetricError, match="the pool has 0"):
        tail_diagnostics(Rewards.from_arrays(golden, np.ones((40, 32))))


def test_a_top_without_spread_is_refused():
    """Where the top 5 % of the errors are equal there is no tail, and the error shows its ends."""
    golden = np.tile(np.arange(40.0) % 2, (40, 1))
    proxy = np.tile(np.arange(40.0) // 20, (40, 1))

    with pytest.raises(UndefinedMetricError, match=r"is no tail: it starts at 1 .*ends at 1$"):
        tail_diagnostics(Rewards.from_arrays(proxy, golden))


def test_diagnostics_say_that_they_must_not_gate():
    """A reader of the class learns it, and no metric of a suite gives one of them."""
    assert "must never gate" in TailDiagnostics.__doc__
    names = {field.name for field in dataclasses.fields(TailDiagnostics)}
    for name in names:
        with pytest.raises(UsageError):
            make_metric(name)


def test_a_gain_near_zero_at_n_alone_is_a_concern():
    """Where golden gains at 2 and not measurably at n, nothing is decided on the difference."""
    metric = make_metric("tail_excess", n=4)
    clear, none = np.full(40, 1.0) + 0.01 * np.arange(40), np.tile([1.0, -1.0], 20)
    one = np.ones(40)

    assert metric.concerns(np.stack([clear, clear, clear, clear, one], axis=1)) == ()
    (at_n,) = metric.concerns(np.stack([clear, clear, clear, none, one], axis=1))
    (at_two,) = metric.concerns(np.stack([clear, none, clear, clear, one], axis=1))
    assert "golden gain near zero: 0.0 standard errors" in at_n
    assert "golden gain near zero: 0.0 standard errors" in at_two
