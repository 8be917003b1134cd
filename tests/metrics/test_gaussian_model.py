"""Expected values when proxy and golden are jointly Gaussian inside a prompt.

There r = g + ε, corr(r, g) = ρ, and closed forms tie the metrics to ρ: accuracy = 1/2 + asin(ρ)/π,
NDR_n = ρ at any n (Wen et al. 2024, eqs. 7 and 19 to 22).
"""

import functools
import math

import numpy as np
import pytest

from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards

PROMPTS = 6000


@functools.cache
def world(rho, size, prompts=PROMPTS):
    """A pool of prompts with `size` responses and within-prompt correlation ρ."""
    rng = np.random.default_rng(round(1000 * rho) + size)
    golden = rng.normal(size=(prompts, size))
    error = rng.normal(size=golden.shape)
    return Rewards.from_arrays(rho * golden + math.sqrt(1 - rho**2) * error, golden)


def value(name, pool, **settings):
    """A metric on a pool."""
    metric = make_metric(name, **settings).fitted(pool)
    return float(metric.value(per_prompt_sums(metric, pool)[0].sum(axis=0)))


# Means at N = 5 from an independent simulation, three digits. The standard deviation of one prompt
# is at most 0.64 (Bo5 at ρ = 0.5), else at most 0.5, so 6000 prompts give a standard error of
# 0.0083 and at most 0.0065: the tolerance is about three of them.
NAMES = ("xi", "kendall", "pearson", "spearman", "accuracy", "mrr", "ndcg", "bo_n", "ndr")
AT_FIVE = {
    0.5: (0.057, 0.331, 0.448, 0.405, 0.665, 0.631, 0.918, 0.454, 0.498),
    0.7: (0.127, 0.496, 0.650, 0.590, 0.748, 0.723, 0.944, 0.652, 0.703),
    0.8: (0.181, 0.592, 0.756, 0.691, 0.796, 0.776, 0.957, 0.752, 0.800),
    0.9: (0.258, 0.713, 0.869, 0.802, 0.857, 0.845, 0.973, 0.862, 0.900),
    0.95: (0.321, 0.797, 0.932, 0.871, 0.899, 0.891, 0.982, 0.924, 0.950),
}


@pytest.mark.parametrize("rho", AT_FIVE)
def test_expected_values_at_five_responses(rho):
    """All metrics at N = 5 have the means that thresholds are set by."""
    found = {name: value(name, world(rho, 5)) for name in NAMES}

    assert found == pytest.approx(dict(zip(NAMES, AT_FIVE[rho], strict=True)), abs=0.02)


@pytest.mark.parametrize("rho", [0.25, 0.5, 0.8, 0.95])
def test_accuracy_and_kendall_follow_from_rho(rho):
    """The closed forms 1/2 + asin(ρ)/π and τ = 2 accuracy − 1 hold."""
    expected = 0.5 + math.asin(rho) / math.pi

    assert value("accuracy", world(rho, 5)) == pytest.approx(expected, abs=0.008)
    assert value("kendall", world(rho, 5)) == pytest.approx(2 * expected - 1, abs=0.016)


@pytest.mark.parametrize("n", [2, 4, 16, 64])
def test_kept_share_is_rho_at_any_n(n):
    """NDR_n = ρ = sin(π (accuracy − 1/2)), whatever n; the drop ratio is 1 − ρ."""
    pool = world(0.8, 64, 1500)

    # Standard error of NDR_64 at 1500 prompts: about 0.008.
    assert value("ndr", pool, n=n) == pytest.approx(0.8, abs=0.025)
    assert value("bon_drop_ratio", pool, n=n) == pytest.approx(0.2, abs=0.025)
    assert math.sin(math.pi * (value("accuracy", pool) - 0.5)) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    ("size", "means"),
    # Mean ξ at ρ = 0, 0.5, 0.8, 0.95 from an independent simulation.
    [(3, (-0.001, 0.024, 0.078, 0.152)), (10, (0.0, 0.094, 0.287, 0.493)),
     (50, (-0.001, 0.134, 0.390, 0.662))],
)  # fmt: skip
def test_xi_depends_on_n(size, means):
    """Mean ξ at each N, which is why the plain value must not be pooled over N."""
    # Standard deviation of one prompt at most 0.22: standard error 0.004 with 3000 prompts.
    found = [value("xi", world(rho, size, 3000)) for rho in (0.0, 0.5, 0.8, 0.95)]

    assert found == pytest.approx(means, abs=0.013)
