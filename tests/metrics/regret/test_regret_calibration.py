"""Predicted regret, corrected by what RL made of past reward models."""

import numpy as np
import pytest
from worlds import world

from rmcheck.checks.measurement import Sampling, measure, measure_drop
from rmcheck.metrics.regret.calibration import CalibrationTable, Line, RegretTable
from rmcheck.metrics.regret.predicted_regret import PredictedRegret
from rmcheck.metrics.rewards import Rewards
from rmcheck.stats.bootstrap import Exact

SAMPLING = Sampling(resamples=500, confidence=0.9)


def table(predictions, regrets, **left_out):
    """Past reward models with these predictions and regrets."""
    size = len(predictions)
    return CalibrationTable(
        ("pooled_drop",),
        tuple(f"rm{i}" for i in range(size)),
        np.array(predictions, dtype=float)[:, None],
        np.array(regrets, dtype=float),
        (1,) * size,
        left_out,
    )


def past_with_bias(size, seed=0):
    """Reward models whose real regret is 0.1 + 1.5 × the prediction, give or take 0.02."""
    rng = np.random.default_rng(seed)
    predictions = np.linspace(0.05, 0.5, size)
    return table(predictions, 0.1 + 1.5 * predictions + 0.02 * rng.standard_normal(size))


def predicted(past, **settings):
    """A prediction at n = 20 from five responses a prompt, with this past."""
    pool = Rewards.from_arrays(*world("gaussian", 300, 5, seed=0))
    metric = PredictedRegret(n=20, **settings).knowing(lambda method: past)
    return measure(metric, pool, sampling=SAMPLING)


def test_a_bias_of_past_predictions_is_taken_out():
    """The value is what past reward models with this prediction lost."""
    before = predicted(past_with_bias(0)).estimate.value

    found = predicted(past_with_bias(20))

    assert found.estimate.value == pytest.approx(0.1 + 1.5 * before, abs=0.02)
    assert found.estimate.lower < found.estimate.value < found.estimate.upper
    assert "calibrated on 20 past RMs" in found.note
    assert found.facts["pooled_drop"] == before


def test_the_bounds_are_as_wide_as_the_sampling_error_at_least():
    """A past without any error leaves the sampling error of this prediction."""
    predictions = np.linspace(0.05, 0.5, 30)
    exact = predicted(table(predictions, 0.1 + 1.5 * predictions)).estimate
    plain = predicted(table([], [])).estimate

    assert exact.upper - exact.value == pytest.approx(1.5 * (plain.upper - plain.value), rel=0.05)


@pytest.mark.parametrize("size", [0, 1, 8])
def test_too_few_past_models_leave_auto_uncalibrated(size):
    """Calibration waits until there are enough, and till then a guess decides nothing."""
    found = predicted(table(np.linspace(0.1, 0.4, size), [0.3] * size, **{"no regret yet": 3}))

    assert "pooled" not in found.estimate.concerns
    assert f"not calibrated, {size} past RM" in found.note
    assert "bounds at 90% need 9" in found.note
    assert "(not counted: no regret yet: 3)" in found.note
    assert ["best of 20 loses" in concern for concern in found.estimate.concerns] == [True]


def test_too_few_past_models_are_a_concern_where_calibration_is_asked_for():
    """With `predictor: calibrated` nothing is decided on a prediction that is not."""
    found = predicted(past_with_bias(8), predictor="calibrated")

    assert found.estimate.concerns[0].startswith("cannot be calibrated: 8 past RMs")


@pytest.mark.parametrize(
    ("predictions", "regrets"),
    [
        (np.linspace(0.05, 0.1, 20), np.linspace(0.05, 0.1, 20)),  # worse than all past ones
        (np.linspace(0.5, 0.9, 20), np.linspace(0.9, 0.5, 20)),  # better, where better was worse
    ],
)
def test_a_prediction_outside_the_past_is_a_concern(predictions, regrets):
    """Nothing is known about reward models unlike all before."""
    found = predicted(table(predictions, regrets))

    assert any("outside the 20 past ones" in concern for concern in found.estimate.concerns)


def test_a_prediction_better_than_all_past_ones_is_taken_as_the_best_of_them():
    """The safe side: it can pass, and is never told less than the best past model was."""
    predictions = np.linspace(0.5, 0.9, 20)
    found = predicted(table(predictions, predictions))

    assert found.estimate.concerns == ()
    assert found.estimate.value == pytest.approx(0.5)
    assert "better than all of them and taken as the best, 0.500" in found.note


def test_other_predictors_are_not_calibrated():
    """A predictor that was asked for by name stays what it is."""
    plain = predicted(past_with_bias(20), predictor="pooled")

    assert "calibrated" not in plain.note


def test_a_drop_against_the_baseline_is_not_calibrated():
    """Errors of past predictions say nothing about a difference of two."""
    proxy, golden = world("gaussian", 100, 5, seed=0)
    worse = Rewards.from_arrays(proxy + np.random.default_rng(1).normal(size=proxy.shape), golden)
    metric = PredictedRegret(n=20).knowing(lambda method: past_with_bias(20))

    found = measure_drop(metric, worse, Rewards.from_arrays(proxy, golden), sampling=SAMPLING)

    assert "calibrated" not in found.note


def test_bounds_of_a_new_model_cover_its_regret():
    """Of 300 reward models drawn like those of the past, 90 % ± 5 % stay below the 90 % bound."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        predictions = rng.uniform(0, 1, 21)
        regrets = predictions**1.5 + 0.05 * rng.standard_t(4, 21)
        past = table(predictions[:20], regrets[:20])
        sure = Exact(float(predictions[20]), 0.0, 0.0, 300)
        found = RegretTable(past, required=False).applied(float(predictions[20]), sure, 0.9)
        covered.append(regrets[20] <= found.distribution.bound(0.9))

    assert 0.85 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize("slope", [2.0, -2.0])
def test_a_line_keeps_bounds_and_levels_inverse(slope):
    """Seen through a line, the level of a bound is the level that was asked for."""
    line = Line(Exact(0.5, 1.0, 1.0, 50), slope, 0.1)

    for level in (0.05, 0.2, 0.8, 0.95):
        assert line.level(line.bound(level)) == pytest.approx(level)
    assert line.bound(0.95) > line.bound(0.05)
