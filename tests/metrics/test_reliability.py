"""Golden reads twice: their reliability, and what the noise of one does to NDR."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.best_of_n import NDR
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.reliability import (
    GoldenReliability,
    reliability,
    reliability_concerns,
    reliability_gradient,
    repeat_moments,
)
from rmcheck.metrics.rewards import Rewards
from rmcheck.testing import scores

reads = st.integers(2, 6).flatmap(lambda n: st.tuples(scores(n), scores(n)))


def noisy_world(reliability, *, rho=0.8, prompts=4000, size=5, seed=0):
    """A proxy of correlation ρ with golden, and two reads of golden of this reliability."""
    rng = np.random.default_rng(seed)
    golden, error, *noises = rng.normal(size=(4, prompts, size))
    proxy = rho * golden + math.sqrt(1 - rho**2) * error
    noise = math.sqrt(1 / reliability - 1)
    first, second = (golden + noise * x for x in noises)
    return Rewards.from_arrays(proxy, first, columns={"repeat": second})


def value(metric, rewards):
    """The metric on a pool."""
    return float(metric.value(per_prompt_sums(metric, rewards)[0].sum(axis=0)))


@given(st.lists(reads, min_size=1, max_size=5))
def test_reliability_is_the_pooled_correlation(rows):
    """Covariances of every prompt, with N − 1 and one weight each, are summed before dividing."""
    first, second = ([row[i] for row in rows] for i in range(2))
    tables = [np.cov(a, b) for a, b in rows]
    (a, ab), (_, b) = np.sum(tables, axis=0)
    pool = Rewards.from_arrays(first, first, columns={"repeat": second})

    found = value(GoldenReliability(), pool)

    if a and b:
        assert found == pytest.approx(ab / math.sqrt(a * b), abs=1e-12)
    else:
        assert np.isnan(found)


def test_the_same_read_twice_is_fully_reliable_and_its_opposite_not_at_all():
    """1 for a golden without noise; the unit and offset of the second read do not matter."""
    golden = np.random.default_rng(0).normal(size=(30, 4))

    assert GoldenReliability().range == (-1, 1)
    for repeat, expected in ((golden, 1), (7 * golden + 3, 1), (-golden, -1)):
        pool = Rewards.from_arrays(golden, golden, columns={"repeat": repeat})
        assert value(GoldenReliability(), pool) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("true", [0.5, 0.64, 0.9])
@pytest.mark.parametrize("n", [2, 5])
def test_noise_of_golden_is_taken_out_of_ndr(true, n):
    """NDR against one noisy read is ρ ρ_a; over √reliability it is ρ again."""
    # An independent simulation found 0.8000 for 0.8. Standard errors at 20,000 prompts of 5:
    # NDR below 0.005, reliability below 0.004.
    pool = noisy_world(true, prompts=20_000)
    found, noisy = value(GoldenReliability(), pool), value(NDR(n=n), pool)

    assert found == pytest.approx(true, abs=0.015)
    assert noisy == pytest.approx(0.8 * math.sqrt(true), abs=0.015)
    assert noisy / math.sqrt(found) == pytest.approx(0.8, abs=0.02)


def test_bounds_hold_the_true_reliability():
    """Of 200 pools of 60 prompts, each one-sided 95 % bound misses in about 5 %."""
    low = high = 0
    for seed in range(200):
        pool = noisy_world(0.6, prompts=60, seed=seed)
        e = measure(GoldenReliability(), pool, sampling=Sampling(resamples=400, seed=seed)).estimate
        low += e.lower > 0.6
        high += e.upper < 0.6

    # Binomial(200, 0.05) is at most 20 with probability 0.999.
    assert low <= 20
    assert high <= 20


@given(st.tuples(st.floats(0.1, 9), st.floats(0.1, 9), st.floats(-0.9, 0.9)))
def test_gradient_is_the_derivative(moments):
    """By differences, at any totals."""
    a, b, share = moments
    totals = np.array([a, b, share * math.sqrt(a * b)])
    steps = 1e-6 * np.eye(3)

    numeric = (reliability(totals + steps) - reliability(totals - steps)) / 2e-6

    np.testing.assert_allclose(reliability_gradient(totals), numeric, atol=1e-4)


@pytest.mark.parametrize(
    ("moments", "concerns"),
    [
        ([4.0, 1.0, 0.8], ()),
        ([4.0, 1.0, 0.78], ("golden reliability 0.39, less than 0.4: too noisy to correct",)),
        ([4.0, 1.0, -1.0], ("golden reliability -0.50, less than 0.4: too noisy to correct",)),
        ([4.0, 0.0, 0.0], ("golden reads are constant, so that their reliability is unknown",)),
    ],
)
def test_a_correction_by_noisy_reads_is_a_concern(moments, concerns):
    """Below a reliability of 0.4, or without one, a corrected value decides nothing."""
    per_unit = np.array([moments, moments]) / 2

    assert reliability_concerns(per_unit) == concerns


def test_the_second_read_is_asked_for():
    """Without the column there is an error that names it; so is a read that never differs."""
    pool = noisy_world(0.5, prompts=40)
    flat = Rewards.from_arrays([[1, 2]] * 3, [[1, 2]] * 3, columns={"repeat": [[5.1, 5.1]] * 3})

    with pytest.raises(UndefinedMetricError, match="needs the column 'repeat'"):
        value(GoldenReliability(), Rewards.from_arrays([[1, 2]], [[1, 2]]))
    with pytest.raises(UndefinedMetricError, match="needs the column 'repeat': use block_sums"):
        GoldenReliability().per_prompt(pool.proxy, pool.golden)
    with pytest.raises(UndefinedMetricError, match="golden_reliability is undefined"):
        measure(GoldenReliability(), flat)


def test_responses_read_once_say_nothing_of_reliability():
    """Moments are those of the responses that were read twice, as if there were no others."""
    rng = np.random.default_rng(3)
    golden, repeat = rng.normal(5, 1, size=(2, 4, 6))
    partly = repeat.copy()
    partly[0, 4:] = np.nan
    partly[1, :5] = np.nan  # one pair of reads is none
    partly[2] = np.nan

    found = repeat_moments(golden, partly)

    np.testing.assert_allclose(found[:1], repeat_moments(golden[:1, :4], repeat[:1, :4]))
    assert not found[1:3].any()
    np.testing.assert_allclose(found[3:], repeat_moments(golden[3:], repeat[3:]))
