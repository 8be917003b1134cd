"""Ratios on prompts where the model errs seldom: bounds hold, whole and at every look.

The large simulation is benchmarks/dissent.py; these are small cases of it with fixed seeds.
"""

import numpy as np
import pytest

from rmcheck.checks.bounds import one_sided_bounds
from rmcheck.checks.measurement import Sampling, measure, measure_drop
from rmcheck.checks.verdict import Criterion, decide
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards
from rmcheck.stats.sequential import Looks, Repeated

SAMPLING = Sampling(resamples=2000)
RATIOS = [
    ("bon_drop_ratio", {"n": 2}),
    ("ndr", {"n": 2}),
    ("predicted_regret", {"n": 2}),
    ("predicted_regret", {"n": 64, "predictor": "gaussian"}),
    ("predicted_regret", {"n": 64, "predictor": "ordinal"}),
    ("predicted_regret", {"n": 64, "predictor": "pooled"}),
    ("bo_n", {}),
    ("mrr", {"normalized": True}),
    ("ndcg", {"normalized": True}),
    ("one_vs_many_accuracy", {"normalized": True}),
    ("drop_from_peak", {}),
]


def pairs(prompts, accuracy, seed, size=2):
    """Prompts on which the model ranks as golden, or the other way round."""
    rng = np.random.default_rng([prompts, seed])
    golden = rng.exponential(1, (prompts, size))
    right = rng.random((prompts, 1)) < accuracy
    return Rewards.from_arrays(np.where(right, golden, -golden), golden)


@pytest.mark.parametrize(("name", "settings"), RATIOS)
def test_thirty_prompts_without_an_error_leave_doubt(name, settings):
    """Accuracy on the same prompts has the lower bound .905; no ratio is surer than that."""
    rewards = pairs(30, 1.0, 0, size=5)
    metric = make_metric(name, **settings)
    found = measure(metric, rewards, sampling=SAMPLING).estimate
    worse = found.value - found.lower if metric.direction == "higher" else found.upper - found.value

    assert worse >= 1 - 0.05 ** (1 / 30)


@pytest.mark.parametrize(
    ("prompts", "accuracy"), [(30, 0.95), (50, 0.98), (100, 0.95), (100, 0.99)]
)
def test_the_deciding_bound_of_a_drop_ratio_holds_on_pairs_that_are_seldom_wrong(prompts, accuracy):
    """In 95 % of 120 pools, less two standard errors; the true drop is twice the error rate."""
    metric = make_metric("bon_drop_ratio", n=2)
    held = np.mean(
        [
            measure(metric, pairs(prompts, accuracy, seed), sampling=SAMPLING).estimate.upper
            >= 2 * (1 - accuracy)
            for seed in range(120)
        ]
    )

    assert held >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / 120)


def test_no_look_passes_a_bad_model_for_want_of_an_error():
    """Of 60 pools whose true drop is twice the bound, at most 5 % (+ noise) pass at any look."""
    looks = Looks((0.1, 0.2, 0.4, 0.7, 1.0))
    metric, bound = make_metric("bon_drop_ratio", n=2), 0.03
    passed = 0
    for seed in range(60):
        whole = pairs(300, 0.97, seed)
        golden, proxy = whole.golden.reshape(300, 2), whole.proxy.reshape(300, 2)
        for look, share in enumerate(looks.shares):
            n = int(np.ceil(300 * share))
            found = measure(metric, Rewards.from_arrays(proxy[:n], golden[:n]), sampling=SAMPLING)
            repeated = Repeated(found.distribution, looks, look)
            if one_sided_bounds(repeated, found.estimate.value, 0.95)[1] <= bound:
                passed += 1
                break

    assert passed <= 6


def test_an_upper_bound_is_never_worse_than_what_can_happen():
    """A drop on pairs is 2 at most, with one error in 30 as with 29."""
    for accuracy in (0.97, 0.5, 0.03):
        for seed in range(20):
            found = measure(
                make_metric("bon_drop_ratio", n=2), pairs(30, accuracy, seed), sampling=SAMPLING
            )
            assert found.estimate.upper <= 2 + 1e-9


def test_a_perfect_model_passes_on_enough_prompts():
    """Bounds without dissent shrink with 1 / n: 600 prompts allow a drop ratio of 0.1."""
    found = measure(make_metric("bon_drop_ratio", n=4), pairs(600, 1.0, 0, 5), sampling=SAMPLING)

    assert decide([Criterion("at_most", 0.1)], [found])[0].outcome == "pass"


def test_two_models_without_an_error_may_still_differ():
    """The rule of three on the paired drop of a ratio: twice what accuracy has."""
    first = pairs(100, 1.0, 0)
    golden = first.golden.reshape(100, 2)
    drop = measure_drop(
        make_metric("bon_drop_ratio", n=2),
        Rewards.from_arrays(3 * golden, golden),
        first,
        sampling=SAMPLING,
    ).estimate

    assert drop.upper == pytest.approx(2 * (1 - 0.05 ** (1 / 100)), rel=0.05)


def test_a_model_that_tells_nothing_apart_hides_no_dissent():
    """A constant reward loses exactly all there is to gain, on every prompt."""
    golden = np.random.default_rng(0).normal(size=(40, 4))
    found = measure(
        make_metric("bon_drop_ratio", n=4), Rewards.from_arrays(0 * golden, golden)
    ).estimate

    assert (found.lower, found.value, found.upper) == (1.0, 1.0, 1.0)
