"""What a pool can see, and what other numbers of prompts and responses would see."""

import numpy as np
import pytest

from rmcheck.checks.designs import PoolDesign, sorting_comparisons
from rmcheck.checks.measurement import Sampling, measure
from rmcheck.errors import UndefinedMetricError
from rmcheck.lab.power import measure_power
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards
from rmcheck.stats.power import units_to_detect

ACCURACY = make_metric("accuracy")
NDR2 = make_metric("ndr", n=2)
QUICK = Sampling(resamples=400)


def pools(prompts, n, *, rho=0.8, other=0.8, noise=0.0, spread=0.0, seed=0):
    """A candidate and a baseline on the same responses, normal with errors correlated by one half.

    Args:
        prompts: P.
        n: N.
        rho: Correlation of the candidate with golden.
        other: Correlation of the baseline with golden.
        noise: Spread of the log of each prompt's error.
        spread: Standard deviation over prompts of the candidate's correlation.
        seed: Of the pool.
    """
    rng = np.random.default_rng(seed)
    golden, shared = rng.normal(size=(2, prompts, n))
    scale = rng.lognormal(0, noise, (prompts, 1))
    errors = [scale * (shared + rng.normal(size=(prompts, n))) / np.sqrt(2) for _ in range(2)]
    own = np.clip(rho + spread * rng.normal(size=(prompts, 1)), -0.999, 0.999)
    return [
        Rewards.from_arrays(r * golden + np.sqrt(1 - r**2) * error, golden)
        for r, error in zip((own, other), errors, strict=True)
    ]


def sds(power):
    """Spread by number of responses."""
    return {design.responses: design.sd for design in power.designs}


# Prompts that tell ρ = 0.8 from a lower ρ at α = 0.05 and power 0.8, in a world whose prompts
# differ in noise (lognormal, 0.3), from an independent simulation that rounded differences of
# values; (N, lower ρ): accuracy, best-of-2 NDR.
NEEDED = {(5, 0.75): (325, 253), (5, 0.7): (85, 77), (10, 0.75): (117, 111), (10, 0.7): (33, 34)}


@pytest.mark.parametrize(("n", "lower"), NEEDED)
def test_prompts_needed_agree_with_an_independent_simulation(n, lower):
    """Within 20 %, for accuracy and for the best-of-2 NDR, at N = 5 and 10.

    The simulation resampled prompts; bounds of the NDR allow for prompts not seen, and need more.
    """
    high, low = (pools(6_000, n, rho=rho, noise=0.3)[0] for rho in (0.8, lower))
    found, needed = [], []
    for metric in (ACCURACY, NDR2):
        power = measure_power(metric, low, responses=())
        difference = measure_power(metric, high, responses=()).value - power.value
        found.append(max(units_to_detect(difference, power.sd), power.fewest_prompts))
        needed.append(power.prompts_needed(difference))

    assert found == pytest.approx(NEEDED[n, lower], rel=0.2)
    assert needed[0] == found[0]
    assert needed[1] > found[1]


def test_spread_of_accuracy_agrees_with_known_values():
    """Jointly normal rewards with ρ = 0.8: 0.406 at N = 2, 0.150 at 5, 0.086 at 10, 0.053 at 20."""
    found = sds(measure_power(ACCURACY, pools(4_000, 20)[0]))

    assert {n: found[n] for n in (2, 5, 10, 20)} == pytest.approx(
        {2: 0.406, 5: 0.150, 10: 0.086, 20: 0.053}, rel=0.04
    )


def test_pairing_needs_about_as_many_prompts_as_a_fixed_bound():
    """With errors correlated by one half, which is half of what two separate pools would need."""
    candidate, baseline = pools(4_000, 5)
    fixed, paired = measure_power(ACCURACY, candidate), measure_power(ACCURACY, candidate, baseline)

    assert paired.prompts_needed(0.02) == pytest.approx(fixed.prompts_needed(0.02), rel=0.2)


@pytest.mark.parametrize("metric", [ACCURACY, NDR2], ids=str)
def test_as_many_prompts_as_it_says_have_the_power_it_says(metric):
    """A bound 0.04 below the truth is met by the lower bound in 80 % of 500 pools (se 2 %)."""
    power = measure_power(metric, pools(4_000, 5)[0], responses=())
    prompts = power.prompts_needed(0.04)
    sampling = Sampling(resamples=400)
    met = 0
    for seed in range(500):
        found = measure(metric, pools(prompts, 5, seed=seed + 1)[0], sampling=sampling)
        met += found.estimate.lower >= power.value - 0.04

    assert 0.72 <= met / 500 <= 0.88


def test_a_calibration_error_is_planned_with_its_own_bounds():
    """A bound .05 above it is met in 80 % of 40 pools or more, less two standard errors.

    Its lower bound is farther than its upper one, and a difference is to be seen on both sides.
    """
    power = measure_power(make_metric("ece"), pools(1_000, 5)[0], responses=())
    prompts = power.prompts_needed(0.05)
    met = [
        measure(make_metric("ece"), pools(prompts, 5, seed=seed)[0], sampling=QUICK).estimate.upper
        <= power.value + 0.05
        for seed in range(40)
    ]

    assert power.reach.errors[0] > power.reach.errors[1] > 1.6
    assert np.mean(met) >= 0.67


def test_what_five_responses_foretell_of_ten_is_what_ten_show():
    """Extrapolated spreads, flagged as such, are within 10 %, whether or not prompts differ."""
    for spread in (0.0, 0.2):
        few = measure_power(ACCURACY, pools(3_000, 5, spread=spread)[0])
        many = measure_power(ACCURACY, pools(3_000, 10, spread=spread, seed=1)[0])
        foretold = {d.responses: d.sd for d in few.designs if d.extrapolated}

        assert list(foretold) == [8, 10]
        assert foretold == pytest.approx({n: sds(many)[n] for n in foretold}, rel=0.1)


def test_prompts_that_differ_are_told_from_responses_that_do():
    """The part between prompts is about 0 in a world of equal prompts, and large in the other."""
    equal, different = (
        measure_power(NDR2, pools(2_000, 10, spread=spread)[0]) for spread in (0.0, 0.3)
    )

    assert equal.between < 0.3 * equal.within
    assert different.between > different.within
    assert np.hypot(different.between, different.within) == pytest.approx(different.sd)


def test_more_responses_stop_paying_where_prompts_differ():
    """For 2,000 responses: the more prompts differ, the fewer responses each should have.

    And fewer where bounds allow for prompts that were not seen, which responses make up for less.
    """
    found = {}
    for metric in (ACCURACY, NDR2):
        best = [
            measure_power(metric, pools(2_000, 32, spread=spread)[0]).under_samples(2_000)
            for spread in (0.0, 0.1, 0.2, 0.3)
        ]
        found[metric] = [plan.design.responses for plan in best]

    for responses in found.values():
        assert responses == sorted(responses, reverse=True)
        assert 3 <= responses[-1] <= 10
    assert found[ACCURACY][0] >= 16 > found[NDR2][0]
    assert all(plan.prompts == 2_000 // plan.design.responses for plan in best)


def test_for_comparisons_two_responses_are_as_good_as_five():
    """Within 15 % at 1,500 comparisons, where five sorted responses have ten pairs."""
    power = measure_power(ACCURACY, pools(2_000, 10)[0])
    two, five = (
        power.plan(design, 1_500 / design.comparisons)
        for design in power.designs
        if design.responses in (2, 5)
    )

    assert two.sees == pytest.approx(five.sees, rel=0.15)


# Comparisons counted while sorting with a noisy comparator.
COUNTED = {2: 1, 3: 2.6, 4: 4.6, 5: 7.0, 8: 15.4, 10: 22, 16: 44.6}


def test_comparisons_are_those_of_merge_sort():
    """Within 4 % of counted ones, and never fewer than log2 n!."""
    found = {n: sorting_comparisons(n) for n in COUNTED}

    assert found == pytest.approx(COUNTED, rel=0.04)
    assert all(c >= np.log2(np.arange(1, n + 1)).sum() for n, c in found.items())
    assert sorting_comparisons(1) == 0


def test_the_same_seed_gives_the_same_designs():
    """Subsets are drawn from the sampling's seed, and another seed draws others."""
    candidate, _ = pools(60, 8)
    first, again = measure_power(ACCURACY, candidate), measure_power(ACCURACY, candidate)

    assert first == again
    assert sds(measure_power(ACCURACY, candidate, sampling=Sampling(seed=1))) != sds(first)


def test_prompts_that_share_a_conversation_count_as_one():
    """Each prompt twice, in one cluster: the pool sees no more than the single one."""
    candidate, _ = pools(100, 5)
    rows = [row.reshape(100, 5) for row in (candidate.proxy, candidate.golden)]
    doubled = Rewards.from_arrays(
        *(np.repeat(row, 2, axis=0) for row in rows), clusters=np.repeat(np.arange(100), 2)
    )
    once, twice = measure_power(ACCURACY, candidate), measure_power(ACCURACY, doubled)

    assert twice.sees == pytest.approx(once.sees)
    assert twice.prompts_needed(0.02) == pytest.approx(2 * once.prompts_needed(0.02), abs=1)
    assert twice.fewest_prompts == 60


def test_a_slice_is_looked_at_alone():
    """`where` gives the power of its prompts only."""
    candidate, _ = pools(80, 5)
    rows = [row.reshape(80, 5) for row in (candidate.proxy, candidate.golden)]
    sliced = Rewards.from_arrays(*rows, slices={"kind": ["a"] * 40 + ["b"] * 40})
    alone = Rewards.from_arrays(*(row[:40] for row in rows))

    found = measure_power(ACCURACY, sliced, where={"kind": "a"})

    assert (found.prompts, found.value) == (40, measure_power(ACCURACY, alone).value)
    assert found.sees == pytest.approx(measure_power(ACCURACY, alone).sees)


def test_ragged_pools_are_compared_at_the_numbers_that_most_prompts_have():
    """N that fewer than half of the prompts have is extrapolated, not measured."""
    rng = np.random.default_rng(0)
    counts = [8] * 40 + [5] * 60
    golden = [rng.normal(size=n) for n in counts]
    ragged = Rewards.from_arrays([g + 0.7 * rng.normal(size=g.size) for g in golden], golden)

    found = measure_power(ACCURACY, ragged)

    assert (found.fewest, found.most) == (5, 8)
    assert [d.responses for d in found.designs if not d.extrapolated] == [2, 3, 4, 5]
    assert next(d.responses for d in found.designs if d.extrapolated) == 8


def test_a_metric_that_depends_on_n_is_compared_at_the_pools_own_only():
    """Its values at other numbers of responses are other quantities."""
    found = measure_power(make_metric("xi"), pools(100, 5)[0])

    assert [design.responses for design in found.designs] == [5]
    assert found.between is None
    assert found.limitation == (
        "xi depends on the number of responses: with others its value differs"
    )


def test_a_metric_that_needs_many_responses_is_not_tried_with_fewer():
    """Best of 4 is measured at 4 and 5 responses, too few numbers to extrapolate from."""
    found = measure_power(make_metric("bon_drop_ratio", n=4), pools(100, 5)[0])

    assert [design.responses for design in found.designs] == [4, 5]
    assert "too few numbers of responses (4, 5)" in found.limitation


def test_reasons_not_to_decide_are_told_with_the_power():
    """No number of prompts helps where golden gains nothing."""
    candidate, _ = pools(40, 4)
    golden = 1e-3 * candidate.golden.reshape(40, 4)
    golden[:3, 0] = 1
    found = measure_power(NDR2, Rewards.from_arrays(candidate.proxy.reshape(40, 4), golden))

    assert "golden gain near zero" in found.concerns[0]


def test_a_budget_that_pays_for_too_few_prompts_has_no_plan():
    """30 prompts are the fewest on which anything is decided."""
    power = measure_power(ACCURACY, pools(100, 4)[0])

    assert power.under_samples(59) is None
    assert power.under_samples(60).prompts == 30
    assert power.plan(PoolDesign(2, 0.4), 29.9) is None
    assert power.prompts_needed(10.0) == 30


@pytest.mark.parametrize(
    ("prompts", "perfect", "paired", "message"),
    [
        (29, False, False, "29 independent prompts are too few to say how much they vary; at lea"),
        (40, True, False, "accuracy: it does not vary between the 40 prompts"),
        (40, False, True, "accuracy: its drop against this baseline does not vary between the 40"),
    ],
)
def test_what_cannot_be_told_is_refused_with_the_reason(prompts, perfect, paired, message):
    """Too few prompts, the same value on every prompt, or a baseline that is the candidate."""
    candidate, _ = pools(prompts, 4)
    if perfect:
        candidate = Rewards.from_arrays(*[candidate.golden.reshape(prompts, 4)] * 2)
    with pytest.raises(UndefinedMetricError, match=message):
        measure_power(ACCURACY, candidate, candidate if paired else None)
