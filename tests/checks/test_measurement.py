"""A metric on rewards: slices, clusters, paired drops, and what keeps a number from deciding."""

import numpy as np
import pytest

from rmcheck import BoundMetric, Rewards, Sampling, make_metric, measure, measure_drop
from rmcheck.checks.measurement import measured, pending
from rmcheck.checks.verdict import Criterion, decide
from rmcheck.errors import BaselineError, UndefinedMetricError, UsageError

SAMPLING = Sampling(resamples=1000)


def world(prompts=80, responses=6, noise=0.7, seed=0, **kwargs):
    """A noisy proxy of a normal golden reward."""
    rng = np.random.default_rng(seed)
    golden = rng.normal(size=(prompts, responses))
    proxy = golden + noise * rng.normal(size=golden.shape)
    slices = {"category": [("code", "chat")[i % 2] for i in range(prompts)]}
    return Rewards.from_arrays(proxy, golden, slices=slices, **kwargs)


def with_proxy(rewards, proxy):
    """The same prompts, scored by another model."""
    return Rewards.from_arrays(
        np.split(proxy, rewards.offsets[1:-1]),
        np.split(rewards.golden, rewards.offsets[1:-1]),
        slices=rewards.slices,
    )


def test_the_value_lies_between_its_bounds_and_n_counts_prompts():
    """The plainest case."""
    found = measure(make_metric("accuracy"), world(), sampling=SAMPLING).estimate

    assert found.lower < found.value < found.upper
    assert found.n == 80
    assert found.concerns == ()


def test_a_slice_is_measured_on_its_own_prompts_only():
    """The value equals that of a pool which holds only the slice."""
    rewards = world()
    part = np.flatnonzero(rewards.slices["category"] == "code")
    alone = Rewards.from_arrays(
        [np.split(rewards.proxy, rewards.offsets[1:-1])[i] for i in part],
        [np.split(rewards.golden, rewards.offsets[1:-1])[i] for i in part],
    )

    inside = measure(make_metric("accuracy"), rewards, where={"category": "code"}).estimate

    assert inside.value == pytest.approx(measure(make_metric("accuracy"), alone).estimate.value)
    assert inside.n == 40


def test_slices_share_the_sums_of_the_pool_and_are_resampled_by_their_own_units(monkeypatch):
    """A metric is computed once for all slices; a bound is the same whatever stands beside it."""
    rewards, metric = world(), make_metric("accuracy")
    slices = [{"category": "code"}, {"category": "chat"}, {}]
    alone = [measure(metric, rewards, where=where, sampling=SAMPLING) for where in slices]
    calls, sums = [], type(metric).per_prompt

    def counted(self, proxy, golden):
        calls.append(len(proxy))
        return sums(self, proxy, golden)

    monkeypatch.setattr(type(metric), "per_prompt", counted)
    fresh = world()
    together = measured(
        [pending(metric, fresh, where=where, sampling=SAMPLING) for where in slices]
    )

    assert calls == [80]
    assert [m.estimate for m in together] == [m.estimate for m in alone]


@pytest.mark.parametrize(
    ("where", "said"), [({"topic": "x"}, "no slice 'topic'"), ({"category": "x"}, "category='x'")]
)
def test_a_slice_without_prompts_is_an_error(where, said):
    """A check that matched no data never passes."""
    with pytest.raises(UndefinedMetricError, match=said):
        measure(make_metric("accuracy"), world(), where=where)


def test_repeating_a_pool_does_not_make_it_surer_when_clusters_say_so():
    """Each prompt three times in one cluster: same n, and bounds as wide as before."""
    once = world()
    rows = [np.split(x, once.offsets[1:-1]) * 3 for x in (once.proxy, once.golden)]
    thrice = Rewards.from_arrays(*rows, clusters=list(range(80)) * 3)

    first = measure(make_metric("accuracy"), once, sampling=SAMPLING).estimate
    again = measure(make_metric("accuracy"), thrice, sampling=SAMPLING).estimate

    assert again.n == first.n
    assert [again.value, again.lower, again.upper] == pytest.approx(
        [first.value, first.lower, first.upper], abs=1e-9
    )


def test_a_model_compared_with_itself_has_not_dropped_at_all():
    """Identical rewards: the drop is exactly 0, with no doubt left."""
    drop = measure_drop(make_metric("accuracy"), world(), world(), sampling=SAMPLING).estimate

    assert (drop.value, drop.lower, drop.upper) == (0.0, 0.0, 0.0)
    assert f"{drop.value} {drop.lower} {drop.upper}" == "0.0 0.0 0.0"  # and no -0.0


def test_equal_verdicts_of_different_models_leave_the_doubt_of_the_sample_size():
    """No prompt differs, but one in n might have: the rule of three on the difference."""
    rewards = world()
    scaled = with_proxy(rewards, 2 * rewards.proxy)

    drop = measure_drop(make_metric("accuracy"), scaled, rewards, sampling=SAMPLING).estimate

    assert drop.value == 0
    assert drop.upper == pytest.approx(1 - 0.05 ** (1 / 80))


@pytest.mark.parametrize("name", ["accuracy", "bon_drop_ratio"])
def test_a_worse_model_has_a_positive_drop_whatever_the_direction(name):
    """Accuracy falls and the drop ratio rises; both are drops."""
    settings = {"n": 4} if name == "bon_drop_ratio" else {}
    good = world(noise=0.3)
    noise = np.random.default_rng(9).normal(size=good.proxy.size)
    bad = with_proxy(good, good.proxy + 2 * noise)

    drop = measure_drop(make_metric(name, **settings), bad, good, sampling=SAMPLING).estimate

    assert 0 < drop.lower < drop.value < drop.upper


def test_pairing_makes_the_drop_surer_than_two_separate_intervals():
    """What both models find hard cancels."""
    good = world(prompts=300, noise=0.7)
    small = 0.05 * np.random.default_rng(4).normal(size=good.proxy.size)
    near = with_proxy(good, good.proxy + small)

    drop = measure_drop(make_metric("accuracy"), near, good, sampling=SAMPLING).estimate
    alone = measure(make_metric("accuracy"), good, sampling=SAMPLING).estimate

    assert drop.upper - drop.lower < 0.5 * (alone.upper - alone.lower)


def test_too_few_prompts_are_a_concern():
    """Fewer independent prompts than asked for decide nothing."""
    found = measure(make_metric("accuracy"), world(prompts=29)).estimate

    assert found.concerns == ("29 independent prompts, fewer than 30",)


def test_a_golden_gain_near_zero_is_a_concern_and_never_a_number_to_trust():
    """Golden that hardly differs inside prompts leaves the drop ratio undecidable."""
    rng = np.random.default_rng(0)
    golden = 1e-3 * rng.normal(size=(60, 6))
    golden[0] = rng.normal(size=6)
    rewards = Rewards.from_arrays(rng.normal(size=(60, 6)), golden)

    found = measure(make_metric("bon_drop_ratio", n=4), rewards, sampling=SAMPLING).estimate

    assert any("golden gain" in concern for concern in found.concerns)


def test_constant_golden_is_an_error_that_says_so():
    """No value means no value: it raises instead of returning one."""
    rewards = Rewards.from_arrays(np.random.default_rng(0).normal(size=(40, 5)), np.zeros((40, 5)))

    with pytest.raises(UndefinedMetricError, match="accuracy is undefined"):
        measure(make_metric("accuracy"), rewards)


def test_the_same_seed_gives_the_same_bounds_and_zero_is_a_seed():
    """Nothing depends on the process or on what was measured before."""
    metric = make_metric("bon_drop_ratio", n=4)
    first = measure(metric, world(), sampling=Sampling(seed=0)).estimate
    measure(make_metric("xi"), world(seed=5), sampling=Sampling(seed=3))

    assert measure(metric, world(), sampling=Sampling(seed=0)).estimate == first
    assert measure(metric, world(), sampling=Sampling(seed=1)).estimate != first


def test_a_bound_metric_is_computed_where_and_as_asked():
    """`.at` and `.where` give new metrics; the first stays as it was."""
    accuracy = BoundMetric("accuracy", world(), SAMPLING)

    strict = accuracy.at(ties="wrong").where(category="code")

    assert strict.n == 40
    assert accuracy.n == 80
    assert repr(accuracy).startswith("<accuracy: Estimate(0.")


def test_a_bound_metric_says_what_it_lacks():
    """No baseline for a drop; a setting that must be given; and its repr never raises."""
    with pytest.raises(BaselineError, match="--rmcheck-baseline"):
        BoundMetric("accuracy", world(), SAMPLING).drop()
    with pytest.raises(UsageError, match="n"):
        _ = BoundMetric("predicted_regret", world(), SAMPLING).value
    assert "predicted_regret" in repr(BoundMetric("predicted_regret", world(), SAMPLING))


@pytest.mark.parametrize("prompts", [50, 150])
def test_a_drop_of_calibration_error_has_bounds_on_both_sides_of_none(prompts):
    """Of 120 pairs of equally calibrated models at least 93 % have no drop inside both bounds."""
    held = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        golden = rng.standard_normal((prompts, 5))
        shared = rng.standard_normal(golden.shape)
        proxies = (golden + 0.7 * (shared + rng.standard_normal(golden.shape)) for _ in range(2))
        candidate, baseline = (Rewards.from_arrays(proxy, golden) for proxy in proxies)
        sampling = Sampling(resamples=400, seed=seed)
        found = measure_drop(make_metric("ece"), candidate, baseline, sampling=sampling).estimate
        held.append((found.lower <= 0, found.upper >= 0))

    assert (np.mean(held, axis=0) >= 0.93).all()


@pytest.mark.parametrize("bound", [0.4, 0.5])
def test_a_constant_model_passes_nothing(bound):
    """Ties count one half, so it is as good as chance; a bound there is not for a dead head."""
    golden = np.random.default_rng(0).normal(size=(40, 8))
    found = measure(make_metric("accuracy"), Rewards.from_arrays(np.zeros_like(golden), golden))
    [verdict] = decide([Criterion("at_least", bound)], [found])

    assert verdict.outcome == "inconclusive"
    assert "the model gives all responses of a prompt one reward" in verdict.reason


@pytest.mark.parametrize("name", ["ece", "drop_from_peak", "tail_excess"])
def test_a_constant_model_is_not_decided_on_by_what_it_cannot_fail(name):
    """Its calibration error and its fall from a peak are 0, which says nothing good of it."""
    golden = np.random.default_rng(0).normal(size=(40, 8))
    rewards = Rewards.from_arrays(np.zeros_like(golden), golden)
    metric = make_metric(name, **({"n": 4} if name == "tail_excess" else {}))
    found = measure(metric, rewards, sampling=Sampling(resamples=200))
    [verdict] = decide([Criterion("at_most", 0.5)], [found])

    assert verdict.outcome == "inconclusive"
    assert f"{name} cannot tell that from a good model" in verdict.reason
