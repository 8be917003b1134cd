"""No error seen is not no error: bounds of ratios on whose units few dissent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from rmcheck.metrics.best_of_n import BonDropRatio
from rmcheck.stats.unseen import Seen, one_more, rule_of_three
from rmcheck.stats.weights import draw_weights

DROP = BonDropRatio(n=2)


def rows(right, gaps=None):
    """(n, 4) sums of pairs that were ordered rightly or not, with these golden gaps."""
    right = np.asarray(right, dtype=bool)
    stake = np.ones(right.size) / 2 if gaps is None else np.asarray(gaps) / 2
    return np.stack([np.where(right, stake, -stake), stake, np.ones(right.size), -stake], axis=1)


def bounds(sums, level):
    """The bound of resampling with one more unit, and that of the rule of three."""
    unseen, totals = DROP.unseen(Seen.of(sums)), sums.sum(axis=0)
    drawn = draw_weights(len(sums), 20_000, 0).totals(sums)
    more = one_more(DROP, totals, drawn, unseen.gravest, seed=0)
    rare = rule_of_three(DROP, totals, unseen.weighty, unseen.farthest, units=len(sums))
    return more.bound(level), rare.bound(level)


@pytest.mark.parametrize("errors", [0, 1, 2, 5, 20])
@pytest.mark.parametrize("level", [0.95, 0.999])
def test_one_more_unit_is_clopper_and_pearson_where_all_have_the_same_at_stake(errors, level):
    """A drop on pairs is twice the error rate; the exact upper bound of that is scipy's."""
    found, _ = bounds(rows(np.arange(100) >= errors), level)

    assert found / 2 == pytest.approx(beta.ppf(level, errors + 1, 100 - errors), rel=0.1)


def test_the_rule_of_three_is_exact_where_no_pair_is_wrong():
    """1 − α^(1/n) of the pairs could be wrong, with all pairs seen right."""
    _, found = bounds(rows(np.ones(30)), 0.95)

    assert found == pytest.approx(2 * (1 - 0.05 ** (1 / 30)))


def test_between_the_bounds_of_the_rule_of_three_nothing_is_sure():
    """What half the samples would have missed lies on both sides of the value."""
    sums = rows(np.arange(30) >= 6)
    unseen = DROP.unseen(Seen.of(sums))
    found = rule_of_three(DROP, sums.sum(axis=0), unseen.weighty, unseen.farthest, units=30)

    assert found.level(DROP.value(sums.sum(axis=0))) == 0.5


def test_what_few_carry_may_have_missed_as_much_as_what_few_are():
    """300 pairs of which 30, in effect, carry the value have the bound of 30 pairs."""
    sums = rows(np.ones(300))
    unseen, totals = DROP.unseen(Seen.of(sums)), sums.sum(axis=0)
    found = rule_of_three(
        DROP, totals, unseen.weighty, unseen.farthest, units=300, effective=30.0
    ).bound(0.95)

    assert found == pytest.approx(2 * (1 - 0.05 ** (1 / 30)))


def test_what_was_missed_may_have_more_at_stake_than_what_was_seen():
    """Unequal stakes give a wider bound than equal ones of the same mean."""
    gaps = np.random.default_rng(0).exponential(1, 100)
    equal, unequal = bounds(rows(np.ones(100)), 0.95)[1], bounds(rows(np.ones(100), gaps), 0.95)[1]

    assert unequal > 2.5 * equal


@given(
    st.lists(st.booleans(), min_size=2, max_size=40),
    st.floats(0.51, 0.999),
    st.booleans(),
)
def test_bounds_are_attainable_and_levels_invert_them(right, level, upper):
    """A drop on pairs is never outside 0 to 2, and `level` is the inverse of `bound`."""
    sums = rows(right)
    level = level if upper else 1 - level
    unseen = DROP.unseen(Seen.of(sums))
    totals = sums.sum(axis=0)
    rare = rule_of_three(DROP, totals, unseen.weighty, unseen.farthest, units=len(sums))
    found = [*bounds(sums, level), rare.bound(level)]

    assert all(-1e-12 <= bound <= 2 + 1e-12 for bound in found)
    if 1e-6 < rare.bound(level) < 2 - 1e-6 and abs(rare.bound(level) - rare.bound(0.5)) > 1e-9:
        assert rare.level(rare.bound(level)) == pytest.approx(level, abs=1e-6)


@pytest.mark.parametrize("level", [0.001, 0.05, 0.4, 0.6, 0.95, 0.999])
def test_levels_invert_the_bounds_of_one_more_unit(level):
    """On both sides, to the draws there are; between the two medians nothing is sure."""
    sums = rows(np.arange(60) >= 20, np.random.default_rng(1).exponential(1, 60))
    drawn = draw_weights(60, 4000, 0).totals(sums)
    gravest = DROP.unseen(Seen.of(sums)).gravest
    found = one_more(DROP, sums.sum(axis=0), drawn, gravest, seed=0)

    assert found.level(found.bound(level)) == pytest.approx(level, abs=2e-3)
    assert found.level((found.bound(0.499) + found.bound(0.501)) / 2) == 0.5
    assert len(repr(found)) < 50  # thousands of draws are not for eyes


def test_the_gravest_unit_seen_is_the_one_that_is_added():
    """A disaster with eight times as much at stake as others is expected once more."""
    sums = rows(np.arange(50) > 0, np.where(np.arange(50) > 0, 1.0, 8.0))
    unseen = DROP.unseen(Seen.of(sums))

    assert unseen.gravest[0].tolist() == pytest.approx([-4.0, 4.0, 1.0, -4.0])
    assert unseen.ordinary[0, 1] == pytest.approx(sums[:, 1].mean())
    assert unseen.farthest[0, 1] == pytest.approx(4.0 + sums[:, 1].std(ddof=1))


def test_in_large_samples_what_was_missed_is_not_the_farthest():
    """Stakes shrink with the share that could have been missed, so that small drops can be seen."""
    few, many = (np.random.default_rng(0).exponential(1, n) for n in (60, 2000))
    small, large = (bounds(rows(np.ones(g.size), g), 0.95)[1] for g in (few, many))

    assert small > 0.05 * (few.max() + few.std())
    assert large < 3.1 / 2000 * 2 * 3
