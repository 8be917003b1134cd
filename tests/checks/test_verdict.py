"""From an interval and a bound to pass, fail or inconclusive."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmcheck import Rewards, Sampling, make_metric, measure
from rmcheck.checks.mistakes import worst_mistakes
from rmcheck.checks.verdict import Criterion, decide
from rmcheck.checks.worst import worst_slice

SAMPLING = Sampling(resamples=2000)
ORDER = {"fail": 0, "inconclusive": 1, "pass": 2}


def accuracy_of(prompts=60, noise=0.7, seed=0):
    """A measured accuracy."""
    rng = np.random.default_rng(seed)
    golden = rng.normal(size=(prompts, 6))
    rewards = Rewards.from_arrays(golden + noise * rng.normal(size=golden.shape), golden)
    return measure(make_metric("accuracy"), rewards, sampling=SAMPLING)


MEASURED = accuracy_of()


def outcome(kind, bound, measurement=MEASURED):
    """The verdict of one check alone."""
    return decide([Criterion(kind, bound)], [measurement])[0].outcome


def test_the_worse_end_must_meet_the_bound():
    """A pass needs the lower bound for at_least, and the upper one for at_most."""
    e = MEASURED.estimate

    assert outcome("at_least", e.lower - 1e-9) == "pass"
    assert outcome("at_least", e.lower + 1e-6) == "inconclusive"
    assert outcome("at_most", e.upper + 1e-9) == "pass"
    assert outcome("at_most", e.upper - 1e-6) == "inconclusive"


def test_the_better_end_must_miss_the_bound_for_a_fail():
    """A fail is as sure as a pass; what straddles is neither."""
    e = MEASURED.estimate

    assert outcome("at_least", e.upper + 0.01) == "fail"
    assert outcome("at_least", e.upper - 0.002) == "inconclusive"
    assert outcome("max_drop", e.lower - 0.01) == "fail"


@given(st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=50)
def test_asking_for_more_never_helps(first, second):
    """Raising at_least never turns a fail into anything better."""
    low, high = sorted((first, second))

    assert ORDER[outcome("at_least", high)] <= ORDER[outcome("at_least", low)]


def test_a_fail_is_corrected_for_all_checks_and_a_pass_is_not():
    """A check that misses alone by a hair is inconclusive among twenty; passes stay passes."""
    e = MEASURED.estimate
    hair = Criterion("at_least", e.upper + 0.001)
    sure = Criterion("at_least", 0.1)

    alone = decide([hair], [MEASURED])[0]
    among = decide([hair] + [sure] * 19, [MEASURED] * 20)

    assert alone.outcome == "fail"
    assert among[0].outcome == "inconclusive"
    assert "Holm" in among[0].reason
    assert {v.outcome for v in among[1:]} == {"pass"}


def test_a_concern_is_inconclusive_whatever_the_number():
    """Too few prompts: neither a perfect nor a terrible value decides."""
    few = accuracy_of(prompts=20)

    assert outcome("at_least", 0.0, few) == "inconclusive"
    assert outcome("at_least", 1.0, few) == "inconclusive"


def test_a_check_that_cannot_be_decided_takes_no_part_in_holm():
    """It cannot fail falsely, so it does not make the others less sure."""
    e = MEASURED.estimate
    hair = Criterion("at_least", e.upper + 0.001)
    few = accuracy_of(prompts=20)

    verdicts = decide([hair] + [Criterion("at_least", 0.9)] * 19, [MEASURED] + [few] * 19)

    assert verdicts[0].outcome == "fail"


def test_the_reason_has_the_numbers_first():
    """The short summary of pytest cuts lines; the numbers survive."""
    verdict = decide([Criterion("at_least", 0.99)], [MEASURED])[0]

    assert verdict.reason == f"{MEASURED.estimate} is below 0.99"


def test_the_worst_slice_is_good_where_every_slice_is():
    """An intersection-union test: the lower bound is the smallest of all, without correction."""
    measured = {str(seed): accuracy_of(seed=seed, noise=0.5 + seed / 5) for seed in range(4)}

    name, worst = worst_slice(measured, "higher")

    assert worst.estimate.value == min(m.estimate.value for m in measured.values())
    assert worst.estimate.lower == min(m.estimate.lower for m in measured.values())
    assert worst.estimate.upper > measured[name].estimate.upper  # a fail pays for all looks
    assert worst.distribution.level(worst.estimate.lower) == pytest.approx(0.05, abs=0.01)


def test_the_worst_of_a_lower_is_better_metric_is_the_largest():
    """Direction decides which slice is worst."""
    measured = {str(seed): accuracy_of(seed=seed, noise=0.5 + seed / 5) for seed in range(4)}

    name, worst = worst_slice(measured, "lower")

    assert worst.estimate.value == max(m.estimate.value for m in measured.values())
    assert worst.estimate.upper == max(m.estimate.upper for m in measured.values())
    assert worst.estimate.lower < measured[name].estimate.lower


def slices_of_pairs(accuracies, prompts, seed):
    """Slices of pairs with these true accuracies."""
    rng = np.random.default_rng(seed)
    found = {}
    for i, accuracy in enumerate(accuracies):
        right = rng.random(prompts) < accuracy
        proxy = np.where(right[:, None], [0.0, 1.0], [1.0, 0.0])
        rewards = Rewards.from_arrays(proxy, np.tile([0.0, 1.0], (prompts, 1)))
        sampling = Sampling(resamples=400, seed=seed)
        found[str(i)] = measure(make_metric("accuracy"), rewards, sampling=sampling)
    return found


@pytest.mark.parametrize(
    ("accuracies", "quantile"), [([0.75] * 5, 0.0), ([0.75] + [0.95] * 4, 0.0)]
)
def test_the_worst_lower_bound_misses_no_more_often_than_it_says(accuracies, quantile):
    """Of 200 pools at most 5 % (+ noise), with all slices on the truth, or one of them alone."""
    missed = sum(
        worst_slice(slices_of_pairs(accuracies, 60, seed), "higher", quantile)[1].estimate.lower
        > min(accuracies)
        for seed in range(200)
    )

    assert missed <= 18


def test_a_quantile_that_is_bad_by_one_slice_seldom_looks_good():
    """The second worst of eight is on the bound, as is the worst: at most 5 % (+ noise) pass."""
    missed = sum(
        worst_slice(slices_of_pairs([0.75] * 2 + [0.95] * 6, 60, seed), "higher", 0.2)[
            1
        ].estimate.lower
        > 0.75
        for seed in range(200)
    )

    assert missed <= 18


def test_ten_slices_well_above_the_bound_pass_more_often_than_never():
    """Of 60 pools with ten slices of 200 pairs .10 above the bound, more than half pass."""
    passed = sum(
        worst_slice(slices_of_pairs([0.85] * 10, 200, seed), "higher")[1].estimate.lower > 0.75
        for seed in range(60)
    )

    assert passed > 30


@pytest.mark.parametrize(("direction", "of"), [("higher", min), ("lower", max)])
@pytest.mark.parametrize(("slices", "quantile"), [(4, 0.25), (5, 0.25), (9, 0.25), (5, 0.5)])
def test_a_quantile_of_slices_is_one_slice_counted_from_the_worst(direction, of, slices, quantile):
    """It is numpy's quantile that is one of the values: the lower, or upper where lower is good."""
    measured = {str(seed): accuracy_of(seed=seed, noise=0.5 + seed / 9) for seed in range(slices)}
    values = [m.estimate.value for m in measured.values()]
    lower = direction == "higher"
    expected = np.quantile(
        values, quantile if lower else 1 - quantile, method="lower" if lower else "higher"
    )

    name, found = worst_slice(measured, direction, quantile)

    assert found.estimate.value == expected == measured[name].estimate.value
    assert found.note == f"quantile {quantile:g}, from the worst, of {slices}: {name}"
    assert (found.estimate.value == of(values)) == (quantile * (slices - 1) < 1)


def test_bounds_of_a_quantile_are_corrected_for_what_could_be_wrong():
    """The good side for the two worst slices, the bad side for the four others; both invert."""
    measured = {str(seed): accuracy_of(seed=seed, noise=0.5 + seed / 5) for seed in range(5)}

    name, found = worst_slice(measured, "higher", 0.25)
    own, e = measured[name].estimate, found.estimate
    lower = sorted(m.distribution.bound(0.05 / 2) for m in measured.values())
    upper = sorted(m.distribution.bound(1 - 0.05 / 4) for m in measured.values())

    assert e.lower == lower[1] < own.lower
    assert e.upper == upper[1] > own.upper
    assert found.distribution.level(e.lower) == pytest.approx(0.05, abs=0.01)
    assert found.distribution.level(e.upper) == pytest.approx(0.95, abs=0.01)


def test_of_slices_one_with_too_few_prompts_is_named():
    """The worst of all slices cannot be known when one is too small."""
    _, worst = worst_slice({"big": MEASURED, "tiny": accuracy_of(prompts=5)}, "higher")

    assert worst.estimate.concerns == ("tiny: 5 independent prompts, fewer than 30",)


def test_mistakes_are_the_picks_that_lose_most_golden_reward():
    """Sorted by loss, then by how sure the model was; right picks are none."""
    rewards = Rewards.from_arrays(
        proxy=[[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [5.0, 0.0]],
        golden=[[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 0.5]],
    )

    found = worst_mistakes(rewards, np.ones(4, dtype=bool), most=5)

    assert [(m.row, m.golden_loss, m.margin) for m in found] == [
        (1, 1.0, 3.0),
        (0, 1.0, 1.0),
        (3, 0.5, 5.0),
    ]
