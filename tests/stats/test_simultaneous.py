"""Bounds that hold for several numbers at once, for the largest of them, and the test of it."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.stats.simultaneous import band, largest, largest_mean

CORRELATED = 0.5 * np.eye(6) + 0.5


def drawn(seed, size, means):
    """(size, 6) normal draws of correlation one half around six means."""
    rng = np.random.default_rng(seed)
    return rng.multivariate_normal(means, CORRELATED, size=size)


def resampled(values, seed, resamples=400):
    """Means of the columns, and the same on bootstrap resamples of the rows."""
    n = len(values)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    return values.mean(axis=0), weights @ values / n


def test_band_of_one_number_is_its_normal_interval():
    """With one number nothing is paid for: value ± 1.645 standard errors."""
    draws = np.random.default_rng(0).normal(2.0, 3.0, size=(40_000, 1))
    found = band(np.array([2.0]), draws, 0.95)
    reach = 3.0 * NormalDist().inv_cdf(0.95)

    assert found.lower[0] == pytest.approx(2.0 - reach, abs=0.06)
    assert found.upper[0] == pytest.approx(2.0 + reach, abs=0.06)


def test_band_holds_for_all_numbers_at_once():
    """Each side covers six correlated means together in about 95 % of 400 data sets."""
    covered = []
    for seed in range(400):
        value, draws = resampled(drawn(seed, 80, np.zeros(6)), seed)
        found = band(value, draws, 0.95)
        covered.append(((found.lower <= 0).all(), (found.upper >= 0).all()))
    lower, upper = np.mean(covered, axis=0)

    # Monte-Carlo error 0.011; means of 80 draws make it a little too small.
    assert 0.915 <= lower <= 0.985
    assert 0.915 <= upper <= 0.985


def test_band_leaves_what_is_undefined_or_fixed():
    """NaN stays NaN, a number that never varies is its own band, and others are not disturbed."""
    draws = np.random.default_rng(1).normal(size=(500, 3))
    draws[:, 0], draws[:, 1] = np.nan, 4.0
    found = band(np.array([np.nan, 4.0, 0.0]), draws, 0.95)
    alone = band(np.zeros(1), draws[:, 2:], 0.95)

    assert np.isnan([found.lower[0], found.upper[0]]).all()
    assert (found.lower[1], found.upper[1]) == (4.0, 4.0)
    assert found.lower[2] == pytest.approx(alone.lower[0])
    assert found.upper[2] == pytest.approx(alone.upper[0])


@given(
    values=st.lists(st.integers(-3, 3), min_size=1, max_size=5),
    seed=st.integers(0, 1000),
    level=st.one_of(st.floats(0.01, 0.4), st.floats(0.6, 0.99)),
    between=st.booleans(),
)
def test_bound_and_level_are_inverse(values, seed, level, between):
    """`level(bound(x))` is x, to the resamples there are."""
    middle = np.array(values, float)
    draws = middle + np.random.default_rng(seed).normal(size=(400, middle.size))
    found = largest(middle, draws, between=between)

    assert found.level(found.bound(level)) == pytest.approx(level, abs=0.01)
    assert found.bound(0.05) <= middle.max() <= found.bound(0.95)


@given(seed=st.integers(0, 1000), between=st.booleans())
def test_level_rises(seed, between):
    """The further up, the surer that the largest is below."""
    values = np.array([0.0, 0.5, 0.4])
    draws = values + np.random.default_rng(seed).normal(size=(300, 3))
    levels = [largest(values, draws, between=between).level(at) for at in np.linspace(-3, 4, 40)]

    assert (np.diff(levels) >= 0).all()
    assert 0 < levels[0] < 0.05
    assert 0.95 < levels[-1] < 1


def test_lower_bound_of_the_largest_pays_for_the_choice():
    """Where six means are all 0, the largest is claimed to be above 0 in 5 % of cases, not 15."""
    claims, naive = [], []
    for seed in range(400):
        value, draws = resampled(drawn(seed, 80, np.zeros(6)), seed)
        claims.append(largest(value, draws).bound(0.05) > 0)
        naive.append((value - 1.645 * draws.std(axis=0) > 0).any())

    assert np.mean(claims) <= 0.085  # 0.05 and three Monte-Carlo errors
    assert np.mean(naive) > 0.1


def test_a_difference_of_maxima_lies_between_its_parts():
    """With `between` the lower bound is the smallest lower end, so it holds for any of them."""
    values = np.array([0.0, 1.0])
    draws = values + np.random.default_rng(0).normal(size=(2000, 2))

    assert largest(values, draws, between=True).bound(0.05) < largest(values, draws).bound(0.05)
    assert largest(values, draws, between=True).bound(0.95) == largest(values, draws).bound(0.95)


def test_a_fixed_part_is_a_floor():
    """A part that is 0 in every resample keeps the largest at 0 or above for sure."""
    draws = np.random.default_rng(0).normal(-5, 1, size=(500, 2))
    draws[:, 1] = 0.0
    found = largest(np.array([-5.0, 0.0]), draws)

    assert (found.bound(0.05), found.bound(0.95)) == (0.0, 0.0)
    assert found.level(-0.1) < 0.01
    assert found.level(0.1) > 0.99


def test_mean_test_of_one_column_is_the_z_test():
    """With one column the multiplier bootstrap gives the normal p-value."""
    x = np.random.default_rng(3).normal(0.1, 1, size=(200, 1))
    z = x.mean() / (x.std(ddof=1) / np.sqrt(200))
    found = largest_mean(x, resamples=20_000, seed=0)

    assert found.statistic == pytest.approx(z)
    assert found.p_value == pytest.approx(1 - NormalDist().cdf(z), abs=0.01)
    assert found.index == 0


@pytest.mark.parametrize("elements", [1, 250])
def test_a_bound_of_memory_changes_no_mean_test(monkeypatch, elements):
    """Multipliers are drawn a few resamples at a time."""
    x = drawn(4, 80, np.full(6, 0.1))
    whole = largest_mean(x, resamples=50, seed=0)
    monkeypatch.setattr("rmcheck.stats.simultaneous.CHUNK_ELEMENTS", elements)

    parts = largest_mean(x, resamples=50, seed=0)

    assert parts.p_value == whole.p_value
    assert parts.lower == pytest.approx(whole.lower)


def test_mean_test_has_its_size_and_its_power():
    """Six means of 0 are held to be above 0 in 5 % of cases; one of half a deviation in all."""
    size = [
        largest_mean(drawn(seed, 80, np.zeros(6)), resamples=300, seed=seed).p_value <= 0.05
        for seed in range(400)
    ]
    shifted = [0, 0, 0.5, 0, 0, 0]
    power = [largest_mean(drawn(seed, 80, shifted), resamples=300, seed=seed) for seed in range(50)]

    assert 0.02 <= np.mean(size) <= 0.085
    assert np.mean([found.p_value <= 0.05 for found in power]) >= 0.95
    assert all(found.index == 2 for found in power)
    assert all(found.lower <= 0.5 + 0.3 for found in power)


@pytest.mark.parametrize(
    ("mean", "p_value", "index"),
    [([0.0, 0.0], 1.0, 0), ([-1.0, -2.0], 1.0, 0), ([-1.0, 3.0], 2**-5, 1)],
)
def test_mean_test_of_units_that_agree_is_the_sign_test(mean, p_value, index):
    """Five units of one value: 2^−5 where it is above 0, and nothing where it is not."""
    found = largest_mean(np.tile(mean, (5, 1)), resamples=10, seed=0)

    assert (found.p_value, found.index, found.lower) == (p_value, index, max(mean))


def test_mean_test_of_one_unit_is_refused():
    """One unit has no standard error."""
    with pytest.raises(ValueError, match="one unit has no test"):
        largest_mean(np.ones((1, 3)), resamples=10, seed=0)


def test_a_band_allows_for_units_that_were_not_seen():
    """A number that no resample changes has the rule of three, 9.5 % of 30 units.

    That is so if it is told what units can have. Others keep their band; undefined stays undefined.
    """
    rng = np.random.default_rng(0)
    values = np.array([0.0, 0.5, np.nan])
    draws = values + np.array([0.0, 0.1, 0.0]) * rng.standard_normal((500, 1))
    told = band(values, draws, 0.95, attainable=(0.0, 2.0), units=30)
    untold = band(values, draws, 0.95)
    two = band(values[:1], draws[:, :1], 0.95, attainable=(0.0, 2.0), units=2)

    assert two.upper[0] == pytest.approx(2 * (1 - np.sqrt(0.05)))
    assert told.upper[0] == pytest.approx(2 * 0.0950, abs=1e-4)
    assert told.lower[0] == 0.0
    assert (untold.lower[0], untold.upper[0]) == (0.0, 0.0)
    assert (told.lower[1], told.upper[1]) == (untold.lower[1], untold.upper[1])
    assert np.isnan([told.lower[2], told.upper[2]]).all()
