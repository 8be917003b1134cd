"""Predicted regret: measured where the pool allows it, extrapolated otherwise, and said."""

import numpy as np
import pytest

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.best_of_n import BonDropRatio
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.rewards import Rewards
from rmcheck.regret.predicted_regret import PredictedRegret


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
    ("counts", "n", "measured_at", "note"),
    [
        ((16, 16), 16, 16, "measured at n=16 on the pool"),
        ((5, 5), 256, 2, "extrapolated from best-of-2 (pool has N=5 < n=256)"),
        ((8, 4), 8, 8, "measured at n=8 on the pool"),
        (
            (8, 4, 4),
            8,
            2,
            "extrapolated from best-of-2 (fewer than 50% of the prompts have N >= n=8)",
        ),
        ((1, 1, 8), 8, 8, "measured at n=8 on the pool"),  # one response is no choice
    ],
)
def test_measured_on_half_of_the_prompts_or_extrapolated(counts, n, measured_at, note):
    """It is measured at n where half of the prompts have n responses, and says which it did."""
    pool = pool_of(*counts)
    fitted = PredictedRegret(n=n).fitted(pool)

    assert fitted.note == note
    assert fitted.min_responses == measured_at
    assert value(PredictedRegret(n=n), pool) == value(BonDropRatio(n=measured_at), pool)


def test_a_slice_is_measured_as_the_whole_pool():
    """The choice is made once, so that slices can be compared."""
    fitted = PredictedRegret(n=8).fitted(pool_of(8, 8, 4))

    with pytest.raises(UndefinedMetricError, match="needs 8 responses a prompt"):
        per_prompt_sums(fitted, pool_of(4))


def test_the_pool_must_be_seen_first():
    """Without a pool it is not known how to measure."""
    with pytest.raises(UndefinedMetricError, match=r"call fitted\(rewards\)"):
        per_prompt_sums(PredictedRegret(n=4), pool_of(4, 4))

    assert PredictedRegret(n=4).note == ""


@pytest.mark.parametrize("rho", [0.5, 0.8, 0.95])
def test_best_of_two_predicts_any_n_in_the_gaussian_world(rho):
    """From 5 responses 1 − NDR_2 is 1 − ρ, which is what best-of-128 loses (Gaussian rewards)."""
    rng = np.random.default_rng(7)

    def world(prompts, size):
        # Golden and error share the scale of their prompt, so that ρ is the same on each.
        scale = rng.lognormal(sigma=0.3, size=(prompts, 1))
        golden = scale * rng.normal(size=(prompts, size))
        error = scale * rng.normal(size=golden.shape) * np.sqrt(1 / rho**2 - 1)
        return Rewards.from_arrays(golden + error, golden)

    predicted = value(PredictedRegret(n=128), world(3000, 5))
    measured = value(PredictedRegret(n=128), world(600, 128))

    # Standard errors about 0.01 (predicted) and 0.012 (measured) at ρ = 0.5.
    assert measured == pytest.approx(1 - rho, abs=0.04)
    assert predicted == pytest.approx(1 - rho, abs=0.04)


def test_heavy_tailed_errors_are_not_seen_from_five_responses():
    """With t₃ errors the extrapolation is far too optimistic: the docstring's warning is true."""
    rng = np.random.default_rng(3)

    def world(prompts, size):
        golden = rng.normal(size=(prompts, size))
        return Rewards.from_arrays(
            golden + 0.75 * rng.standard_t(3, size=golden.shape) / np.sqrt(3), golden
        )

    predicted = value(PredictedRegret(n=256), world(1000, 5))
    measured = value(PredictedRegret(n=256), world(300, 256))

    assert predicted < 0.25
    assert measured > predicted + 0.15
