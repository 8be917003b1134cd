"""Bounds hold as often as they say, and a suite whose requirements are met seldom fails.

The large simulation is benchmarks/coverage.py; this is a small case of it with fixed seeds.
"""

import math

import numpy as np
import pytest

from rmcheck.checks.measurement import Sampling, measured, pending, pending_drop
from rmcheck.checks.verdict import Criterion, decide
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards

RHO = 0.7
N = 5
POOLS = 250
SAMPLING = Sampling(resamples=800)
ACCURACY = 0.5 + math.asin(RHO) / math.pi
# At any number of responses: accuracy is 1/2 + arcsin(ρ) / π and the best-of-2 NDR is ρ, for
# rewards that are jointly normal. Xi at N = 5 is a mean over 2,000,000 prompts (se 0.0001).
TRUE = {"accuracy": ACCURACY, "ndr": RHO, "xi": 0.1263}
SETTINGS = {"accuracy": {}, "ndr": {"n": 2}, "xi": {}}


def draw(prompts, seed):
    """Two checkpoints of one quality on the same responses, with independent errors."""
    rng = np.random.default_rng([prompts, seed])
    golden = rng.normal(size=(prompts, N))
    return [
        Rewards.from_arrays(
            RHO * golden + math.sqrt(1 - RHO**2) * rng.normal(size=golden.shape), golden
        )
        for _ in range(2)
    ]


@pytest.fixture(scope="module", params=[50, 100])
def shares(request):
    """Metric to the shares of pools on which its two bounds and those of its drop held."""
    metrics = {name: make_metric(name, **settings) for name, settings in SETTINGS.items()}
    held = {name: np.zeros(4) for name in metrics}
    for seed in range(POOLS):
        candidate, baseline = draw(request.param, seed)
        values = []
        for metric in metrics.values():
            values.append(pending(metric, candidate, sampling=SAMPLING))
            values.append(pending_drop(metric, candidate, baseline, sampling=SAMPLING))
        found = iter([m.estimate for m in measured(values)])
        for name in metrics:
            own, drop, true = next(found), next(found), TRUE[name]
            ends = (own.lower <= true, true <= own.upper, drop.lower <= 0, drop.upper >= 0)
            held[name] += ends
    return {name: counts / POOLS for name, counts in held.items()}


@pytest.mark.parametrize("name", TRUE)
def test_one_sided_bounds_hold_as_often_as_they_say(shares, name):
    """Lower and upper 95 % bounds of the value and of the paired drop, within 3 standard errors.

    Those of a ratio allow for prompts that were not seen, and may hold more often.
    """
    error = math.sqrt(0.95 * 0.05 / POOLS)

    assert (shares[name] - 0.95).min() >= -3 * error, shares[name]
    if name != "ndr":
        assert (shares[name] - 0.95).max() <= 3 * error, shares[name]


# Twelve requirements that are all just met: the true value, or no drop.
SUITE = [
    *(("accuracy", "at_least"), ("ndr", "at_least"), ("xi", "at_least")) * 2,
    *(("accuracy", "at_most"), ("ndr", "at_most"), ("xi", "at_most")),
    *(("accuracy", "max_drop"), ("ndr", "max_drop"), ("xi", "max_drop")),
]


def failed(candidate, baseline):
    """Whether any of the twelve checks fails."""
    metrics = {name: make_metric(name, **settings) for name, settings in SETTINGS.items()}
    criteria = [Criterion(kind, 0.0 if kind == "max_drop" else TRUE[n]) for n, kind in SUITE]
    values = [
        pending_drop(metrics[name], candidate, baseline, sampling=SAMPLING)
        if kind == "max_drop"
        else pending(metrics[name], candidate, sampling=SAMPLING)
        for name, kind in SUITE
    ]
    return any(v.outcome == "fail" for v in decide(criteria, measured(values)))


def test_a_suite_that_is_met_fails_in_at_most_one_run_in_twenty():
    """Two checkpoints of one quality and 12 checks on their true values: 5 %, and 2 errors more."""
    share = np.mean([failed(*draw(60, seed)) for seed in range(POOLS)])

    assert share <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / POOLS)


def test_the_same_checkpoint_never_drops():
    """A drop against itself is 0 with both bounds, and passes a margin of 0."""
    candidate, _ = draw(60, 0)
    for name, settings in SETTINGS.items():
        drop = pending_drop(make_metric(name, **settings), candidate, candidate, sampling=SAMPLING)
        [found] = measured([drop])
        [verdict] = decide([Criterion("max_drop", 0.0)], [found])

        assert (found.estimate.lower, found.estimate.upper) == (0.0, 0.0)
        assert verdict.outcome == "pass"
