"""Bounds over shards, case by case, are those of the pool in one piece."""

from dataclasses import dataclass

import numpy as np
import pytest

from rmcheck.checks.measurement import Measurement, Sampling, measure, measure_drop
from rmcheck.checks.shard_totals import ShardTotals, shard_totals
from rmcheck.checks.shards import (
    measure_shards,
    measure_totals,
    sum_shards,
)
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.length_bias import LENGTH
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.ratio import ratio
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards
from rmcheck.metrics.serving import SERVING
from rmcheck.stats.absolute_sum import AbsoluteSum
from rmcheck.stats.bootstrap import BCa
from rmcheck.stats.conformal import Hull
from rmcheck.stats.simultaneous import Largest

QUICK = Sampling(resamples=200, seed=7)
MANY = Sampling(resamples=4000, seed=11)
ACCURACY = make_metric("accuracy")


@dataclass(frozen=True)
class TotalGap(Metric):
    """|mean difference| + |mean product| of proxy and golden: a sum of absolute values."""

    name = "total_gap"
    direction = "lower"
    range = (0.0, np.inf)
    invariances = frozenset()

    def per_prompt(self, proxy, golden):
        """(p, 3): both terms, and 1."""
        gap = (proxy - golden).mean(axis=1)
        return np.stack([gap, (proxy * golden).mean(axis=1), np.ones(len(gap))], axis=-1)

    def terms(self, sums):
        """(…, 2) the two means."""
        return ratio(sums[..., :2], sums[..., 2:])

    def value(self, sums):
        """Their absolute values together."""
        return np.abs(self.terms(sums)).sum(axis=-1)


def drawn(prompts=300, *, seed=0, noise=1.0, golden_seed=0):
    """A noisy proxy on prompts of four responses, with a length for each."""
    golden = np.random.default_rng(golden_seed).normal(size=(prompts, 4))
    rng = np.random.default_rng([seed, 1])
    proxy = golden + noise * rng.normal(size=golden.shape)
    return Rewards.from_arrays(proxy, golden, columns={LENGTH: rng.uniform(1, 99, golden.shape)})


def thirds(rewards: Rewards, sampling=QUICK, metrics=(ACCURACY,)) -> ShardTotals:
    """Totals of every third prompt, added up."""
    shape = (len(rewards), -1)
    shards = [
        Rewards.from_arrays(
            rewards.proxy.reshape(shape)[start::3],
            rewards.golden.reshape(shape)[start::3],
            prompt_ids=rewards.prompt_ids[start::3].tolist(),
            columns={n: v.reshape(shape)[start::3] for n, v in rewards.columns.items()},
        )
        for start in range(3)
    ]
    return sum_shards(shard_totals(metrics, shard, sampling=sampling) for shard in shards)


def bounds(found: Measurement) -> tuple[float, float]:
    """Lower and upper."""
    return found.estimate.lower, found.estimate.upper


def assert_close(found: Measurement, expected: Measurement) -> None:
    """Other resamples of the same prompts: bounds within 12 % of the half width."""
    half = (expected.estimate.upper - expected.estimate.lower) / 2

    assert found.estimate.value == pytest.approx(expected.estimate.value, abs=1e-12)
    assert bounds(found) == pytest.approx(bounds(expected), abs=0.12 * half)


@pytest.mark.parametrize(
    ("metric", "kind"),
    [
        (make_metric("length_bias"), Largest),
        (TotalGap(), AbsoluteSum),
        (ACCURACY, BCa),
        (make_metric("bon_drop_ratio", n=3), Hull),
    ],
    ids=["largest", "absolute-sum", "mean", "ratio"],
)
def test_every_kind_of_bound_is_there(metric, kind):
    """For the largest of several numbers, a sum of absolute values and a ratio."""
    candidate = drawn(noise=1.2)
    found = measure_totals(thirds(candidate, MANY, [metric]))[0]

    assert isinstance(found.distribution, kind)
    assert_close(found, measure(metric, candidate, sampling=MANY))


@pytest.mark.parametrize("metric", ["bon_drop_ratio", "ndr"])
def test_a_ratio_without_an_error_may_have_missed_some(metric):
    """A proxy that loses nothing anywhere, in shards as in one piece."""
    metric = make_metric(metric, n=3)
    rewards = drawn(noise=0.0)
    found = measure_totals(thirds(rewards, QUICK, [metric]))[0]
    expected = measure(metric, rewards, sampling=QUICK)

    assert bounds(found) == pytest.approx(bounds(expected), abs=1e-9)
    assert abs(bounds(found)[1] - bounds(found)[0]) > 0.02


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_unanimous_prompts_may_hide_a_dissenting_one(sign):
    """At an end of the range no resample differs: the rule of three gives the open side."""
    rewards = drawn(noise=0.0)
    rewards = Rewards.from_arrays(
        sign * rewards.proxy.reshape(300, 4), rewards.golden.reshape(300, 4)
    )
    found = measure_totals(thirds(rewards))[0]
    expected = measure(ACCURACY, rewards, sampling=QUICK)

    missed = 1 - 0.05 ** (1 / 300)

    assert bounds(found) == pytest.approx((1 - missed, 1) if sign > 0 else (0, missed))
    assert bounds(found) == pytest.approx(bounds(expected), abs=1e-15)


def test_a_largest_number_on_which_all_prompts_agree_has_the_rule_of_three():
    """A proxy that is the length on every prompt: no resample differs, and one prompt may."""
    length = np.random.default_rng(0).permuted(np.tile([1.0, 2.0, 3.0, 4.0], (300, 1)), axis=1)
    golden = np.random.default_rng(1).normal(size=length.shape)
    rewards = Rewards.from_arrays(length, golden, columns={LENGTH: length})
    found = measure_totals(thirds(rewards, metrics=[make_metric("length_bias")]))[0]

    assert bounds(found) == pytest.approx((0.05 ** (1 / 300), 1.0))


def test_statements_about_the_rows_are_exact_in_shards_too():
    """Few prompts are no concern there, and the bounds are the value."""
    ours = np.random.default_rng(0).normal(size=(9, 4))
    theirs = ours.copy()
    theirs[0] *= -1
    rewards = Rewards.from_arrays(ours, ours, columns={SERVING: theirs})
    metric = make_metric("rank_flips")
    found = measure_totals(thirds(rewards, metrics=[metric]))[0]

    assert found.estimate == measure(metric, rewards, sampling=QUICK).estimate
    assert found.exact
    assert bounds(found) == (6 / 54, 6 / 54)
    assert not found.estimate.concerns


def test_a_resample_without_a_value_is_left_out():
    """Two prompts of 300 tell responses apart; where neither is drawn there is no accuracy."""
    golden = np.zeros((300, 4))
    golden[:2] = [0, 1, 2, 3]
    proxy = np.random.default_rng(0).normal(size=golden.shape)
    found = measure_totals(thirds(Rewards.from_arrays(proxy, golden)))[0]

    assert np.isfinite(bounds(found)).all()
    assert found.estimate.concerns[0] == (
        "2 independent prompts, fewer than 30 (on 298 more the golden rewards are all equal)"
    )


def test_a_concern_about_the_baseline_is_one_about_the_drop():
    """A drop from a number that is not to be trusted is not to be trusted."""
    rng = np.random.default_rng(0)
    golden, proxy, flat = rng.normal(size=(3, 300, 4))
    flat[:100] = 0
    candidate, baseline = (Rewards.from_arrays(p, golden) for p in (proxy, flat))
    found = measure_drop(make_metric("kendall"), candidate, baseline, sampling=QUICK)

    assert any("undefined on 100 of 300 prompts" in c for c in found.estimate.concerns)


@pytest.mark.parametrize("backwards", [False, True])
def test_shards_of_too_few_responses_say_nothing_of_n(backwards):
    """Prompts that cannot take part are left out, wherever they come; N of the rest is equal."""
    metric = next(
        m for m in (make_metric("mrr"), make_metric("xi", normalized=False)) if m.depends_on_n
    )
    single = Rewards.from_arrays([[1.0]], [[1.0]], prompt_ids=["alone"])
    shards = [drawn(40), single][:: -1 if backwards else 1]
    found = measure_shards([metric], shards, sampling=QUICK)[0]

    assert (found.estimate.n, found.left_out) == (40, 1)
    assert found.estimate.value == pytest.approx(
        measure(metric, drawn(40), sampling=QUICK).estimate.value
    )


# -- refusals --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Local(TotalGap):
    """Fixes something on the prompts that are measured."""

    name = "local"

    def localised(self, rewards, mask):
        """Nothing, in truth."""
        return self


def test_metrics_that_must_see_the_slice_first_are_refused():
    """A shard has not all prompts of the slice."""
    with pytest.raises(UndefinedMetricError, match="local fixes something on the whole pool"):
        shard_totals([Local()], drawn(9))


def test_an_undefined_value_is_refused():
    """Golden that tells no responses apart gives no accuracy, in shards as in one piece."""
    flat = Rewards.from_arrays(np.zeros((9, 4)), np.zeros((9, 4)))

    with pytest.raises(UndefinedMetricError, match="accuracy is undefined: on all 9 prompts"):
        measure_totals(thirds(flat))


def test_a_prompt_that_is_twice_in_a_shard_is_refused():
    """A unit's weights follow from its name, so a name stands for one prompt."""
    twice = Rewards.from_arrays(np.eye(2), np.eye(2), prompt_ids=["a", "a"])

    with pytest.raises(UndefinedMetricError, match="prompt 'a' is twice in one shard"):
        shard_totals([ACCURACY], twice)


@pytest.mark.parametrize("asked", [{"cluster": "chat"}, {"where": {"chat": "x"}}])
def test_columns_that_are_not_there_are_refused(asked):
    """Says which columns there are."""
    rewards = Rewards.from_arrays(np.eye(2), np.eye(2), slices={"kind": ["code", "maths"]})

    with pytest.raises(UndefinedMetricError, match=r"no slice.*'chat'.*kind"):
        shard_totals([ACCURACY], rewards, **asked)


def test_totals_of_other_metrics_are_not_added():
    """A total is that of one metric, on one slice."""
    kinds = {"kind": ["code"] * 9}
    rewards = Rewards.from_arrays(np.eye(9), np.eye(9), slices=kinds)
    accuracy, xi, code = (
        shard_totals([metric], rewards, where=where, sampling=QUICK)
        for metric, where in ((ACCURACY, {}), (make_metric("xi"), {}), (ACCURACY, kinds))
    )

    with pytest.raises(UndefinedMetricError, match="totals of other metrics"):
        accuracy + xi
    with pytest.raises(UndefinedMetricError, match="totals of other slices"):
        accuracy + code
