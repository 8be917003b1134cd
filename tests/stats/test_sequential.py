"""Levels, bounds and p-values that hold at several looks together."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from rmcheck.stats.bootstrap import BCa, Exact, SortedDraws
from rmcheck.stats.multiplicity import holm
from rmcheck.stats.sequential import RHO, Looks, Repeated, nominal_levels

FIVE = Looks((0.1, 0.2, 0.4, 0.7, 1.0))
EQUAL = (0.2, 0.4, 0.6, 0.8, 1.0)

levels = st.floats(1e-6, 0.49)
shares = st.lists(st.integers(1, 19), unique=True, max_size=5).map(
    lambda parts: tuple(part / 20 for part in [*sorted(parts), 20])
)


def obrien_fleming(alpha, share):
    """Lan and DeMets' spending function that imitates O'Brien and Fleming's boundaries."""
    return 2 - 2 * ndtr(-ndtri(alpha / 2) / np.sqrt(share))


def pocock(alpha, share):
    """Lan and DeMets' spending function that imitates Pocock's boundaries."""
    return alpha * np.log(1 + (math.e - 1) * share)


@pytest.mark.parametrize(
    ("spending", "boundaries"),
    [
        (obrien_fleming, (4.8769, 3.3569, 2.6803, 2.2898, 2.0310)),
        (pocock, (2.4380, 2.4268, 2.4101, 2.3966, 2.3859)),
    ],
)
def test_boundaries_are_those_of_the_literature(spending, boundaries):
    """Five equal looks at one-sided 0.025, as the program of Reboussin et al. (2000) prints."""
    spent = spending(0.025, np.array([EQUAL]))

    assert -ndtri(nominal_levels(spent, EQUAL)[0]) == pytest.approx(boundaries, abs=2e-3)


def test_the_default_levels_are_as_documented():
    """A tenth of the data leaves 0.0005 of 0.05, the last look 0.04."""
    found = [FIVE.nominal(0.05, look) for look in range(5)]

    assert found == pytest.approx([0.0005, 0.00164, 0.00669, 0.0203, 0.0398], rel=5e-3)


def paths(size, looks, seed):
    """(size, J) standardised values of paths that have no drift."""
    rng = np.random.default_rng(seed)
    steps = np.sqrt(np.diff((0.0, *looks.shares)))
    walked = np.cumsum(rng.standard_normal((size, len(steps))) * steps, axis=1)
    return walked / np.sqrt(looks.shares)


def test_the_chance_of_a_wrong_bound_at_any_look_is_alpha():
    """200,000 paths of Brownian motion: 5 % cross somewhere, Monte-Carlo error 0.05 %."""
    boundaries = -ndtri([FIVE.nominal(0.05, look) for look in range(5)])
    crossed = (paths(200_000, FIVE, seed=1) > boundaries).any(axis=1)

    assert crossed.mean() == pytest.approx(0.05, abs=0.002)


def test_what_is_spent_by_each_look_is_as_planned():
    """α t^ρ of the paths have crossed when a share t is in."""
    boundaries = -ndtri([FIVE.nominal(0.2, look) for look in range(5)])
    crossed = np.maximum.accumulate(paths(200_000, FIVE, seed=2) > boundaries, axis=1)

    assert crossed.mean(axis=0) == pytest.approx(0.2 * np.array(FIVE.shares) ** RHO, abs=0.004)


def test_holm_on_repeated_p_values_keeps_the_error_over_checks_and_looks():
    """Any false rejection among three checks at any of five looks: 5 % at most, and not far less.

    Three independent checks are nearly the worst case; 4,000 suites, Monte-Carlo error 0.35 %.
    """
    p = np.clip(ndtr(-paths(12_000, FIVE, seed=3)), 0, 0.5)
    repeated = np.array([[FIVE.overall(q, j) for j, q in enumerate(row)] for row in p])
    suites = repeated.reshape(4_000, 3, 5)
    wrong = [any(min(holm(list(suite[:, look]))) <= 0.05 for look in range(5)) for suite in suites]

    assert 0.035 <= np.mean(wrong) <= 0.05 + 3 * 0.0035


@settings(max_examples=20, deadline=None)
@given(shares, levels, levels)
def test_nominal_levels_are_smaller_ascend_in_alpha_and_add_up(shares, first, second):
    """Never above α; ordered as the α are, which Holm needs; and Σ of them is α or more."""
    looks = Looks(shares)
    low, high = sorted((first, second))
    found = [[looks.nominal(alpha, j) for j in range(len(shares))] for alpha in (low, high)]

    assert all(level <= low * (1 + 1e-6) for level in found[0])
    assert all(a <= b for a, b in zip(*found, strict=True))
    assert sum(found[0]) >= low * (1 - 2e-3)


@settings(max_examples=20, deadline=None)
@given(shares, levels)
def test_overall_is_nominal_solved_for_alpha(shares, alpha):
    """At every look."""
    looks = Looks(shares)
    found = [looks.overall(looks.nominal(alpha, j), j) for j in range(len(shares))]

    assert found == pytest.approx([alpha] * len(shares), rel=1e-6)


def test_one_look_changes_nothing():
    """The nominal level is the overall one."""
    assert Looks((1.0,)).nominal(0.05, 0) == pytest.approx(0.05, rel=1e-9)


@pytest.mark.parametrize(
    "shares", [(), (0.5,), (0.5, 0.2, 1.0), (0.0, 1.0), (0.5, 1.2), (1.0, 1.0)]
)
def test_shares_that_do_not_ascend_to_one_are_refused(shares):
    """With the shares in the message."""
    with pytest.raises(ValueError, match="ascend from above 0 to 1"):
        Looks(shares)


@pytest.fixture(scope="module")
def normal():
    """A bootstrap of 20,000 normal draws around 0.7."""
    draws = np.random.default_rng(0).normal(0.7, 0.02, 20_000)
    return BCa(SortedDraws(np.sort(draws)), 0.0, 0.0, 500)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 4), st.floats(0.05, 0.45))
def test_bounds_and_levels_belong_together(normal, look, alpha):
    """The level of a bound is the level that it was taken at, on both sides."""
    at = Repeated(normal, FIVE, look)

    assert at.level(at.bound(alpha)) == pytest.approx(alpha, rel=0.2)
    assert 1 - at.level(at.bound(1 - alpha)) == pytest.approx(alpha, rel=0.2)


def test_bounds_are_wider_the_earlier_one_looks(normal):
    """On the same data; the last ones are little wider than those of a single look."""
    found = [Repeated(normal, FIVE, look).bound(0.05) for look in range(5)]

    assert found == sorted(found)
    assert found[-1] < normal.bound(0.05) < found[-1] + 0.003


def test_a_level_finer_than_the_resamples_gives_no_bound():
    """200 draws say nothing about a level of 0.0005, and the outermost draw is not taken for it."""
    few = BCa(SortedDraws(np.linspace(0, 1, 200)), 0.0, 0.0, 100)
    at = Repeated(few, FIVE, 0)

    assert (at.bound(0.05), at.bound(0.95)) == (-math.inf, math.inf)
    assert math.isfinite(Repeated(few, FIVE, 4).bound(0.05))
    assert at.level(-1.0) > 0.05


def test_a_value_on_which_all_units_agree_keeps_its_exact_bounds():
    """The rule of three at the nominal level; on the side where nothing is beyond, the value."""
    at = Repeated(Exact(1.0, 1.0, 0.0, 60), FIVE, 0)

    assert at.bound(0.05) == pytest.approx(FIVE.nominal(0.05, 0) ** (1 / 60))
    assert at.bound(0.95) == 1.0


def test_no_level_is_decided_where_the_value_is_the_bound(normal):
    """In the middle every look says one half."""
    assert Repeated(normal, FIVE, 1).level(0.7001) == 0.5


def test_levels_finer_than_a_billionth_count_as_that():
    """Nothing is interpolated beyond the smallest level, in either direction."""
    looks = Looks((0.25, 0.5, 1.0))

    for look in range(3):
        assert looks.nominal(1e-12, look) == looks.nominal(1e-9, look) <= 1.001e-9
        assert looks.overall(0.0, look) == pytest.approx(1e-9)
