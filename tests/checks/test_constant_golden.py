"""Prompts on which golden is constant say nothing of any model: left out, counted, no obstacle."""

import numpy as np
import pytest

from rmcheck.checks.measurement import Sampling, measure, measure_drop
from rmcheck.checks.shards import measure_shards
from rmcheck.checks.verdict import Criterion, decide
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards

SAMPLING = Sampling(resamples=500)


def golden_of(kind, prompts=200):
    """A verifier's 0 and 1 with rates that differ by prompt, or ratings from 1 to 5."""
    rng = np.random.default_rng(0)
    if kind == "verifier":
        return (rng.random((prompts, 8)) < rng.beta(0.4, 0.4, (prompts, 1))).astype(float)
    spread = rng.normal(size=(prompts, 3)) + rng.normal(size=(prompts, 1))
    return 1.0 + np.digitize(spread, [-1, 0, 1, 2])


@pytest.mark.parametrize("kind", ["verifier", "grades"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("accuracy", {}),
        ("accuracy", {"average": "pairs"}),
        ("kendall", {}),
        ("ndcg", {"normalized": True}),
        ("bo_n", {}),
        ("ndr", {"n": 2}),
    ],
)
def test_a_pool_of_few_golden_values_is_gated(kind, name, settings):
    """A model that ranks as golden passes, one that ranks at random fails; both on what counts."""
    golden = golden_of(kind)
    noise = np.random.default_rng(1).normal(size=golden.shape)
    comparable = int((golden != golden[:, :1]).any(axis=1).sum())
    metric, bound = make_metric(name, **settings), Criterion("at_least", 0.8)
    good, bad = (
        measure(metric, Rewards.from_arrays(proxy, golden), sampling=SAMPLING)
        for proxy in (golden, noise)
    )

    assert comparable < 190
    assert (good.estimate.n, good.constant) == (comparable, 200 - comparable)
    assert decide([bound], [good])[0].outcome == "pass"
    assert decide([bound], [bad])[0].outcome == "fail"


def test_leaving_such_prompts_out_is_measuring_the_others():
    """Value and bounds of the same number of prompts, in shards too."""
    golden = golden_of("verifier")
    proxy = golden + np.random.default_rng(2).normal(size=golden.shape)
    varies = (golden != golden[:, :1]).any(axis=1)
    metric = make_metric("accuracy")
    whole = measure(metric, Rewards.from_arrays(proxy, golden), sampling=SAMPLING)
    part = measure(metric, Rewards.from_arrays(proxy[varies], golden[varies]), sampling=SAMPLING)
    [shards] = measure_shards([metric], [Rewards.from_arrays(proxy, golden)], sampling=SAMPLING)

    assert whole.estimate.value == pytest.approx(part.estimate.value)
    assert (shards.estimate.n, shards.constant) == (whole.estimate.n, whole.constant)
    assert whole.estimate.lower == pytest.approx(part.estimate.lower, abs=0.01)


def test_min_prompts_counts_comparable_prompts():
    """Of 60 prompts 20 tell responses apart: too few, for best-of-n as for accuracy."""
    golden = np.zeros((60, 4))
    golden[:20, 0] = 1
    rewards = Rewards.from_arrays(np.random.default_rng(0).normal(size=golden.shape), golden)
    for metric in (make_metric("accuracy"), make_metric("bon_drop_ratio", n=2)):
        [concern, *_] = measure(metric, rewards, sampling=SAMPLING).estimate.concerns

        assert concern == (
            "20 independent prompts, fewer than 30 (on 40 more the golden rewards are all equal)"
        )


def test_prompts_that_the_model_leaves_undefined_are_a_reason_not_to_decide():
    """More than one in twenty of those that golden tells apart, and the message says whose."""
    golden = np.random.default_rng(0).normal(size=(60, 4))
    golden[:20] = 0
    proxy = golden.copy()
    proxy[15:25] = 0  # on five of these golden is constant too
    found = measure(make_metric("kendall"), Rewards.from_arrays(proxy, golden), sampling=SAMPLING)

    assert found.estimate.n == 40
    assert found.estimate.concerns == (
        "undefined on 5 of 40 prompts (more than 5%), where all rewards of the model are equal",
    )


def test_an_undefined_metric_says_whose_rewards_are_constant():
    """Golden's, or the model's."""
    varied, flat = np.random.default_rng(0).normal(size=(40, 3)), np.zeros((40, 3))

    with pytest.raises(UndefinedMetricError, match="on all 40 prompts the golden rewards are all"):
        measure(make_metric("kendall"), Rewards.from_arrays(varied, flat))
    with pytest.raises(UndefinedMetricError, match="40 prompts the model gives all responses one"):
        measure(make_metric("kendall"), Rewards.from_arrays(flat, varied))


def test_a_pool_of_which_most_prompts_have_too_few_responses_decides_nothing():
    """266 of 400 prompts with one response are said, and not passed over in silence."""
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=1 if i < 266 else 4) for i in range(400)]
    rewards = Rewards.from_arrays(rows, rows)
    metric = make_metric("bon_drop_ratio", n=4)
    found = [measure(metric, rewards, sampling=SAMPLING)]
    found += measure_shards([metric], [rewards], sampling=SAMPLING)
    found += [measure_drop(metric, rewards, rewards, sampling=SAMPLING)]

    for one in found:
        assert one.estimate.concerns[0].startswith("266 of 400 prompts have fewer than 4 responses")
        assert decide([Criterion("at_most", 2.0)], [one])[0].outcome == "inconclusive"
