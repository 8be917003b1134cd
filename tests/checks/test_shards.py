"""A metric over shards is that of the pool in one piece, however the pool is cut."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmcheck.checks import shard_totals as totals_module
from rmcheck.checks.measurement import Sampling, measure
from rmcheck.checks.shard_totals import ShardTotals, shard_totals
from rmcheck.checks.shards import (
    measure_shards,
    measure_totals,
    sum_shards,
)
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.best_of_n import NDR
from rmcheck.metrics.ratio import PromptMeanMetric
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards

METRICS = (
    make_metric("accuracy"),
    make_metric("ndr", n=2),
    make_metric("kendall"),
    make_metric("xi", normalized=True),
    make_metric("pearson"),
)
QUICK = Sampling(resamples=200, seed=7)


def pool(prompts: int, *, seed: int = 0, noise: float = 0.8) -> Rewards:
    """A noisy proxy on prompts of three to six responses, in two categories."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 7, prompts)
    golden = [rng.normal(size=n) for n in sizes]
    proxy = [g + noise * rng.normal(size=g.size) for g in golden]
    return Rewards.from_arrays(
        proxy,
        golden,
        prompt_ids=[f"p{i}" for i in range(prompts)],
        slices={"category": ["code" if i % 3 else "maths" for i in range(prompts)]},
    )


def part(rewards: Rewards, rows: np.ndarray) -> Rewards:
    """Some prompts of a pool, in the order given."""
    spans = [slice(rewards.offsets[i], rewards.offsets[i + 1]) for i in rows]
    return Rewards.from_arrays(
        [rewards.proxy[s] for s in spans],
        [rewards.golden[s] for s in spans],
        prompt_ids=[str(rewards.prompt_ids[i]) for i in rows],
        slices={name: values[rows] for name, values in rewards.slices.items()},
    )


def cut(rewards: Rewards, pieces: int, seed: int) -> list[Rewards]:
    """The prompts in random order, in some shards of random sizes, none empty."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rewards))
    ends = np.sort(rng.choice(np.arange(1, len(rewards)), pieces - 1, replace=False))
    return [part(rewards, rows) for rows in np.split(order, ends)]


# -- laws ------------------------------------------------------------------------------------


@given(pieces=st.integers(1, 12), seed=st.integers(0, 10**6))
@settings(max_examples=25)
def test_the_cut_does_not_matter(pieces, seed):
    """Value, bounds and n are the same however the pool is cut and ordered."""
    rewards = pool(60)
    whole = measure_shards(METRICS, [rewards], sampling=QUICK)
    shards = measure_shards(METRICS, cut(rewards, pieces, seed), sampling=QUICK)
    for first, second in zip(whole, shards, strict=True):
        a, b = first.estimate, second.estimate

        assert (b.value, b.lower, b.upper) == pytest.approx((a.value, a.lower, a.upper), rel=1e-6)
        assert (a.n, a.concerns, first.left_out) == (b.n, b.concerns, second.left_out)


@given(pieces=st.integers(1, 12), seed=st.integers(0, 10**6))
@settings(max_examples=25)
def test_the_value_is_that_of_the_pool_in_one_piece(pieces, seed):
    """To 1e-12, for every metric, and so are the facts shown under a check."""
    rewards = pool(60, seed=seed)
    found = measure_shards(METRICS, cut(rewards, pieces, seed), sampling=QUICK)
    for metric, measurement in zip(METRICS, found, strict=True):
        whole = measure(metric, rewards, sampling=QUICK)

        assert measurement.estimate.value == pytest.approx(whole.estimate.value, abs=1e-12)
        assert measurement.facts == pytest.approx(whole.facts, abs=1e-12)
        assert measurement.signature == whole.signature


def test_totals_add_in_any_order():
    """Workers may be merged as they come: (a + b) + c = c + (a + b)."""
    a, b, c = (shard_totals(METRICS, s, sampling=QUICK) for s in cut(pool(60), 3, seed=1))

    def values(totals: ShardTotals) -> list[float]:
        return [m.estimate.lower for m in measure_totals(totals)]

    assert values((a + b) + c) == pytest.approx(values(c + (a + b)), rel=1e-6)
    assert values((a + b) + c) == pytest.approx(values(a + (c + b)), rel=1e-6)


@pytest.mark.parametrize("groups", [40, 59, 60])
def test_many_units_are_added_up_in_groups(monkeypatch, groups):
    """However the pool is cut: rows are those of groups as soon as there are more units."""
    monkeypatch.setattr(totals_module, "COLUMNS", groups)
    shards = [cut(pool(60), pieces, seed=pieces) for pieces in (1, 3, 20)]
    found = [
        sum_shards(shard_totals(METRICS, s, sampling=QUICK) for s in several) for several in shards
    ]
    lower = [[m.estimate.lower for m in measure_totals(totals)] for totals in found]

    assert {len(totals.found[0].rows) for totals in found} == {groups}
    assert lower[1] == pytest.approx(lower[0], rel=1e-6)
    assert lower[2] == pytest.approx(lower[0], rel=1e-6)
    assert [m.estimate.n for m in measure_totals(found[2])] == [60] * len(METRICS)


# -- against the ordinary bootstrap ----------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_bounds_are_those_of_the_ordinary_bootstrap(metric):
    """300 prompts, 8,000 resamples: bounds differ by less than 9 % of the interval's half width,
    three times the Monte-Carlo error of their difference.
    """  # noqa: D205
    rewards, sampling = pool(300), Sampling(resamples=8000, seed=11)
    ordinary = measure(metric, rewards, sampling=sampling).estimate
    sharded = measure_shards([metric], cut(rewards, 7, seed=2), sampling=sampling)[0].estimate
    half = (ordinary.upper - ordinary.lower) / 2

    assert abs(sharded.lower - ordinary.lower) < 0.09 * half
    assert abs(sharded.upper - ordinary.upper) < 0.09 * half


def test_lower_bounds_cover():
    """Accuracy on 400 pools of 60 prompts: the true value is below the 95 % lower bound in 5 %,
    within 3.3 points (3 standard errors).
    """  # noqa: D205
    truth = measure(METRICS[0], pool(100_000, seed=10**7), sampling=Sampling(resamples=2))
    missed = [
        truth.estimate.value
        < measure_shards(METRICS[:1], [pool(60, seed=s)], sampling=Sampling(resamples=300))[
            0
        ].estimate.lower
        for s in range(400)
    ]

    assert abs(np.mean(missed) - 0.05) < 0.033


# -- what is left out, and what is a concern -------------------------------------------------


def test_a_slice_may_be_missing_in_a_shard():
    """Shards without any prompt of the slice, or with too few responses, add nothing."""
    rewards, where = pool(90), {"category": "code"}
    code = np.flatnonzero(rewards.slices["category"] == "code")
    maths = np.flatnonzero(rewards.slices["category"] == "maths")
    single = Rewards.from_arrays([[1.0]], [[2.0]], prompt_ids=["s"], slices={"category": ["code"]})
    shards = [part(rewards, maths), single, part(rewards, code)]
    found = measure_shards(METRICS[:1], shards, where=where, sampling=QUICK)[0]
    expected = measure(METRICS[0], rewards, where=where, sampling=QUICK)

    assert found.estimate.value == pytest.approx(expected.estimate.value, abs=1e-12)
    assert (found.estimate.n, found.left_out) == (60, 1)


def test_a_cluster_is_resampled_as_one():
    """Prompts of one conversation count as one unit, named by a slice column."""
    rewards = pool(90)
    names = np.asarray([f"c{i // 3}" for i in range(90)])
    clustered = Rewards(
        rewards.proxy,
        rewards.golden,
        rewards.offsets,
        rewards.prompt_ids,
        np.repeat(np.arange(30), 3),
        {"conversation": names},
    )
    found = measure_shards(METRICS[:1], [clustered], sampling=QUICK, cluster="conversation")[0]

    assert found.estimate.n == 30
    with pytest.raises(UndefinedMetricError, match="cluster=COLUMN"):
        shard_totals(METRICS, clustered)


def test_golden_gain_near_zero_is_a_concern():
    """The same words, with the same number of standard errors, as on the pool in one piece."""
    rng = np.random.default_rng(0)
    rewards = Rewards.from_arrays(rng.normal(size=(300, 4)), np.zeros((300, 4)))
    golden = rewards.golden.copy()
    golden[:8] = [0, 1, 0, 0, 1, 0, 0, 0]
    rewards = Rewards.from_arrays(rewards.proxy.reshape(300, 4), golden.reshape(300, 4))
    found = measure_shards([NDR(n=2)], cut(rewards, 3, seed=0), sampling=QUICK)[0].estimate
    expected = measure(NDR(n=2), rewards, sampling=QUICK).estimate

    assert expected.concerns
    assert found.concerns == expected.concerns


def test_few_prompts_are_a_concern():
    """Below the least number of prompts."""
    found = measure_shards(METRICS[:1], [pool(20)], sampling=QUICK)[0]

    assert found.estimate.concerns == ("20 independent prompts, fewer than 30",)


# -- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ece", "gamma", "reward_variance"])
def test_metrics_that_must_see_the_pool_first_are_refused(name):
    """Bin edges and the like are no sums: says so, and what instead."""
    with pytest.raises(UndefinedMetricError, match=f"{name} fixes something on the whole pool"):
        shard_totals([make_metric(name)], pool(10))


@dataclass(frozen=True)
class Watchful(PromptMeanMetric):
    """A metric of somebody else's that looks at every prompt before it may be decided on."""

    name = "watchful"
    range = (0.0, 1.0)
    invariances = frozenset()

    def prompt_values(self, proxy, golden):
        """The first reward."""
        return proxy[:, 0]

    def concerns(self, sums):
        """Names what is largest."""
        return (f"{len(sums)} prompts, at most {sums[:, 0].max():.9g}",)


def test_concerns_of_a_metric_see_every_prompt():
    """As those of the pool in one piece do."""
    found = measure_shards([Watchful()], cut(pool(60), 4, seed=0), sampling=QUICK)[0]

    assert found.estimate.concerns == measure(Watchful(), pool(60)).estimate.concerns


def test_a_shard_that_is_added_twice_is_refused():
    """No prompt counts twice."""
    totals = shard_totals(METRICS, pool(10), sampling=QUICK)
    with pytest.raises(UndefinedMetricError, match="10 prompts are in two shards"):
        totals + totals


def test_totals_of_other_resamples_do_not_add():
    """Another seed means other weights."""
    first = shard_totals(METRICS, pool(10), sampling=QUICK)
    second = shard_totals(METRICS, pool(10), sampling=Sampling(resamples=200, seed=8))
    with pytest.raises(UndefinedMetricError, match="totals of other sampling"):
        first + second


def test_shards_of_different_n_are_refused_where_it_matters():
    """As the pool in one piece would be, though each shard alone has equal N."""
    rng = np.random.default_rng(0)
    shards = [
        Rewards.from_arrays(
            rng.normal(size=(40, n)),
            rng.normal(size=(40, n)),
            prompt_ids=[f"{n}-{i}" for i in range(40)],
        )
        for n in (4, 16)
    ]
    depending = next(
        m for m in (make_metric("mrr"), make_metric("xi", normalized=False)) if m.depends_on_n
    )
    with pytest.raises(UndefinedMetricError, match="the shards have 4 to 16 a prompt"):
        measure_shards([depending], shards, sampling=QUICK)


def test_no_shard_is_an_error():
    """Nothing measured is nothing passed."""
    with pytest.raises(UndefinedMetricError, match="there is no shard"):
        measure_shards(METRICS, [])


def test_nothing_that_matches_is_an_error():
    """Every shard may lack the slice, but not all of them."""
    with pytest.raises(UndefinedMetricError, match="no prompt of any shard matches"):
        measure_shards(METRICS, [pool(9)], where={"category": "poems"}, sampling=QUICK)
