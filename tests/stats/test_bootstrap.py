"""Bounds, the p-values that agree with them, and the weights they come from."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from rmcheck.metrics.ratio import ratio, ratio_gradient
from rmcheck.stats.bootstrap import BCa, Exact, SortedDraws, Studentised, resample, standard_error
from rmcheck.stats.difference import Difference
from rmcheck.stats.weights import draw_weights


class Mean:
    """Sum over count, from sums (x, 1)."""

    def value(self, sums):
        """The mean."""
        return ratio(sums[..., 0], sums[..., 1])

    def gradient(self, sums):
        """Of a ratio."""
        return ratio_gradient(sums, sign=1.0)


def sums_of(x):
    """(n, 2) sums of which `Mean` is the mean."""
    return np.stack([x, np.ones_like(x)], axis=-1)


def paired_sums(seed=0, n=60):
    """Gains of a proxy and of the golden reward, correlated, all positive in the mean."""
    rng = np.random.default_rng(seed)
    golden = rng.exponential(1.0, n) + 0.2
    return np.stack([0.7 * golden + 0.3 * rng.normal(size=n), golden], axis=-1)


def counts_of(units, resamples, seed):
    """(B, n) how often each unit counts."""
    draw_weights.cache_clear()
    weights = draw_weights(units, resamples, seed)
    return weights.counts.transpose(0, 2, 1).reshape(-1, units)[:resamples].astype(float)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9), st.floats(-0.5, 1.5))
def test_quantiles_of_sorted_draws_are_those_of_numpy(draws, level):
    """To the last digit; levels outside 0 to 1 are the ends."""
    expected = np.quantile(draws, min(1.0, max(0.0, level)))

    assert SortedDraws(np.sort(draws)).quantile(level) == expected


def test_weights_are_poisson():
    """Frequencies of 0 to 4 are those of Poisson(1) to half of 1/256, and the third central moment
    is 1 to .03; mean and variance are 1 within 5 standard errors of 1,000,000 draws.
    """  # noqa: D205
    counts = counts_of(50, 20_000, seed=1)
    expected = np.exp(-1) / np.array([1, 1, 2, 6, 24])

    assert [(counts == k).mean() for k in range(5)] == pytest.approx(expected, abs=0.005)
    assert counts.mean() == pytest.approx(1, abs=5e-3)
    assert counts.var() == pytest.approx(1, abs=9e-3)
    assert ((counts - 1) ** 3).mean() == pytest.approx(1, abs=0.03)


def test_no_unit_or_resample_knows_of_another():
    """Weights of neighbours, of resamples and of seeds are correlated by chance alone."""
    apart, other = (counts_of(400, 1000, seed) - 1 for seed in (3, 4))
    least = 5 / np.sqrt(apart.size)

    assert abs(np.mean(apart[:, 1:] * apart[:, :-1])) < least
    assert abs(np.mean(apart[1:] * apart[:-1])) < least
    assert abs(np.mean(apart * other)) < least


def test_seed_zero_is_a_seed_and_seeds_differ():
    """The same seed gives the same weights, another seed others; 0 is no special case."""
    first, again = counts_of(20, 100, seed=0), counts_of(20, 100, seed=0)

    assert (first == again).all()
    assert (first != counts_of(20, 100, seed=1)).any()


def test_weights_of_a_seed_never_change():
    """A verdict is the same on other machines and in later versions."""
    # Made by this code at its first release: raw bytes of SFC64, through the table of Poisson(1).
    golden = [[0, 2, 0, 0, 5, 2, 2, 1, 1], [0, 2, 1, 1, 1, 3, 2, 0, 0]]

    assert counts_of(2, 9, seed=3).T.tolist() == golden


def test_many_units_are_weighted_in_groups_of_equal_size():
    """10,001 units in 4,096 groups of two or three, at random: neighbours are apart."""
    groups = draw_weights(10_001, 3, seed=0).columns

    assert set(np.bincount(groups)) == {2, 3}
    assert np.corrcoef(groups[:-1], groups[1:])[0, 1] == pytest.approx(0, abs=0.05)


def test_a_choice_of_many_units_is_weighted_as_the_whole_is():
    """Those of a slice count in the groups that they have in the pool."""
    weights = draw_weights(9_000, 50, seed=0)
    sums = np.random.default_rng(0).exponential(size=(9_000, 2))
    some = np.arange(0, 9_000, 3)
    chosen = (np.arange(9_000) % 3 == 0)[:, None]
    found = weights.totals(sums[some], some)
    expected = weights.totals(sums * chosen)

    assert np.allclose(found[:, 0] / found[:, 1], expected[:, 0] / expected[:, 1], rtol=1e-4)


def test_columns_that_depend_on_one_another_do_in_every_resample():
    """A ratio that all units share is the same in all resamples, to the last digits."""
    first = np.random.default_rng(0).exponential(size=(500, 1))
    rows = np.hstack([0.7 * first, np.random.default_rng(1).normal(size=(500, 3)), first, first])
    totals = draw_weights(500, 1000, seed=0).totals(rows)

    assert np.ptp(totals[:, 0] / totals[:, 4]) < 1e-14
    assert (totals[:, 4] == totals[:, 5]).all()


@given(st.integers(1, 40), st.integers(1, 50))
@settings(max_examples=20, deadline=None)
def test_totals_are_the_weighted_sums_of_the_chosen_units(units, resamples):
    """Chunks and a choice of units change nothing."""
    weights = draw_weights(units, resamples, seed=5)
    sums = np.random.default_rng(units).normal(size=(units, 3))
    chosen = np.arange(0, units, 2)

    totals = weights.totals(sums[chosen], chosen)

    counts = counts_of(units, resamples, seed=5)[:, chosen]
    drawn = counts.sum(axis=1) > 0
    expected = counts[drawn] @ sums[chosen] / counts[drawn].mean(axis=1, keepdims=True)
    assert np.allclose(totals[drawn], expected, atol=1e-5)
    assert np.isnan(totals[~drawn]).all()


@pytest.mark.parametrize("elements", [1, 21, 100, 999])
def test_resamples_may_be_drawn_and_multiplied_a_few_at_a_time(monkeypatch, elements):
    """One, two, ten or all 25 at once: no two are alike, and totals are those of their weights."""
    monkeypatch.setattr("rmcheck.stats.weights.CHUNK_ELEMENTS", elements)
    draw_weights.cache_clear()
    sums = np.random.default_rng(0).normal(size=(10, 2))

    totals = draw_weights(10, 25, seed=2).totals(sums)

    counts = counts_of(10, 25, seed=2)
    assert len(np.unique(counts, axis=0)) == 25
    assert draw_weights(10, 25, seed=2).counts.shape[2] == max(1, min(25, elements // 10))
    np.testing.assert_allclose(totals, counts @ sums / counts.mean(axis=1, keepdims=True))


def test_bca_bounds_of_a_mean_agree_with_scipy():
    """Against scipy.stats.bootstrap (BCa) on skewed data, at the widened level of few units.

    Sixty units have Student's t for the normal, and √(n / (n − 1)).
    """
    x = np.random.default_rng(7).exponential(size=60)
    widened = np.sqrt(60 / 59) * scipy.stats.t.ppf(0.95, 59)
    reference = scipy.stats.bootstrap(
        (x,),
        np.mean,
        method="BCa",
        confidence_level=2 * scipy.stats.norm.cdf(widened) - 1,
        n_resamples=20_000,
        rng=11,
    ).confidence_interval

    ours = resample(Mean(), sums_of(x), draw_weights(60, 20_000, seed=2))

    assert isinstance(ours, BCa)
    # Monte-Carlo error is 0.003; Poisson weights spread a little wider than draws with replacement.
    assert ours.bound(0.05) == pytest.approx(reference.low, abs=0.01)
    assert ours.bound(0.95) == pytest.approx(reference.high, abs=0.01)


@pytest.mark.parametrize("units", [31, 101])
def test_bca_bounds_are_as_wide_as_those_of_student_s_t(units):
    """Against scipy's quantiles, without bias and acceleration; the error falls with n³."""
    bca = BCa(SortedDraws(np.linspace(0, 1, 1001)), 0.0, 0.0, units)
    t = scipy.stats.t.ppf(0.95, units - 1) * np.sqrt(units / (units - 1))

    assert bca.bound(0.95) == pytest.approx(scipy.stats.norm.cdf(t), abs=0.2 / units**3)


def test_a_ratio_on_few_units_is_studentised_and_on_many_is_not():
    """Bootstrap-t below 200 units, BCa from there on."""
    few, many = paired_sums(n=199), paired_sums(n=200)

    small = resample(Mean(), few, draw_weights(199, 500, 0), studentised=True)
    large = resample(Mean(), many, draw_weights(200, 500, 0), studentised=True)

    assert isinstance(small, Studentised)
    assert isinstance(large, BCa)


def test_standard_error_of_a_mean_is_the_textbook_one():
    """sd(x, ddof=1) / √n for a plain mean."""
    x = np.random.default_rng(0).normal(size=40)

    assert standard_error(Mean(), sums_of(x)) == pytest.approx(x.std(ddof=1) / np.sqrt(40))


@pytest.mark.parametrize("studentised", [False, True])
@given(level=st.floats(0.02, 0.98))
@settings(max_examples=40, deadline=None)
def test_level_is_the_inverse_of_bound(studentised, level):
    """The p-value of a requirement at a bound is the level of that bound."""
    sums = paired_sums()
    distribution = resample(Mean(), sums, draw_weights(60, 4_000, 0), studentised=studentised)

    assert distribution.level(distribution.bound(level)) == pytest.approx(level, abs=0.004)


@pytest.mark.parametrize("studentised", [False, True])
def test_bounds_rise_with_their_level(studentised):
    """A surer upper bound is never lower."""
    distribution = resample(
        Mean(), paired_sums(), draw_weights(60, 2_000, 0), studentised=studentised
    )
    bounds = [distribution.bound(level) for level in np.linspace(0.01, 0.99, 99)]

    assert bounds == sorted(bounds)


def test_p_values_never_reach_zero():
    """A bound far outside all draws still leaves 1/(B+1)."""
    distribution = resample(Mean(), paired_sums(), draw_weights(60, 999, 0))

    assert 0 < distribution.level(-100.0) < 0.01
    assert 0.99 < distribution.level(100.0) < 1


def test_a_value_that_no_resample_changes_gets_the_rule_of_three():
    """All of n units right: the lower bound is α^(1/n), as for n successes in n trials."""
    sums = sums_of(np.ones(59))

    distribution = resample(Mean(), sums, draw_weights(59, 200, 0), reach=(1.0, 0.0))

    assert isinstance(distribution, Exact)
    assert distribution.bound(0.05) == pytest.approx(0.05 ** (1 / 59))
    assert distribution.bound(0.95) == 1.0
    assert distribution.level(0.05 ** (1 / 59)) == pytest.approx(0.05)


def test_a_constant_that_cannot_hide_dissent_is_exact():
    """A model that is constant has the same value on every prompt, whatever the sample."""
    distribution = resample(Mean(), sums_of(np.full(40, 0.5)), draw_weights(40, 200, 0))

    assert distribution.bound(0.05) == distribution.bound(0.95) == 0.5
    assert distribution.level(0.4) == 0.0
    assert distribution.level(0.6) == 1.0


@pytest.mark.parametrize(
    ("value", "spread", "exact"),
    [(0.5, 1e-14, True), (0.5, 1e-9, False), (1e6, 1e-9, True), (1e6, 1e-3, False)],
)
def test_a_spread_of_rounding_size_is_none(value, spread, exact):
    """Rounding is a share of the value, and of 1 where that is less."""
    x = value + spread * np.random.default_rng(0).normal(size=40)
    distribution = resample(Mean(), sums_of(x), draw_weights(40, 200, 0))

    assert isinstance(distribution, Exact) == exact


def test_a_paired_difference_cancels_what_both_have_in_common():
    """The spread of the difference is that of x − y, not that of x and y."""
    rng = np.random.default_rng(3)
    common = rng.normal(size=300)
    x, y = common + 0.05 * rng.normal(size=300), common + 0.05 * rng.normal(size=300)
    rows = np.hstack([sums_of(x), sums_of(y)])

    distribution = resample(Difference(Mean(), Mean(), 2), rows, draw_weights(300, 2_000, 0))
    width = distribution.bound(0.95) - distribution.bound(0.05)

    assert width == pytest.approx(2 * 1.645 * (x - y).std(ddof=1) / np.sqrt(300), rel=0.08)


def test_difference_has_the_gradient_of_both():
    """Against a numerical derivative."""
    statistic = Difference(Mean(), Mean(), 2, sign=-1.0)
    totals = np.array([3.0, 5.0, 2.0, 7.0])
    step = 1e-6 * np.eye(4)
    numerical = [(statistic.value(totals + s) - statistic.value(totals - s)) / 2e-6 for s in step]

    assert statistic.gradient(totals) == pytest.approx(np.array(numerical), abs=1e-8)


@pytest.mark.parametrize("n", [30, 60])
def test_studentised_lower_bounds_of_a_ratio_cover_as_often_as_they_say(n):
    """One-sided 95 % bounds hold in 93 to 97 % of 600 samples (Monte-Carlo error 0.9 %)."""
    rng = np.random.default_rng(n)
    held = 0
    for _ in range(600):
        golden = rng.exponential(1.0, n) + 0.2
        sums = np.stack([0.7 * golden + 0.5 * rng.normal(size=n), golden], axis=-1)
        distribution = resample(Mean(), sums, draw_weights(n, 800, 1), studentised=True)
        held += distribution.bound(0.05) <= 0.7

    assert 0.925 <= held / 600 <= 0.975
