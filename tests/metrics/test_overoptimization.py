"""Gao's forms, the peak, γ, and the drop from the peak."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from rmcheck.checks.measurement import Sampling, measure, measure_drop
from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.best_of_n import bon_kl
from rmcheck.metrics.bon_curve import n_grid
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.overoptimization import (
    DropFromPeak,
    Gamma,
    GaoFit,
    fit_gao,
    gamma_of,
    n_at_kl,
)
from rmcheck.metrics.rewards import Rewards

KL = np.array([bon_kl(n) for n in n_grid(1280)[1:]])
coefficient = st.floats(-3, 3).map(lambda x: round(x, 3))


def world(seed, prompts, responses, rho=0.7, tail=0):
    """A Gaussian golden, and a proxy that is golden with Gaussian or Student-t errors."""
    rng = np.random.default_rng(seed)
    golden = rng.normal(size=(prompts, responses))
    error = rng.standard_t(tail, golden.shape) if tail else rng.normal(size=golden.shape)
    error /= math.sqrt(tail / (tail - 2)) if tail else 1.0
    return Rewards.from_arrays(rho * golden + math.sqrt(1 - rho**2) * error, golden)


def fit(alpha, beta, form="bon"):
    """A fit with these coefficients."""
    return GaoFit(form, np.asarray(float(alpha)), np.asarray(float(beta)))


@given(alpha=coefficient, beta=coefficient, form=st.sampled_from(["bon", "rl"]))
def test_curves_without_noise_are_recovered(alpha, beta, form):
    """Least squares returns the coefficients that made the curve, for many curves at once."""
    true = GaoFit(form, np.array([alpha, 1.0]), np.array([beta, 0.5]))
    found = fit_gao(KL, true.gain(np.sqrt(KL)), form)

    np.testing.assert_allclose(found.alpha, true.alpha, atol=1e-9)
    np.testing.assert_allclose(found.beta, true.beta, atol=1e-9)
    assert (true.gain(np.array([0.0])) == 0).all()


@given(alpha=st.floats(0.1, 3), beta=st.floats(0.1, 3), form=st.sampled_from(["bon", "rl"]))
def test_the_peak_is_the_largest_gain(alpha, beta, form):
    """d* = α / (2 β) or exp(α / β − 1); no distance gains more, and the gain there is R*."""
    found = fit(alpha, beta, form)
    near = found.peak_distance * np.array([0.9, 1.0, 1.1])
    gains = found.gain(near)

    assert gains[1] == pytest.approx(float(found.peak_gain))
    assert gains[1] > max(gains[0], gains[2])


def test_there_may_be_no_peak():
    """β ≤ 0 has its peak at infinity; a `bon` curve that falls at once has it at 0."""
    assert (fit(1, 0).peak_distance, fit(1, -1).peak_gain) == (math.inf, math.inf)
    assert (fit(1, 0, "rl").peak_distance, fit(1, 0, "rl").peak_gain) == (math.inf, math.inf)
    assert (fit(-1, 1).peak_distance, fit(-1, 1).peak_gain) == (0.0, 0.0)
    assert fit(1, 1e-4, "rl").peak_distance == math.inf


@pytest.mark.parametrize(
    ("kl", "form", "said"),
    [
        ([0.0, 1.0], "bon", "kl has 0.0; valid"),
        ([1.0, math.nan], "bon", "kl has nan"),
        ([1.0, 1.0], "bon", "two different divergences"),
        ([1.0, 2.0], "bonn", "Did you mean 'bon'?"),
    ],
)
def test_a_fit_that_cannot_be_is_refused(kl, form, said):
    """The origin, one point, and unknown forms are errors."""
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        fit_gao(np.array(kl), np.ones(2), form)


@given(n=st.integers(1, 10**7))
def test_n_of_a_divergence_is_the_inverse(n):
    """`n_at_kl(bon_kl(n))` is n."""
    assert n_at_kl(np.array(bon_kl(n))) == pytest.approx(n, rel=1e-6)


def test_n_of_no_and_of_infinite_divergence():
    """Nothing is drawn twice at 0 nats, and no n is enough for infinitely many."""
    assert n_at_kl(np.array([0.0, math.inf])).tolist() == [1.0, math.inf]


@given(
    f=st.tuples(coefficient, coefficient),
    g=st.tuples(coefficient, coefficient),
    most=st.floats(0.5, 3),
)
def test_gamma_is_the_integral(f, g, most):
    """The closed form equals scipy.integrate.quad, with or without a crossing of the curves."""
    golden, proxy = fit(*f), fit(*g)
    area = quad(lambda x: x * (f[0] - f[1] * x), 0, most)[0]
    a, b = f[0] - g[0], f[1] - g[1]
    crossing = [a / b] if b and 0 < a / b < most else None
    between = quad(lambda x: abs(x * (a - b * x)), 0, most, points=crossing)[0]
    found = gamma_of(golden, proxy, most)

    if area <= 0:
        assert np.isnan(found) or area > -1e-12
    elif area > 1e-6:
        assert found == pytest.approx(between / area, rel=1e-6, abs=1e-9)


def test_gamma_of_equal_curves_is_zero_and_of_the_rl_form_refused():
    """Nothing lies between a curve and itself; both fits must be of the best-of-n form."""
    assert gamma_of(fit(1, 0.2), fit(1, 0.2), 2.0) == 0
    with pytest.raises(UsageError, match="not bon and rl"):
        gamma_of(fit(1, 0.2), fit(1, 0.2, "rl"), 2.0)


def test_a_gaussian_pool_bends_upwards_and_has_no_peak():
    """Over √KL pure regressional Goodhart is slightly convex: α = 1.267 ρ, β = −0.027 ρ."""
    # Numbers: a fit to E[max of n normals] for n = 2 … 1280; here on 1,500 drawn prompts.
    draws = np.random.default_rng(0).normal(size=(1500, 1280))
    pool = Rewards.from_arrays(draws, draws)
    metric = Gamma().fitted(pool)
    totals = per_prompt_sums(metric, pool)[0].sum(axis=0)
    facts = metric.facts(totals)

    assert facts["golden_alpha"] == pytest.approx(1.267, abs=0.03)
    assert facts["golden_beta"] == pytest.approx(-0.027, abs=0.02)
    assert metric.value(totals) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("rho", [0.5, 0.7, 0.9])
def test_gamma_of_a_gaussian_pool(rho):
    """γ = 1 / ρ − 1, whatever the units of golden and proxy."""
    pool = world(1, 600, 128, rho)
    scaled = Rewards.from_arrays(
        (50 * pool.proxy).reshape(600, 128), (0.01 * pool.golden).reshape(600, 128)
    )
    sampling = Sampling(resamples=500)
    found = measure(Gamma(), pool, sampling=sampling)

    assert found.estimate.value == pytest.approx(1 / rho - 1, rel=0.03)
    assert found.estimate.lower < 1 / rho - 1 < found.estimate.upper
    assert found.estimate.concerns == ()
    again = measure(Gamma(), scaled, sampling=sampling).estimate.value
    assert again == pytest.approx(found.estimate.value)


def test_gamma_without_golden_gain_is_undefined_or_a_concern():
    """A proxy against golden has no γ; one without relation to it has one that is not decided."""
    pool = world(2, 100, 16, rho=0.7)
    reversed_ = Rewards.from_arrays(-pool.proxy.reshape(100, 16), pool.golden.reshape(100, 16))
    unrelated = world(3, 100, 16, rho=0.02)

    with pytest.raises(UndefinedMetricError, match="gamma is undefined"):
        measure(Gamma(), reversed_)
    concerns = Gamma(n=16).fitted(unrelated)
    sums, _ = per_prompt_sums(concerns, unrelated)
    assert concerns.concerns(sums)[0].startswith("golden gain near zero")


def test_a_gain_below_zero_is_told_per_prompt():
    """A proxy against golden loses about what golden's own choice would have gained."""
    pool = world(2, 100, 16)
    reversed_ = Rewards.from_arrays(-pool.golden.reshape(100, 16), pool.golden.reshape(100, 16))
    metric = Gamma(n=8).fitted(reversed_)
    sums, _ = per_prompt_sums(metric, reversed_)
    top = float(np.sqrt(bon_kl(8)))
    fit = fit_gao(metric.kl, sums[:, : len(metric.kl)].mean(axis=0))
    area = quad(lambda d: float(fit.gain(np.array([d]))[0]), 0, top)[0]

    assert metric.concerns(sums)[-1] == f"golden gain near zero: {area:.3g}, less than 0"


def test_curve_metrics_must_see_the_pool_first():
    """Without `fitted` the largest n is not known."""
    with pytest.raises(UndefinedMetricError, match="gamma must first see the pool"):
        Gamma().per_prompt(np.zeros((1, 3)), np.zeros((1, 3)))
    with pytest.raises(UndefinedMetricError, match="drop_from_peak must first see the pool"):
        DropFromPeak().per_prompt(np.zeros((1, 3)), np.zeros((1, 3)))


def test_drop_from_peak_of_numbers():
    """What is lost since the peak, as a share of golden's own gain; 0 where nothing is."""
    gains = np.array([[0.0, 2.0, 3.0, 1.0], [0.0, 1.0, 2.0, 3.0], [0.0, -1.0, -2.0, -4.0]])
    sums = np.column_stack([gains[:, -1], np.full(3, 4.0), np.ones(3), gains])

    assert DropFromPeak(n=8).value(sums).tolist() == [0.5, 0.0, 1.0]
    assert np.isnan(DropFromPeak(n=8).value(sums * [1, 0, 1, 1, 1, 1, 1])).all()


def test_a_golden_gain_that_is_small_is_a_concern_of_the_drop():
    """It is told per prompt, in golden units."""
    pool = world(4, 60, 16)
    metric = DropFromPeak(n=8, min_golden_gain=9.0).fitted(pool)
    sums = per_prompt_sums(metric, pool)[0]
    gain = metric.facts(sums.sum(axis=0))["golden_gain"]

    assert 1.3 < gain < 1.5  # E[max of 8 normals] is 1.42
    assert metric.concerns(sums) == (f"golden gain near zero: {gain:.3g}, less than 9",)
    assert DropFromPeak(n=8, min_golden_gain=1.0).fitted(pool).concerns(sums) == ()


def test_drop_from_peak_is_the_largest_of_its_parts():
    """The metric and its parts agree, and the facts name the n of the peak."""
    pool = world(4, 60, 64, rho=0.5, tail=3)
    metric = DropFromPeak().fitted(pool)
    totals = per_prompt_sums(metric, pool)[0].sum(axis=0)
    facts = metric.facts(totals)
    curve = totals[3:] / 60

    assert metric.value(totals) == pytest.approx((curve.max() - curve[-1]) / facts["golden_gain"])
    assert metric.parts(totals).max() == metric.value(totals)
    assert facts["peak_n"] == n_grid(64)[int(totals[3:].argmax())]


def test_bounds_of_the_drop_pay_for_finding_the_peak():
    """Under a flat curve the lower bound claims a drop in at most 5 % of the pools."""
    sampling = Sampling(resamples=300)
    claims = []
    for seed in range(150):
        golden, proxy = np.random.default_rng(seed).normal(size=(2, 40, 32))
        pool = Rewards.from_arrays(proxy, golden)  # unrelated: golden gains nothing at any n
        claims.append(measure(DropFromPeak(), pool, sampling=sampling).estimate.lower > 0)

    assert np.mean(claims) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)


def test_bounds_of_a_real_drop_hold():
    """With Student-t errors of 3 degrees golden falls, and both bounds are on its two sides."""
    truth = measure(DropFromPeak(), world(999, 8000, 64, 0.5, 3), sampling=Sampling(resamples=50))
    true = truth.estimate.value
    found = [
        measure(DropFromPeak(), world(seed, 80, 64, 0.5, 3), sampling=Sampling(resamples=300))
        for seed in range(120)
    ]
    lower = np.mean([f.estimate.lower <= true for f in found])
    upper = np.mean([f.estimate.upper >= true for f in found])

    assert true > 0.02
    assert lower >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / 120)
    assert upper >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / 120)
    level = found[0].distribution.level(found[0].estimate.upper)
    assert level == pytest.approx(0.95, abs=0.01)


def test_drop_between_two_checkpoints_is_paired():
    """The same checkpoint twice differs by nothing; a worse one by something between its parts."""
    better, worse = world(5, 80, 64, 0.8), world(5, 80, 64, 0.5, 3)
    same = measure_drop(DropFromPeak(), better, better, sampling=Sampling(resamples=300))
    drop = measure_drop(
        DropFromPeak(),
        Rewards.from_arrays(worse.proxy.reshape(80, 64), better.golden.reshape(80, 64)),
        better,
        sampling=Sampling(resamples=300),
    )

    assert (same.estimate.lower, same.estimate.value, same.estimate.upper) == (0, 0, 0)
    assert drop.estimate.lower <= drop.estimate.value <= drop.estimate.upper
    assert drop.distribution.between


@pytest.mark.parametrize("kl", [1e-12, 1e-6, 0.01, 0.3, 1.0, 4.0, 50.0, 700.0])
def test_the_n_of_a_kl_is_its_inverse(kl):
    """Ln n − (n − 1) / n of the n that is found is the KL again, from tiny to huge."""
    n = float(n_at_kl(np.array(kl)))

    # Near n = 1 the difference cancels; by ln n = m it is m − 1 + e^−m = m²/2 − m³/6 + m⁴/24.
    m = np.log1p(n - 1)
    back = m + np.expm1(-m) if m > 1e-3 else m**2 / 2 - m**3 / 6 + m**4 / 24
    assert back == pytest.approx(kl, rel=1e-4 if kl < 1e-10 else 1e-8)


def test_the_n_of_no_kl_is_1_and_of_an_infinite_one_infinite():
    """The ends, and what is beyond the largest number."""
    assert n_at_kl(np.array([0.0, np.inf, 1e4])).tolist() == [1.0, np.inf, np.inf]
