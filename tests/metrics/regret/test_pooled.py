"""The tail that few responses a prompt hide and all prompts together show."""

import numpy as np
import pytest
from worlds import WORLDS, world

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.best_of_n import BonDropRatio
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.regret.pooled import PooledDrop
from rmcheck.metrics.regret.predicted_regret import PredictedRegret
from rmcheck.metrics.regret.tail import best_of, reach
from rmcheck.metrics.rewards import Rewards
from rmcheck.testing import LAWS, check_metric_laws


def value(metric, pool):
    """The metric on a pool."""
    fitted = metric.fitted(pool)
    return float(fitted.value(per_prompt_sums(fitted, pool)[0].sum(axis=0)))


def true_drop(kind, n):
    """Drop ratio at n, measured on a world of 1,500 prompts with 400 responses each."""
    pool = Rewards.from_arrays(*world(kind, 1_500, 400, seed=99))
    return value(BonDropRatio(n=n), pool)


@pytest.mark.parametrize("kind", WORLDS)
def test_five_responses_a_prompt_show_the_tail(kind):
    """From 5 responses a prompt it comes within 0.05 of the drop ratio at n = 30, in the mean."""
    pools = [Rewards.from_arrays(*world(kind, 600, 5, seed)) for seed in range(8)]

    found = np.mean([value(PooledDrop(n=30), pool) for pool in pools])

    assert abs(found - true_drop(kind, 30)) < 0.05


@pytest.mark.parametrize("kind", ["heavy", "hacked"])
def test_best_of_two_does_not_see_that_tail(kind):
    """What it is for: NDR_2 alone is too optimistic by more than 0.05 in the same worlds."""
    pools = [Rewards.from_arrays(*world(kind, 600, 5, seed)) for seed in range(8)]

    found = np.mean([value(BonDropRatio(n=2), pool) for pool in pools])

    assert found < true_drop(kind, 30) - 0.05


def test_a_blind_proxy_is_inside_the_bounds_and_decides_nothing():
    """Good where it spreads, blind where it is unsure: too low a value, and bounds that hold it.

    No label tells this world from one in which the value is right, so it stays a guess.
    """
    rng = np.random.default_rng(5)
    golden = rng.standard_normal((300, 64))
    good = 0.95 * golden + np.sqrt(1 - 0.95**2) * rng.standard_normal(golden.shape)
    unsure = np.arange(300)[:, None] % 2 == 0
    proxy = np.where(unsure, rng.standard_normal(golden.shape), 2 * good)
    true = value(BonDropRatio(n=16), Rewards.from_arrays(proxy, golden))
    few = Rewards.from_arrays(proxy[:, :5], golden[:, :5])

    found = measure(PredictedRegret(n=16), few, sampling=Sampling(resamples=500)).estimate

    assert found.value < true - 0.05
    assert found.upper > true
    assert "best of 16 loses" in " ".join(found.concerns)


def test_unlike_scales_alone_make_it_too_high():
    """Where only the proxy's spread differs between prompts, the prediction is too high."""
    rng = np.random.default_rng(0)
    proxy, golden = world("gaussian", 600, 5, seed=3)
    proxy = proxy * rng.lognormal(0, 0.5, (600, 1))

    found = value(PooledDrop(n=30), Rewards.from_arrays(proxy, golden))

    assert found > true_drop("gaussian", 30) + 0.05


@pytest.mark.parametrize("n", [3, 5])
def test_measured_where_every_prompt_can_measure_it(n):
    """At an n that the prompts have, it is the drop ratio itself."""
    pool = Rewards.from_arrays(*world("heavy", 80, 5, seed=1))

    assert value(PooledDrop(n=n), pool) == pytest.approx(value(BonDropRatio(n=n), pool))


def test_influences_average_to_the_best_of_n():
    """The mean influence of all responses is the expected golden reward of the best of n."""
    rng = np.random.default_rng(2)
    selector, golden = np.round(rng.normal(size=400), 1), rng.normal(size=400)
    equal = np.full(400, 1 / 400)
    _, place, counts = np.unique(selector, return_inverse=True, return_counts=True)
    upto = np.cumsum(counts) / 400
    chosen = np.diff(np.concatenate([[0.0], upto**7])) / counts

    (best,) = best_of(selector, golden, equal, [7])

    assert best.influences(selector[None], golden[None]).mean() == pytest.approx(
        chosen[place] @ golden
    )


def test_influences_follow_a_change_of_the_sample():
    """Leaving one response out changes the value as its influence says, to first order."""
    rng = np.random.default_rng(3)
    selector, golden = rng.normal(size=900), rng.normal(size=900)

    def influences(keep):
        (best,) = best_of(selector[keep], golden[keep], np.full(keep.sum(), 1 / keep.sum()), [6])
        return best.influences(selector[keep][None], golden[keep][None])[0]

    everything = np.ones(900, dtype=bool)
    whole = influences(everything)
    changes = []
    for i in (0, 50, 500, int(selector.argmax())):
        keep = everything.copy()
        keep[i] = False
        change = whole.mean() - influences(keep).mean()
        changes.append((change, (whole[i] - whole.mean()) / 899))

    found, expected = np.array(changes).T
    assert found == pytest.approx(expected, abs=2e-4)


def test_bounds_cover_at_one_sided_95_percent():
    """On 200 simulated pools both bounds hold in 95 % or more (Gaussian world, n = 20)."""
    truth, covered = true_drop("gaussian", 20), []
    for seed in range(200):
        pool = Rewards.from_arrays(*world("gaussian", 200, 5, seed))
        found = measure(PooledDrop(n=20), pool, sampling=Sampling(resamples=500, seed=seed))
        covered.append((found.estimate.lower <= truth, found.estimate.upper >= truth))

    lower, upper = np.mean(covered, axis=0)
    assert min(lower, upper) >= 0.95


@pytest.mark.parametrize(("responses", "expected"), [(1_500, 74), (300, 14), (40, 1), (10, 1)])
def test_reach_is_where_forty_responses_carry_the_best(responses, expected):
    """The weights of the best of n have the effective size M (2n − 1) / n²: at least 40."""
    n = reach(responses, 40.0)

    assert n == expected
    if responses > 40:
        assert responses * (2 * n - 1) / n**2 >= 40 > responses * (2 * n + 1) / (n + 1) ** 2


def test_beyond_what_the_labels_show_nothing_is_decided():
    """An n that too few labelled responses stand behind is a concern that names the way out."""
    pool = Rewards.from_arrays(*world("gaussian", 60, 5, seed=0))

    found = measure(PooledDrop(n=256), pool)

    assert "the labels show the tail up to n=14, not n=256" in " ".join(found.estimate.concerns)
    assert "--design nested" in " ".join(found.estimate.concerns)


def test_a_slice_has_its_own_tail():
    """On a slice the ranks are those of the slice, as if it were the whole pool."""
    proxy, golden = world("heavy", 200, 5, seed=4)
    slices = {"half": ["a"] * 100 + ["b"] * 100}
    whole = Rewards.from_arrays(proxy, golden, slices=slices)
    part = Rewards.from_arrays(proxy[:100], golden[:100])

    found = measure(PooledDrop(n=8), whole, where={"half": "a"}).estimate.value

    assert found == pytest.approx(value(PooledDrop(n=8), part))


def test_the_pool_must_be_seen_first():
    """Without a pool there are no ranks."""
    pool = Rewards.from_arrays(*world("gaussian", 5, 5, seed=0))

    with pytest.raises(UndefinedMetricError, match="must first see the pool"):
        per_prompt_sums(PooledDrop(n=8), pool)


def test_it_obeys_the_laws_of_all_metrics():
    """Invariances, sums and gradient, with tails however thin.

    One law is not its own: noise in the tail may carry a prediction below that of golden itself.
    """
    laws = [law for law in LAWS if law != "perfect_proxy"]

    check_metric_laws(PooledDrop(n=8, min_tail=0.0), laws=laws, max_examples=12)
