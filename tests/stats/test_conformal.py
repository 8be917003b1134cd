"""Jackknife+: its bounds against a hand reference, their coverage, and what it refuses."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.errors import UndefinedMetricError
from rmcheck.stats.bootstrap import Exact
from rmcheck.stats.conformal import (
    Hull,
    JackknifePlus,
    jackknife_plus,
    left_one_out_bounds,
    no_smaller,
    range_guard,
    rows_needed,
)

levels = st.floats(0.01, 0.99)
numbers = st.integers(-30, 30).map(lambda x: x / 10)


def world(rng, size, error="normal"):
    """Past features and targets, and a new row: regret falls with what was kept at n = 2."""
    kept = rng.uniform(0.2, 0.9, size=(size + 1, 1))
    noise = rng.normal(size=size + 1) if error == "normal" else rng.standard_t(4, size=size + 1)
    regret = 0.9 - 0.8 * kept[:, 0] + 0.1 * noise
    return kept[:-1], regret[:-1], kept[-1], regret[-1]


def coverage(size, *, level, runs, seed, error="normal"):
    """Share of new targets below the bound."""
    rng = np.random.default_rng(seed)
    covered = 0
    for _ in range(runs):
        x, y, new, truth = world(rng, size, error)
        covered += truth <= jackknife_plus(x, y, new).bound(level)
    return covered / runs


def drawn(values):
    """The distribution with these draws."""
    draws = np.sort(np.asarray(values, dtype=float))
    return JackknifePlus(draws, float(draws.mean()), np.zeros(draws.size))


def test_draws_equal_a_regression_by_hand():
    """Each draw is the prediction without one row, plus the error that row had."""
    rng = np.random.default_rng(3)
    x, y, new, _ = world(rng, 12)

    expected = []
    for m in range(12):
        slope, intercept = np.polyfit(np.delete(x[:, 0], m), np.delete(y, m), 1)
        expected.append(intercept + slope * new[0] + y[m] - intercept - slope * x[m, 0])
    found = jackknife_plus(x, y, new)

    np.testing.assert_allclose(found.draws, sorted(expected), rtol=1e-10)
    slope, intercept = np.polyfit(x[:, 0], y, 1)
    assert found.prediction == pytest.approx(intercept + slope * new[0], rel=1e-10)


def test_two_features_equal_scikit_learn():
    """Left-out residuals with two features are those of sklearn's linear regression."""
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import LeaveOneOut, cross_val_predict

    rng = np.random.default_rng(4)
    x = rng.normal(size=(15, 2)) * [1.0, 50.0]
    y = x @ [0.3, -0.01] + rng.normal(size=15)

    found = jackknife_plus(x, y, x[0])

    predicted = cross_val_predict(LinearRegression(), x, y, cv=LeaveOneOut())
    np.testing.assert_allclose(found.residuals, y - predicted, rtol=1e-8, atol=1e-10)


def test_ridge_equals_the_penalised_normal_equations():
    """Slopes of standardised features are shrunk by ridge times the number of rows."""
    rng = np.random.default_rng(5)
    x, y, new = rng.normal(size=(20, 2)), rng.normal(size=20), rng.normal(size=2)

    found = jackknife_plus(x, y, new, ridge=0.5).prediction

    z = (x - x.mean(axis=0)) / x.std(axis=0)
    slopes = np.linalg.solve(z.T @ z + 0.5 * 20 * np.eye(2), z.T @ (y - y.mean()))
    expected = y.mean() + (new - x.mean(axis=0)) / x.std(axis=0) @ slopes
    assert found == pytest.approx(expected, rel=1e-10)


def test_a_feature_that_does_not_vary_changes_nothing():
    """A constant column leaves the plain regression as it is."""
    x, y, new, _ = world(np.random.default_rng(6), 12)
    constant = np.full((12, 1), 0.1)

    found = jackknife_plus(np.hstack([x, constant]), y, np.append(new, 0.1))

    np.testing.assert_allclose(found.draws, jackknife_plus(x, y, new).draws, rtol=1e-10)


# Order statistic k = ceil((1 − α)(M + 1)); infinite below M = ceil(1/α) − 1 rows.
@pytest.mark.parametrize(("size", "level"), [(9, 0.9), (19, 0.95), (99, 0.99), (4, 0.8)])
def test_the_fewest_rows_give_their_extremes(size, level):
    """With just enough rows the bounds are the outermost draws, with one fewer they are endless."""
    values = np.arange(size, dtype=float)

    assert rows_needed(level) == rows_needed(1 - level) == size
    assert drawn(values).bound(level) == size - 1
    assert drawn(values).bound(1 - level) == 0
    assert drawn(values[1:]).bound(level) == math.inf
    assert drawn(values[1:]).bound(1 - level) == -math.inf


@given(values=st.lists(numbers, min_size=2, max_size=30), first=levels, second=levels)
def test_bounds_rise_with_the_level(values, first, second):
    """A surer upper bound is never lower."""
    found = drawn(values)

    assert found.bound(min(first, second)) <= found.bound(max(first, second))


@given(values=st.lists(numbers, min_size=2, max_size=30), at=numbers, level=levels)
def test_level_inverts_bound(values, at, level):
    """An upper bound is at most `at` just when its level is at most the level of `at`."""
    found = drawn(values)
    known = found.level(at)

    assert 0 < known < 1
    if level > 0.5 and known != 0.5:
        assert (found.bound(level) <= at) == (level <= known + 1e-12)
    if level < 0.5 and known != 0.5:
        assert (found.bound(level) >= at) == (level >= known - 1e-12)


def test_each_draw_has_its_tenth():
    """Nine draws cut ten parts: the k-th is an upper or a lower bound of level k / 10."""
    found = drawn(range(9))

    assert [found.level(at) for at in range(9)] == pytest.approx(np.arange(1, 10) / 10)
    assert [found.level(at) for at in (-0.5, 1.5, 3.5, 4.5, 6.5, 8.5)] == pytest.approx(
        [0.1, 0.3, 0.5, 0.5, 0.7, 0.9]
    )


def test_where_parts_of_a_hull_disagree_nothing_is_sure():
    """Nine draws below and nine above say that half is below; what both say is kept."""
    found = Hull((drawn(range(9)), drawn(range(10, 19))))

    assert [found.level(at) for at in (-1, 9, 20)] == pytest.approx([0.1, 0.5, 0.9])


@given(
    first=st.lists(numbers, min_size=2, max_size=30),
    second=st.lists(numbers, min_size=2, max_size=30),
    at=numbers,
    level=levels,
)
def test_a_hull_is_as_wide_as_its_widest_part(first, second, at, level):
    """Its bounds hold those of every part, and its level still inverts them."""
    parts = (drawn(first), drawn(second), Exact(0.5, 1.0, 1.0, 10))
    found = Hull(parts)
    known = found.level(at)

    bounds = [part.bound(level) for part in parts]
    assert found.bound(level) == (max(bounds) if level >= 0.5 else min(bounds))
    if level > 0.5 and abs(known - 0.5) > 1e-12 and abs(level - known) > 1e-9:
        assert (found.bound(level) <= at) == (level <= known)
    if level < 0.5 and abs(known - 0.5) > 1e-12 and abs(level - known) > 1e-9:
        assert (found.bound(level) >= at) == (level >= known)


def test_a_hull_of_one_is_that_one():
    """Nothing is widened where there is one part."""
    part = drawn([0.1, 0.2, 0.4])

    assert Hull((part,)).bound(0.6) == part.bound(0.6)
    assert Hull((part,)).level(0.3) == part.level(0.3)


@given(
    rows=st.lists(st.tuples(numbers, numbers), min_size=4, max_size=12),
    shift=numbers,
    scale=st.sampled_from([-2.0, 0.5, 3.0]),
)
def test_units_of_features_and_offsets_do_not_matter(rows, shift, scale):
    """Rescaled features give the same bound, and shifted targets a shifted one."""
    x, y = np.array([r[:1] for r in rows]), np.array([r[1] for r in rows])
    new = x[0] + 0.5

    plain = jackknife_plus(x, y, new)
    other = jackknife_plus(scale * x + shift, y + shift, scale * new + shift)

    np.testing.assert_allclose(other.draws, plain.draws + shift, atol=1e-7)


# math: coverage ≈ 1 − α in practice (.91 .91 .94 .92 .90 at M = 9, 10, 15, 20, 30, α = .1).
# At 4,000 runs each: .91 .90 .94 .91 .91. Monte-Carlo error at 300 runs is 0.017.
@pytest.mark.parametrize(
    ("size", "error"), [(9, "normal"), (10, "t4"), (15, "normal"), (20, "t4"), (30, "normal")]
)
def test_upper_bounds_cover_as_often_as_they_say(size, error):
    """90 % upper bounds hold nine new targets in ten, with normal and with heavy-tailed errors."""
    found = coverage(size, level=0.9, runs=300, seed=size, error=error)

    assert 0.9 - 3 * 0.017 <= found <= 0.94 + 3 * 0.014


def test_left_one_out_bounds_cover_like_new_rows():
    """The share of past rows below their own bounds is near the level."""
    rng = np.random.default_rng(11)
    shares = []
    for _ in range(12):
        x, y, _, _ = world(rng, 20)
        shares.append(np.mean(y <= left_one_out_bounds(x, y, 0.9)))

    assert np.mean(shares) == pytest.approx(0.91, abs=0.05)


def test_left_one_out_bounds_are_infinite_where_the_others_are_too_few():
    """Nine rows bound a tenth at 90 %, but not one another."""
    x, y, _, _ = world(np.random.default_rng(12), 9)

    assert np.isinf(left_one_out_bounds(x, y, 0.9)).all()


def test_a_new_row_outside_the_past_ones_is_named():
    """Each feature out of range is a sentence with its value and the range; others are silent."""
    past = np.array([[0.2, 1.0], [0.8, 3.0], [0.5, 2.0]])

    found = range_guard(past, np.array([0.9, 2.0]), ["ndr_2", "tail_excess"])

    assert found == ("ndr_2 is 0.9, outside the 3 past ones (0.2 to 0.8)",)
    assert range_guard(past, past[1], ["ndr_2", "tail_excess"]) == ()


def test_features_below_all_past_ones_can_be_taken_as_the_smallest():
    """Only those, and only upwards."""
    past = np.array([[0.2, 1.0], [0.8, 3.0]])

    assert no_smaller(past, np.array([0.1, 4.0])).tolist() == [0.2, 4.0]


@pytest.mark.parametrize(
    ("x", "y", "new", "said"),
    [
        ([[1.0]], [1.0], [1.0], "2 or more are needed"),
        ([[1.0], [2.0]], [1.0], [1.0], "must be"),
        ([[1.0], [2.0]], [1.0, 2.0], [1.0, 2.0], "must be"),
        ([[1.0], [math.nan]], [1.0, 2.0], [1.0], r"past features at \[1, 0\] is nan"),
        ([[1.0], [2.0]], [1.0, math.inf], [1.0], r"targets at \[1\] is inf"),
        ([[1.0], [2.0]], [1.0, 2.0], [math.nan], r"new at \[0\] is nan"),
    ],
)
def test_what_cannot_be_regressed_is_refused(x, y, new, said):
    """Too few rows, shapes that do not fit and numbers that are not finite say what they are."""
    with pytest.raises(UndefinedMetricError, match=said):
        jackknife_plus(np.array(x), np.array(y), np.array(new))


def test_a_normal_world_is_bounded_about_where_theory_says():
    """With many rows the 90 % bound is the regression plus 1.28 standard deviations."""
    x, y, new, _ = world(np.random.default_rng(7), 400)

    found = jackknife_plus(x, y, new)

    assert found.bound(0.9) - found.prediction == pytest.approx(
        0.1 * NormalDist().inv_cdf(0.9), abs=0.03
    )
