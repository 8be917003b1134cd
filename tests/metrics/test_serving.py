"""Metrics that compare the candidate's rewards with those of the serving engine."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.checks.verdict import Criterion, decide
from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.lab.power import measure_power
from rmcheck.metrics.parity import parity
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards
from rmcheck.metrics.serving import SERVING

SAMPLING = Sampling(resamples=200)
POOLS = st.lists(
    st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=6),
    min_size=1,
    max_size=6,
)


def served(candidate, serving):
    """Rewards of the candidate, with those of a serving engine beside them."""
    golden = [list(range(len(row))) for row in candidate]
    return Rewards.from_arrays(candidate, golden, columns={SERVING: serving})


def drawn(prompts=40, responses=4, seed=0):
    """(P, N) rewards."""
    return np.random.default_rng(seed).normal(size=(prompts, responses))


@given(POOLS, st.sampled_from([0.0, 1.0, 2.5]))
def test_the_check_and_the_command_count_alike(pool, tolerance):
    """Flips, pairs and the largest difference are those of `rmcheck parity`."""
    rewards = served([[a for a, _ in row] for row in pool], [[b for _, b in row] for row in pool])
    told = parity(rewards.proxy, rewards.columns[SERVING], rewards.offsets, tolerance=tolerance)

    flips = measure(make_metric("rank_flips", tolerance=tolerance), rewards, sampling=SAMPLING)
    drift = measure(make_metric("score_drift"), rewards, sampling=SAMPLING)

    assert flips.facts == {"flipped_pairs": told.flips, "pairs": told.pairs}
    assert flips.estimate.value == pytest.approx(told.flips / told.pairs)
    assert drift.estimate.value == told.max_difference
    assert drift.facts["mean_difference"] == pytest.approx(told.mean_difference)
    assert drift.facts["mean_with_sign"] == pytest.approx(told.shift)


@pytest.mark.parametrize("name", ["rank_flips", "score_drift"])
@pytest.mark.parametrize("broken", [0, 1, 17])
def test_the_bounds_are_the_value(name, broken):
    """Other prompts would not change what these rows are: there is no interval."""
    ours = drawn()
    theirs = ours.copy()
    theirs[:broken] *= -1

    found = measure(make_metric(name), served(ours, theirs), sampling=SAMPLING).estimate

    assert found.lower == found.value == found.upper
    assert (found.value > 0) == (broken > 0)


@pytest.mark.parametrize("prompts", [1, 200])
@pytest.mark.parametrize(
    ("flipped", "bound", "outcome"),
    [(0, 0.0, "pass"), (1, 0.0, "fail"), (1, 1.0, "pass")],
)
def test_every_bound_decides_whatever_the_number_of_prompts(prompts, flipped, bound, outcome):
    """Zero flips pass at zero and one flip fails there, on one prompt as on many."""
    ours = drawn(prompts)
    theirs = ours.copy()
    theirs[0, :2] = theirs[0, 1::-1] if flipped else theirs[0, :2]
    found = measure(make_metric("rank_flips"), served(ours, theirs), sampling=SAMPLING)

    verdict = decide([Criterion("at_most", bound)], [found])[0]

    assert verdict.outcome == outcome


def test_an_exact_check_is_not_part_of_holms_correction():
    """It leaves nothing to chance: beside it another check fails as it would alone."""
    ours = drawn(seed=1)
    rewards = served(ours, ours)
    estimated = measure(make_metric("accuracy"), rewards, sampling=SAMPLING)
    exact = measure(make_metric("rank_flips"), rewards, sampling=SAMPLING)
    wanted, none = Criterion("at_least", 0.75), Criterion("at_most", 0.0)

    alone = decide([wanted], [estimated])[0]
    beside, other = decide([wanted, none], [estimated, exact])

    assert beside == alone
    assert (other.outcome, other.reason) == ("pass", "0 meets <= 0")


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.sampled_from([10.0, 50.0, 99.0]))
def test_a_percentile_is_a_difference_that_occurs(gaps, percentile):
    """The smallest difference that at least this share of the responses do not exceed."""
    ours = [[0.0] for _ in gaps]
    rewards = served(ours, [[float(gap)] for gap in gaps])

    found = measure(make_metric("score_drift", percentile=percentile), rewards, sampling=SAMPLING)
    value = found.estimate.value

    assert value in gaps
    assert np.mean(np.array(gaps) <= value) >= percentile / 100 - 1e-12
    assert np.mean(np.array(gaps) < value) < percentile / 100


def test_drift_is_that_of_the_slice():
    """A slice has its own largest difference, not the pool's."""
    ours = drawn()
    theirs = ours + 0.25
    theirs[1::2] += 3
    kinds = ["near", "far"] * (len(ours) // 2)
    golden = np.zeros_like(ours)
    rewards = Rewards.from_arrays(ours, golden, columns={SERVING: theirs}, slices={"kind": kinds})

    found = {
        kind: measure(
            make_metric("score_drift"), rewards, where={"kind": kind}, sampling=SAMPLING
        ).estimate.value
        for kind in ("near", "far")
    }

    assert found == pytest.approx({"near": 0.25, "far": 3.25})


def test_probabilities_in_the_place_of_logits_are_told():
    """The note of the drift says what the serving engine seems to do."""
    ours = drawn()

    found = measure(
        make_metric("score_drift"), served(ours, 1 / (1 + np.exp(-ours))), sampling=SAMPLING
    )

    assert found.note == (
        "the serving engine looks like the sigmoid of the candidate: probabilities, not raw logits"
    )


@pytest.mark.parametrize("name", ["rank_flips", "score_drift"])
def test_without_a_serving_engine_there_is_nothing_to_compare(name):
    """The error says how to name one; a reward that is not finite is one too."""
    ours = drawn()
    broken = ours.copy()
    broken[3, 1] = np.nan

    with pytest.raises(UndefinedMetricError, match=r"serving: \{model: SCHEME:LOCATION\}"):
        measure(make_metric(name), Rewards.from_arrays(ours, ours), sampling=SAMPLING)
    with pytest.raises(UndefinedMetricError, match="reward of prompt '3' is nan; 1 of 160"):
        measure(make_metric(name), served(ours, broken), sampling=SAMPLING)


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("rank_flips", "tolerance", -1e-9),
        ("score_drift", "percentile", 0),
        ("score_drift", "percentile", 100.5),
    ],
)
def test_settings_out_of_range_are_refused(name, setting, value):
    """A tolerance is 0 or more, a percentile above 0 and at most 100."""
    with pytest.raises(UsageError, match=setting):
        make_metric(name, **{setting: value})


def test_order_needs_two_responses_and_drift_one():
    """A pool of single responses has rewards to compare and no order."""
    ours = [[0.0], [1.0]]
    rewards = served(ours, [[0.5], [1.0]])

    assert measure(make_metric("score_drift"), rewards, sampling=SAMPLING).estimate.value == 0.5
    with pytest.raises(UndefinedMetricError, match="rank_flips needs 2 responses a prompt"):
        measure(make_metric("rank_flips"), rewards, sampling=SAMPLING)


@pytest.mark.parametrize("name", ["rank_flips", "score_drift"])
def test_a_length_is_no_engine(name):
    """The shortcut that other checks are shown beside, the longer answer wins, is not asked for."""
    assert not make_metric(name).scale_free


def test_power_has_nothing_to_say_of_an_exact_number():
    """It is refused with the reason, not with a number of prompts."""
    ours = drawn()

    with pytest.raises(UndefinedMetricError, match="statement about the rows of its pool"):
        measure_power(make_metric("rank_flips"), served(ours, -ours))
