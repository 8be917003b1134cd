"""Closed forms of the Gaussian model, and the model beside a pool."""

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.lab.curves import goodhart
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards

# Accuracy, ρ and drop ratio to three digits, from the closed forms worked out independently of this
# code.
CONVERSION = [
    (0.55, 0.156, 0.844),
    (0.60, 0.309, 0.691),
    (0.65, 0.454, 0.546),
    (0.70, 0.588, 0.412),
    (0.75, 0.707, 0.293),
    (0.80, 0.809, 0.191),
    (0.85, 0.891, 0.109),
    (0.90, 0.951, 0.049),
    (0.95, 0.988, 0.012),
]
# σ/σ_r of error and golden, then ρ, accuracy and d_π, by Monte-Carlo and quadrature.
WORLDS = [
    (0.2, 0.9806, 0.9372, 0.9615),
    (0.5, 0.8944, 0.8524, 0.8000),
    (1.0, 0.7071, 0.7500, 0.5000),
    (2.0, 0.4472, 0.6476, 0.2000),
    (4.0, 0.2425, 0.5780, 0.0588),
]
PAIRS = {
    "accuracy": ((0, 1), (-1, 1)),
    "drop": ((0, 2), (-1, 1)),
    "d_pi": ((0, 1), (0, 1)),
    "xi": ((0, 1), (0, 1)),
}


@pytest.mark.parametrize(("accuracy", "rho", "drop"), CONVERSION)
def test_conversion_table(accuracy, rho, drop):
    """Accuracy, ρ and drop ratio belong together."""
    found = goodhart.correlation_from_accuracy(accuracy)

    assert found == pytest.approx(rho, abs=5e-4)
    assert goodhart.drop_from_correlation(found) == pytest.approx(drop, abs=5e-4)


@pytest.mark.parametrize(("noise", "rho", "accuracy", "d_pi"), WORLDS)
def test_closed_forms_of_golden_with_noise(noise, rho, accuracy, d_pi):
    """With r = g + ε, ρ is 1/√(1 + σ²), and accuracy and d_π follow from it."""
    correlation = 1 / math.sqrt(1 + noise**2)

    assert correlation == pytest.approx(rho, abs=5e-5)
    assert goodhart.accuracy_from_correlation(correlation) == pytest.approx(accuracy, abs=5e-5)
    assert goodhart.d_pi_from_correlation(correlation) == pytest.approx(d_pi, abs=5e-5)


@pytest.mark.parametrize("noise", [0.2, 0.5, 1.0, 2.0, 4.0])
def test_accuracy_equals_the_integral_of_the_paper(noise):
    """½ + asin(ρ)/π solves eq. 19: P(Δr Δg > 0) as an integral over Δg."""
    # Δg has standard deviation √2, Δε √2 σ; both halves of Δg give the same.
    found, _ = integrate.quad(
        lambda t: (
            2 * stats.norm.pdf(t, scale=math.sqrt(2)) * stats.norm.cdf(t / (math.sqrt(2) * noise))
        ),
        0,
        np.inf,
    )
    rho = 1 / math.sqrt(1 + noise**2)

    assert goodhart.accuracy_from_correlation(rho) == pytest.approx(found, abs=1e-6)


@pytest.mark.parametrize("name", PAIRS)
@given(share=st.floats(0, 1))
def test_every_form_inverts(name, share):
    """There and back gives the same value, over the whole domain."""
    low, high = PAIRS[name][0]
    value = low + share * (high - low)
    there = getattr(goodhart, f"correlation_from_{name}")
    back = getattr(goodhart, f"{name}_from_correlation")

    # Near an end the sine is flat and loses half of the digits.
    assert back(there(value)) == pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize("name", PAIRS)
def test_every_form_is_monotone_and_takes_arrays(name):
    """An array goes in and out in its shape; a better value is a higher ρ."""
    low, high = PAIRS[name][0]
    values = np.linspace(low, high, 12).reshape(3, 4)

    found = getattr(goodhart, f"correlation_from_{name}")(values)
    steps = np.diff(found.ravel())

    assert found.shape == (3, 4)
    assert (steps > 0).all() or (name == "drop" and (steps < 0).all())
    ends = sorted(PAIRS[name][1])
    assert sorted([found.min(), found.max()]) == pytest.approx(ends, abs=1e-7)


def test_no_agreement_and_all_agreement_are_the_ends():
    """Chance is ρ = 0 in every form, and a perfect proxy ρ = 1."""
    for name, chance in {"accuracy": 0.5, "drop": 1, "xi": 0}.items():
        found = getattr(goodhart, f"correlation_from_{name}")(chance)
        assert found == pytest.approx(0, abs=1e-7)
    assert goodhart.accuracy_from_correlation(1) == 1
    assert goodhart.drop_from_correlation(1) == 0


@functools.cache
def pool(rho, size, prompts=1500):
    """Gaussian prompts with within-prompt correlation ρ."""
    rng = np.random.default_rng(size)
    golden = rng.normal(size=(prompts, size))
    error = rng.normal(size=golden.shape)
    return Rewards.from_arrays(rho * golden + math.sqrt(1 - rho**2) * error, golden)


def value(name, rewards, **settings):
    """A metric on a pool."""
    metric = make_metric(name, **settings).fitted(rewards)
    return float(metric.value(per_prompt_sums(metric, rewards)[0].sum(axis=0)))


def test_limit_of_xi_holds_at_many_responses():
    """At N = 400 ξ is within 1 % of its limit (its bias is of order 1 / N)."""
    # Standard error at 200 prompts of 400: about 0.002.
    many = pool(0.7, 400, 200)

    assert value("xi", many) == pytest.approx(float(goodhart.xi_from_correlation(0.7)), abs=0.012)


def test_limit_of_xi_has_the_known_values():
    """ξ of the limit at ρ = 0, .3, .5, .7, .8, .9, .95, 1, from quadrature."""
    found = goodhart.xi_from_correlation(goodhart.XI_TABLE_CORRELATIONS)

    expected = [0, 0.050, 0.145, 0.303, 0.418, 0.580, 0.701, 1]
    assert found == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize("size", goodhart.XI_TABLE)
def test_xi_at_few_responses_uses_the_table(size):
    """Every mean of the table gives its ρ, and ρ rises between them."""
    means = goodhart.XI_TABLE[size]

    assert goodhart.correlation_from_xi(means, size) == pytest.approx(
        goodhart.XI_TABLE_CORRELATIONS, abs=1e-7
    )
    assert (np.diff(goodhart.correlation_from_xi(np.linspace(0, means[-1], 200), size)) > 0).all()


@pytest.mark.parametrize(("rho", "size"), [(0.4, 5), (0.6, 5), (0.85, 10), (0.6, 20)])
def test_xi_between_the_entries_of_the_table_is_right(rho, size):
    """Interpolated ρ is that of a simulated pool; the limit's formula would be far off."""
    # Standard deviation of ξ of a prompt at N = 5 is 0.21, so 0.002 with 9000 prompts; the slope
    # dρ/dξ is below 5 here.
    mean = value("xi", pool(rho, size, 9000))

    assert goodhart.correlation_from_xi(mean, size) == pytest.approx(rho, abs=0.02)
    assert goodhart.correlation_from_xi(mean) < rho - 0.03


def test_annotator_noise_is_taken_out():
    """Accuracy against noisy labels and the annotators' agreement together give ρ."""
    # r, golden and two annotators with probit noise: 400,000 pairs, standard error 0.0008.
    rng = np.random.default_rng(0)
    rho, annotator = 0.7, 0.9
    golden, error, *noises = rng.normal(size=(4, 400_000))
    proxy = rho * golden + math.sqrt(1 - rho**2) * error
    labels = [np.sign(annotator * golden + math.sqrt(1 - annotator**2) * x) for x in noises]
    accuracy, agreement = np.mean(np.sign(proxy) == labels[0]), np.mean(labels[0] == labels[1])

    assert agreement == pytest.approx(0.5 + math.asin(annotator**2) / math.pi, abs=3e-3)
    assert goodhart.annotator_from_agreement(agreement) == pytest.approx(annotator, abs=4e-3)
    assert goodhart.correlation_from_accuracy(accuracy) == pytest.approx(rho * annotator, abs=6e-3)
    corrected = goodhart.correlation_without_annotator_noise(accuracy, agreement)
    assert corrected == pytest.approx(rho, abs=8e-3)


@given(annotator=st.floats(0, 1))
def test_agreement_inverts_and_bounds_accuracy(annotator):
    """ρ_a comes back from the agreement, and golden's own accuracy is ½ + asin(ρ_a)/π."""
    agreement = 0.5 + math.asin(annotator**2) / math.pi

    # The square loses half the digits near 0.
    assert goodhart.annotator_from_agreement(agreement) == pytest.approx(annotator, abs=1e-7)
    most = goodhart.max_attainable_accuracy(agreement)
    assert most == pytest.approx(0.5 + math.asin(annotator) / math.pi, abs=1e-7)
    if annotator > 0.01:
        found = goodhart.correlation_without_annotator_noise(0.5 + 0.999 * (most - 0.5), agreement)
        assert 0.99 < found <= 1


def test_noiseless_annotators_change_nothing():
    """At full agreement the corrected ρ is the plain one."""
    found = goodhart.correlation_without_annotator_noise([0.3, 0.7, 0.9], 1.0)

    assert found == pytest.approx(goodhart.correlation_from_accuracy([0.3, 0.7, 0.9]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: goodhart.correlation_from_accuracy(70), "accuracy is 70; valid: 0 to 1."),
        (lambda: goodhart.correlation_from_accuracy([0.5, math.nan]), "accuracy is nan; valid"),
        (lambda: goodhart.accuracy_from_correlation(1.01), "correlation is 1.01; valid: -1 to 1."),
        (lambda: goodhart.correlation_from_drop(2.5), "drop ratio is 2.5; valid: 0 to 2."),
        (lambda: goodhart.correlation_from_d_pi(-0.2), "d_pi is -0.2; valid: 0 to 1."),
        (lambda: goodhart.correlation_from_xi(-0.05), "xi is -0.05; valid: 0 to 1."),
        (lambda: goodhart.correlation_from_xi(0.6, 5), "xi at N = 5 is 0.6; valid: 0 to 0.5."),
        (lambda: goodhart.correlation_from_xi(0.1, 7), "at N = 7; valid: 3, 5, 10, 20, 50."),
        (lambda: goodhart.annotator_from_agreement(0.4), "agreement is 0.4; valid: 0.5 to 1."),
        (lambda: goodhart.correlation_without_annotator_noise(0.6, 0.5), "agreement is 0.5; valid"),
        (
            lambda: goodhart.correlation_without_annotator_noise([0.6, 0.9], [0.7, 0.7]),
            "accuracy is 0.9; valid: 0.2219 to 0.7781",
        ),
    ],
)  # fmt: skip
def test_a_value_outside_its_domain_is_refused(call, message):
    """The error names the value and the valid range; nothing is clipped."""
    with pytest.raises(UsageError) as caught:
        call()

    assert message in str(caught.value)


@pytest.mark.parametrize(
    "form",
    [
        *(goodhart.accuracy_from_correlation, goodhart.drop_from_correlation),
        *(goodhart.d_pi_from_correlation, goodhart.xi_from_correlation),
    ],
)
def test_correlations_of_all_kinds_go_from_minus_one_to_one(form):
    """Both ends have a value, and nothing beyond them has."""
    assert np.isfinite(form([-1, -0.5, 0, 1])).all()
    for beyond in (-1.001, 1.001):
        with pytest.raises(UsageError, match=f"is {beyond}; valid: -1 to 1"):
            form(beyond)


def test_expected_and_observed_agree_in_the_gaussian_model():
    """Accuracy, NDR_2 and the measured drop all say 1 − ρ."""
    found = goodhart.expected_and_observed(pool(0.8, 32, 1500), 16)

    # Standard errors: 0.002 from accuracy, 0.003 from NDR_2, 0.007 at n = 16.
    assert (found.n, found.prompts) == (16, 1500)
    assert found.accuracy == pytest.approx(0.7952, abs=0.004)
    assert found.correlation == pytest.approx(0.8, abs=0.01)
    assert found.drop_from_accuracy == pytest.approx(0.2, abs=0.01)
    assert found.drop_from_ndr == 1 - found.correlation
    assert found.drop_observed == pytest.approx(0.2, abs=0.02)
    assert found.excess == pytest.approx(0, abs=0.02)


def test_heavy_tailed_errors_lose_more_than_accuracy_promises():
    """With t₃ errors the observed drop at n = 32 is far above either expectation."""
    rng = np.random.default_rng(1)
    golden = rng.normal(size=(600, 32))
    proxy = golden + 0.8 * rng.standard_t(3, size=golden.shape) / math.sqrt(3)

    found = goodhart.expected_and_observed(Rewards.from_arrays(proxy, golden), 32)

    # Seen 0.10 above 1 − NDR_2 in 2,000 simulations, standard deviation 0.012 at 600 prompts.
    assert found.excess > 0.05
    assert found.drop_observed > found.drop_from_accuracy + 0.05


def test_only_prompts_with_n_responses_are_compared():
    """All numbers are of the same prompts."""
    rows = ([[1.0, 2.0], [1.0, 2.0, 3.0]], [[2.0, 1.0], [1.0, 2.0, 3.0]])

    found = goodhart.expected_and_observed(Rewards.from_arrays(*rows), 3)

    assert (found.prompts, found.accuracy, found.correlation) == (1, 1, 1)
    assert found.drop_observed == pytest.approx(0, abs=1e-12)


def test_expected_and_observed_need_responses_and_a_golden_that_varies():
    """Too few responses and a constant golden are errors, never a number."""
    short = Rewards.from_arrays([[1.0, 2.0]], [[1.0, 2.0]])
    flat = Rewards.from_arrays([[1.0, 2.0]], [[1.0, 1.0]])

    with pytest.raises(UndefinedMetricError, match="needs 3 responses a prompt"):
        goodhart.expected_and_observed(short, 3)
    with pytest.raises(UndefinedMetricError, match="golden is constant on all 1 prompts"):
        goodhart.expected_and_observed(flat, 2)


def test_the_ends_of_the_table_are_exact():
    """ξ is 0 on average where proxy and golden are unrelated, and (N − 2) / (N + 1) at most."""
    assert (goodhart.XI_TABLE_CORRELATIONS[0], goodhart.XI_TABLE_CORRELATIONS[-1]) == (0, 1)
    for size, means in goodhart.XI_TABLE.items():
        assert (means[0], means[-1]) == (0, (size - 2) / (size + 1))
        assert list(means) == sorted(means)


@pytest.mark.parametrize("size", goodhart.XI_TABLE)
def test_the_table_of_xi_is_what_the_model_gives(size):
    """Every entry is the mean of Chatterjee's formula over simulated prompts of that size."""
    rng = np.random.default_rng(size)
    prompts = 80_000 // size
    golden, noise = rng.normal(size=(2, prompts, size))
    for rho, mean in zip(goodhart.XI_TABLE_CORRELATIONS, goodhart.XI_TABLE[size], strict=True):
        proxy = rho * golden + np.sqrt(1 - rho**2) * noise
        by_proxy = np.take_along_axis(golden, np.argsort(proxy, axis=1), axis=1)
        ranks = np.argsort(np.argsort(by_proxy, axis=1), axis=1)
        xi = 1 - 3 * np.abs(np.diff(ranks, axis=1)).sum(axis=1) / (size**2 - 1)

        # Four errors of this simulation, and the table's own.
        assert xi.mean() == pytest.approx(mean, abs=4 * xi.std() / np.sqrt(prompts) + 0.003)
