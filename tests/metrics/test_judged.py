"""Few human labels put many of a judge right: the point, its trust in the judge, its bounds."""

from dataclasses import replace

import numpy as np
import pytest

from rmcheck.checks.measurement import Sampling, measure, measure_drop
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.best_of_n import BonDropRatio
from rmcheck.metrics.judged import HUMAN, JudgedMean
from rmcheck.metrics.pairwise import Accuracy
from rmcheck.metrics.ranking import Kendall
from rmcheck.metrics.rewards import Rewards

SAMPLING = Sampling(confidence=0.95, resamples=500, seed=0)
JUDGED = JudgedMean(Accuracy())


def pool(prompts=400, labelled=80, noise=0.7, responses=3, seed=0):
    """A proxy, a judge on all prompts and humans on the first ones; golden is the judge."""
    rng = np.random.default_rng(seed)
    human = rng.normal(size=(prompts, responses))
    judge = human + noise * rng.normal(size=human.shape)
    proxy = human + rng.normal(size=human.shape)
    known = np.where(np.arange(prompts)[:, None] < labelled, human, np.nan)
    return Rewards.from_arrays(proxy, judge, columns={HUMAN: known})


def first(rewards, prompts, golden):
    """The first prompts, by these golden rewards."""
    shape = (len(rewards), -1)
    return Rewards.from_arrays(
        rewards.proxy.reshape(shape)[:prompts], golden.reshape(shape)[:prompts]
    )


def accuracy(rewards):
    """(P,) accuracy of each prompt."""
    return Accuracy().prompt_values(*(a.reshape(len(rewards), -1) for a in rewards_of(rewards)))


def rewards_of(rewards):
    """Proxy and golden."""
    return rewards.proxy, rewards.golden


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_the_point_is_that_of_the_paper(noise):
    """H + λ (J − J_H), λ the regression of the prompts by humans on the same by the judge."""
    judged = pool(noise=noise)
    by_judge = accuracy(judged)
    by_human = accuracy(first(judged, 80, judged.columns[HUMAN]))
    together = np.cov(by_human, by_judge[:80], ddof=0)
    trust = together[0, 1] / together[1, 1]

    found = measure(JUDGED, judged, sampling=SAMPLING)

    assert 0 < trust < 1
    assert found.facts["trust_in_judge"] == pytest.approx(trust)
    assert found.estimate.value == pytest.approx(
        by_human.mean() + trust * (by_judge.mean() - by_judge[:80].mean())
    )
    assert found.facts["human_only"] == pytest.approx(by_human.mean())
    assert found.facts["judge_only"] == pytest.approx(by_judge.mean())


def test_with_the_others_apart_it_is_the_estimator_of_the_paper():
    """λ' / N Σ f(x̃) + Σ (y − λ' f(x)) / n with λ' = λ N / (N + n), N prompts without labels."""
    judged = pool()
    by_judge, by_human = accuracy(judged), accuracy(first(judged, 80, judged.columns[HUMAN]))
    found = measure(JUDGED, judged, sampling=SAMPLING)
    trust = found.facts["trust_in_judge"] * 320 / 400

    expected = trust * by_judge[80:].mean() + (by_human - trust * by_judge[:80]).mean()

    assert found.estimate.value == pytest.approx(expected)


def test_a_judge_that_is_always_right_counts_as_humans_everywhere():
    """λ is 1, and the bounds are nearly those of human labels on all prompts."""
    judged = pool(noise=0.0)
    found = measure(JUDGED, judged, sampling=SAMPLING)
    all_labelled = measure(Accuracy(), judged, sampling=SAMPLING).estimate
    few = measure(Accuracy(), first(judged, 80, judged.columns[HUMAN]), sampling=SAMPLING).estimate

    assert found.facts["trust_in_judge"] == pytest.approx(1)
    assert found.estimate.value == pytest.approx(all_labelled.value)
    width = found.estimate.upper - found.estimate.lower
    assert width < 1.2 * (all_labelled.upper - all_labelled.lower)
    assert width < 0.6 * (few.upper - few.lower)


@pytest.mark.parametrize("judge", ["noise", "reversed", "constant"])
def test_a_useless_judge_changes_hardly_anything(judge):
    """Nothing gained, nothing wrong: the number and its bounds are those of humans alone."""
    judged = pool()
    golden = {
        "noise": np.random.default_rng(7).normal(size=judged.golden.size),
        "reversed": -judged.golden,
        "constant": np.zeros(judged.golden.size),
    }[judge]
    judged = replace(judged, golden=golden)
    few = measure(Accuracy(), first(judged, 80, judged.columns[HUMAN]), sampling=SAMPLING).estimate
    found = measure(JUDGED, judged, sampling=SAMPLING)

    assert found.facts["trust_in_judge"] < 0.1
    assert found.estimate.value == pytest.approx(few.value, abs=0.01)
    width = found.estimate.upper - found.estimate.lower
    assert width == pytest.approx(few.upper - few.lower, rel=0.15)


def test_labels_on_all_prompts_leave_nothing_to_the_judge():
    """With humans everywhere the judge moves nothing."""
    judged = pool(labelled=400)
    by_humans = replace(judged, golden=judged.columns[HUMAN])

    assert measure(JUDGED, judged, sampling=SAMPLING).estimate.value == pytest.approx(
        measure(Accuracy(), by_humans, sampling=SAMPLING).estimate.value
    )


def test_prompts_that_humans_labelled_in_part_count_as_the_judges():
    """A label of one response alone says nothing of the prompt."""
    judged = pool()
    human = judged.columns[HUMAN].copy()
    human[::3] = np.where(np.arange(400) < 40, np.nan, human[::3])

    found = measure(JUDGED, replace(judged, columns={HUMAN: human}), sampling=SAMPLING)

    assert found.facts["human_prompts"] == 40


def test_few_labels_decide_nothing():
    """Fewer prompts with human labels than decide anything are a concern; none are refused."""
    found = measure(JUDGED, pool(labelled=12), sampling=SAMPLING).estimate

    assert found.concerns == ("12 prompts with human labels, fewer than 30",)
    with pytest.raises(UndefinedMetricError, match="no prompt has human labels of all"):
        measure(JUDGED, pool(labelled=0), sampling=SAMPLING)


def test_metrics_that_are_no_mean_over_prompts_are_refused():
    """A drop ratio divides two totals, in the unit of whoever judges."""
    with pytest.raises(UndefinedMetricError, match="bon_drop_ratio is no mean over prompts"):
        measure(JudgedMean(BonDropRatio(n=2)), pool(), sampling=SAMPLING)


def test_bounds_hold_where_the_judge_is_good_and_where_it_is_not():
    """In 40 draws of two worlds each bound of 95 % holds 35 times or more."""
    truth = measure(Kendall(), by_humans(40_000), sampling=SAMPLING).estimate.value
    for noise in (0.5, 50.0):
        found = [
            measure(
                JudgedMean(Kendall()), pool(noise=noise, labelled=50, seed=s), sampling=SAMPLING
            )
            for s in range(40)
        ]
        assert sum(f.estimate.lower <= truth for f in found) >= 35
        assert sum(f.estimate.upper >= truth for f in found) >= 35


def by_humans(prompts):
    """The same world with labels of humans on all prompts."""
    judged = pool(prompts=prompts, labelled=prompts, seed=99)
    return replace(judged, golden=judged.columns[HUMAN])


def test_a_drop_is_paired_prompt_by_prompt():
    """A model against itself has not dropped, with certainty; a worse one has."""
    judged = pool()
    worse = replace(judged, proxy=judged.proxy + 2 * np.random.default_rng(1).normal(size=1200))

    same = measure_drop(JUDGED, judged, judged, sampling=SAMPLING).estimate
    drop = measure_drop(JUDGED, worse, judged, sampling=SAMPLING).estimate

    assert (same.value, same.lower, same.upper) == (0, 0, 0)
    assert 0 < drop.lower < drop.value
