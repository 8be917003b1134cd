"""All responses are scored and a few are labelled: no shape of the proxy's errors is assumed."""

from dataclasses import replace

import numpy as np
import pytest
from test_golden_gain import grades, verifier
from worlds import partly_labelled, world

from rmcheck.checks.measurement import Sampling, measure, measure_drop
from rmcheck.errors import UndefinedMetricError
from rmcheck.lab.sampling.drawing import draw_at_random, draw_by_weight
from rmcheck.metrics.best_of_n import BonDropRatio, best_of_n_gains
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.regret.predicted_regret import PredictedRegret
from rmcheck.metrics.regret.weighted import WeightedDrop
from rmcheck.metrics.rewards import Rewards

FAST = Sampling(resamples=300)


def drawn(proxy, golden, rng, *, labels=5, at=None):
    """Rewards of all responses and of the labels that are drawn, at random or for best of `at`."""
    size = proxy.shape[1]
    marks = [
        draw_at_random(size, labels, rng) if at is None else draw_by_weight(row, (at,), labels, rng)
        for row in proxy
    ]
    known = np.array([m.to_label for m in marks])
    random = np.array([m.random for m in marks])[known].astype(float)
    rewards = partly_labelled(
        proxy, np.where(known, golden, np.nan), inclusion=[m.inclusion for m in marks]
    )
    return rewards if at is None else replace(rewards, columns={"random": random})


def blind(prompts, size, rng, *, share=0.5, spread=2.0):
    """A proxy that is good where it spreads, and blind where it is unsure."""
    golden = rng.standard_normal((prompts, size))
    good = 0.95 * golden + np.sqrt(1 - 0.95**2) * rng.standard_normal(golden.shape)
    unsure = rng.random((prompts, 1)) < share
    return np.where(unsure, rng.standard_normal(golden.shape), spread * good), golden


def one_hacked(prompts, size, rng):
    """A good proxy that one answer to each prompt fools."""
    golden = rng.standard_normal((prompts, size))
    proxy = golden + 0.4 * rng.standard_normal(golden.shape)
    proxy[:, 0] = proxy.max(axis=1) + 1
    return proxy, golden


def truth(proxy, golden, n):
    """The drop ratio on all responses."""
    gains = best_of_n_gains(proxy, golden, n).sum(axis=0)
    return 1 - gains[0] / gains[1]


@pytest.mark.parametrize("at", [None, 16], ids=["at random", "by weight"])
@pytest.mark.parametrize("make", [blind, one_hacked])
def test_the_proxy_s_gain_is_unbiased_for_any_shape(make, at):
    """Over 100 draws of labels of the same pool the mean is the gain on all, to sampling error."""
    rng = np.random.default_rng(0)
    proxy, golden = make(60, 32, rng)
    expected = best_of_n_gains(proxy, golden, 16)[:, 0].mean()

    found = [
        WeightedDrop(16).fitted(drawn(proxy, golden, rng, at=at)).sums[:, 0].mean()
        for _ in range(100)
    ]

    assert abs(np.mean(found) - expected) < 3.5 * np.std(found) / np.sqrt(100)


def test_labels_by_weight_tell_the_gain_more_exactly():
    """Five labels of which two follow the weights have less than two thirds of the error."""
    rng = np.random.default_rng(1)
    proxy, golden = one_hacked(60, 32, rng)

    def spread(at):
        pools = (drawn(proxy, golden, rng, at=at) for _ in range(60))
        return np.std([WeightedDrop(32).fitted(pool).sums[:, 0].mean() for pool in pools])

    assert spread(32) < 0.67 * spread(None)


def bounds(make, n, *, pools=20, prompts=150, size=64):
    """(pools, 3): value and upper bound, and the truth on the same prompts."""
    rng = np.random.default_rng(2)
    out = []
    for _ in range(pools):
        proxy, golden = make(prompts, size, rng)
        found = measure(WeightedDrop(n), drawn(proxy, golden, rng), sampling=FAST).estimate
        out.append((found.value, found.upper, truth(proxy, golden, n)))
    return np.array(out)


def good_grades(prompts, size, rng):
    """Golden of five grades, and a good proxy of what is behind them."""
    golden = grades(prompts, size, rng)
    return golden + 0.6 * rng.standard_normal(golden.shape), golden


def good_verifier(prompts, size, rng):
    """Golden of right and wrong, and a good proxy."""
    golden = verifier(prompts, size, rng)
    return golden + 0.5 * rng.standard_normal(golden.shape), golden


@pytest.mark.parametrize(
    ("make", "n"),
    [(blind, 16), (one_hacked, 16), (good_grades, 16), (good_verifier, 16)],
)
def test_worlds_that_few_labels_alone_mistake_are_covered(make, n):
    """Blind where unsure, one hacked answer, a highest grade: right in the mean, and bounded."""
    value, upper, true = bounds(make, n).T

    assert value.mean() == pytest.approx(true.mean(), abs=0.05)
    assert (upper >= true).mean() >= 0.85


@pytest.mark.parametrize("kind", ["scales", "hacked"])
def test_other_worlds_are_covered_too(kind):
    """Unlike scales and hacked answers."""
    found = bounds(lambda p, size, rng: world(kind, p, size, int(rng.integers(1e9))), 32)
    value, upper, true = found.T

    assert value.mean() == pytest.approx(true.mean(), abs=0.06)
    assert (upper >= true).mean() >= 0.85


def rarely_fooled(prompts, size, rng):
    """A proxy that agrees with golden, but puts the worst first on one prompt of twelve."""
    golden = rng.standard_normal((prompts, size))
    proxy = golden + 0.1 * rng.standard_normal(golden.shape)
    fooled = np.flatnonzero(rng.random(prompts) < 1 / 12)
    proxy[fooled, golden[fooled].argmin(axis=1)] = proxy.max() + 1
    return proxy, golden


def test_few_labels_behind_the_best_may_have_missed_what_fools_the_proxy():
    """Of 200 prompts some 16 have a label on the best of 64; the bound allows for the others."""
    _, upper, true = bounds(rarely_fooled, 64, prompts=200).T

    assert (upper >= true).mean() >= 0.9


def test_all_labels_are_a_measurement():
    """Where every response is labelled its bounds are about the measured drop ratio."""
    proxy, golden = one_hacked(40, 8, np.random.default_rng(3))
    pool = partly_labelled(proxy, golden)
    metric = WeightedDrop(8).fitted(pool)
    total = per_prompt_sums(metric, pool)[0].sum(axis=0)

    measured = BonDropRatio(n=8)
    sums, _ = per_prompt_sums(measured, pool)

    assert [float(view.value(total)) for view in metric.bounded_by()] == pytest.approx(
        [float(measured.value(sums.sum(axis=0)))] * 2
    )


def test_where_labels_say_little_the_value_is_that_at_two():
    """A drop that differs from the one at n = 2 by no more than its error is that one."""
    rng = np.random.default_rng(4)
    proxy, golden = world("gaussian", 40, 64, seed=5)
    pool = drawn(proxy, golden, rng)

    found = measure(WeightedDrop(32), pool, sampling=FAST).estimate
    plain = measure(BonDropRatio(n=2), pool, sampling=FAST).estimate

    assert abs(found.value - plain.value) < 0.1
    assert found.lower < plain.value < found.upper


def test_against_a_baseline_golden_s_own_gain_cancels():
    """The bounds of a drop between two models that share their errors are narrower."""
    rng = np.random.default_rng(6)
    golden = rng.standard_normal((400, 32))
    noise = 0.5 * rng.standard_normal(golden.shape)
    first = drawn(golden + noise, golden, np.random.default_rng(7))
    second = drawn(golden + 1.1 * noise, golden, np.random.default_rng(7))

    own = measure(WeightedDrop(8), first, sampling=FAST).estimate
    drop = measure_drop(WeightedDrop(8), first, second, sampling=FAST).estimate
    none = measure_drop(WeightedDrop(8), first, first, sampling=FAST).estimate

    assert drop.upper - drop.lower < 0.75 * (own.upper - own.lower)
    assert (none.value, none.lower, none.upper) == (0, 0, 0)


def test_labels_that_are_not_random_are_noticed():
    """Labels of the best-ranked responses alone, said to be random, decide nothing."""
    proxy, golden = world("gaussian", 100, 32, seed=8)
    best = np.argsort(np.argsort(proxy, axis=1), axis=1) >= 20
    rng = np.random.default_rng(9)
    known = np.zeros_like(best)
    for i, row in enumerate(best):
        known[i, rng.choice(np.flatnonzero(row), 5, replace=False)] = True

    found = measure(WeightedDrop(8), partly_labelled(proxy, np.where(known, golden, np.nan)))

    assert "labelled responses rank higher" in " ".join(found.estimate.concerns)


def test_too_few_labels_behind_the_best_decide_nothing():
    """Three labels of 256 responses hold the best of 256 of hardly any prompt."""
    proxy, golden = world("gaussian", 100, 256, seed=10)
    pool = drawn(proxy, golden, np.random.default_rng(11), labels=3)

    found = measure(WeightedDrop(256), pool, sampling=FAST)

    assert "stand behind the best of 256, fewer than 15" in " ".join(found.estimate.concerns)
    assert "--design weighted" in " ".join(found.estimate.concerns)


def test_a_slice_is_measured_by_its_own_labels():
    """On a slice it is what it would be on a pool of the slice."""
    proxy, golden = world("heavy", 200, 16, seed=12)
    known = np.where(np.random.default_rng(13).random(golden.shape) < 0.4, golden, np.nan)
    known[:, :2] = golden[:, :2]
    slices = {"half": ["a"] * 100 + ["b"] * 100}
    whole = partly_labelled(proxy, known, slices=slices)
    part = partly_labelled(proxy[:100], known[:100])

    found = measure(WeightedDrop(8), whole, where={"half": "a"}, sampling=FAST).estimate.value

    assert found == pytest.approx(measure(WeightedDrop(8), part, sampling=FAST).estimate.value)


def test_prompts_with_too_few_responses_are_left_out():
    """A best of 16 needs 16 scored responses; the others are counted."""
    rng = np.random.default_rng(14)
    rows = [rng.standard_normal(8 if i % 4 == 0 else 16) for i in range(80)]
    golden = [np.where(np.arange(row.size) < 5, row + 0.1, np.nan) for row in rows]

    found = measure(WeightedDrop(16), partly_labelled(rows, golden), sampling=FAST)

    assert (found.estimate.n, found.left_out) == (60, 20)


def test_it_is_the_way_that_is_taken_where_responses_have_no_label():
    """`auto` takes it where half of the prompts have n scored responses, and else says why not."""
    proxy, golden = world("gaussian", 60, 32, seed=15)
    pool = drawn(proxy, golden, np.random.default_rng(16))

    assert "from 5 labels of 32 scored responses" in PredictedRegret(n=16).fitted(pool).note
    assert "in the tail of all prompts" in PredictedRegret(n=64).fitted(pool).note
    assert PredictedRegret(n=16).fitted(pool).guessed == ()


def test_without_scores_of_all_it_is_undefined():
    """The way out is named."""
    pool = Rewards.from_arrays(*world("gaussian", 40, 5, seed=17))

    with pytest.raises(UndefinedMetricError, match="rmcheck sample --design random"):
        measure(PredictedRegret(n=8, predictor="weighted"), pool)


def test_a_second_golden_read_takes_golden_s_noise_out():
    """The labels' noise does not count against the proxy where they were read twice."""
    proxy, true = world("gaussian", 800, 16, seed=18)
    rng = np.random.default_rng(19)
    noisy, again = (true + 0.7 * rng.standard_normal(true.shape) for _ in range(2))
    pool = drawn(proxy, noisy, rng, labels=8)
    places = pool.scored.places
    twice = replace(pool, columns={"repeat": again.ravel()[places]})
    metric = PredictedRegret(n=8)

    plain, corrected = (measure(metric, p, sampling=FAST).estimate for p in (pool, twice))

    assert plain.value > truth(proxy, true, 8) + 0.1
    assert corrected.value == pytest.approx(truth(proxy, true, 8), abs=0.05)
    assert corrected.lower < corrected.value < corrected.upper
