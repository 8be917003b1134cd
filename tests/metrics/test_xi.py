"""Chatterjee's ξ against scipy, against all tie orders, and by its laws."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chatterjeexi

from rmcheck.metrics.xi import Xi
from rmcheck.testing import distinct_scores, scores, tied_scores

# Largest and smallest value at each N without golden ties (enumerated; math of the paper's eq. 16).
RANGE = {
    3: (0.25, -0.125),
    4: (0.4, -0.4),
    5: (0.5, -0.375),
    6: (0.571, -0.457),
    7: (0.625, -0.4375),
}


def xi(proxy, golden, **settings):
    """ξ of one prompt."""
    return Xi(**settings).prompt_values(np.array([proxy], float), np.array([golden], float))[0]


def xi_over_tie_orders(proxy, golden):
    """Mean of the no-tie formula over every order that tied proxies can be put in."""
    size = len(proxy)
    at_most = [(golden <= g).sum() for g in golden]
    at_least = [(golden >= g).sum() for g in golden]
    scale = 2 * sum(int(u) * (size - int(u)) for u in at_least)
    groups = [np.flatnonzero(proxy == level).tolist() for level in np.unique(proxy)]
    found = []
    for orders in itertools.product(*(itertools.permutations(group) for group in groups)):
        ranks = [int(at_most[i]) for group in orders for i in group]
        steps = sum(abs(a - b) for a, b in itertools.pairwise(ranks))
        found.append(1 - Fraction(size * steps, scale))
    return float(sum(found) / len(found))


@given(rows=st.integers(3, 9).flatmap(lambda n: st.tuples(distinct_scores(n), scores(n))))
def test_xi_is_scipys_without_proxy_ties(rows):
    """Golden ties or none, ξ agrees with `chatterjeexi` where the proxy has no ties."""
    proxy, golden = rows
    if np.ptp(golden) == 0:
        return

    expected = chatterjeexi(proxy, golden, y_continuous=False).statistic

    assert xi(proxy, golden) == pytest.approx(expected, abs=1e-12)


@given(rows=st.integers(3, 6).flatmap(lambda n: st.tuples(tied_scores(n), scores(n))))
def test_proxy_ties_are_averaged_over_all_orders(rows):
    """With proxy ties ξ is the exact mean over every way to break them."""
    proxy, golden = rows
    if np.ptp(golden) > 0:
        assert xi(proxy, golden) == pytest.approx(xi_over_tie_orders(proxy, golden), abs=1e-12)


@given(rows=st.integers(3, 8).flatmap(lambda n: st.tuples(scores(n), scores(n))))
def test_xi_is_blind_to_direction(rows):
    """A reversed proxy has the same ξ, ties or none."""
    proxy, golden = rows
    if np.ptp(golden) > 0:
        assert xi(-proxy, golden) == pytest.approx(xi(proxy, golden), abs=1e-12)


@pytest.mark.parametrize("size", RANGE)
def test_range_mean_and_variance_over_all_orders(size):
    """Over all orders: the range of that N, mean 0, and the variance of independence."""
    orders = np.array(list(itertools.permutations(range(size))), dtype=float)
    values = Xi().prompt_values(np.tile(np.arange(float(size)), (len(orders), 1)), orders)
    n = size
    variance = (n - 2) * (4 * n - 7) / (10 * (n - 1) ** 2 * (n + 1))  # Chatterjee 2021

    assert values.max() == pytest.approx(RANGE[size][0], abs=5e-4)
    assert values.min() == pytest.approx(RANGE[size][1], abs=5e-4)
    assert values.mean() == pytest.approx(0, abs=1e-12)
    assert values.var() == pytest.approx(variance, abs=1e-12)
    assert (values == values.max()).sum() == 2  # the same order and the reversed one


@pytest.mark.parametrize("size", [3, 4, 5])
def test_declared_range_holds_for_all_golden_ties(size):
    """Every pattern of golden ties stays inside the declared range, normalised or not."""
    golden = np.array(list(itertools.product(range(size), repeat=size)), dtype=float)
    golden = golden[np.ptp(golden, axis=1) > 0]
    proxy = np.tile(np.arange(float(size)), (len(golden), 1))
    for normalized in (False, True):
        metric = Xi(normalized=normalized)
        values = metric.prompt_values(proxy, golden)

        assert values.min() >= metric.range[0] - 1e-12
        assert values.max() <= metric.range[1] + 1e-12


@given(golden=st.integers(3, 8).flatmap(distinct_scores))
def test_a_perfect_proxy_has_one_when_normalised(golden):
    """Golden itself has 1 at every N."""
    assert xi(golden, golden, normalized=True) == pytest.approx(1, abs=1e-12)


@given(golden=scores(6), proxy=scores(6))
def test_normalising_divides_by_the_largest_value_of_n(golden, proxy):
    """That value is (N − 2) / (N + 1), whatever ties there are."""
    assume(np.ptp(golden) > 0)
    expected = xi(proxy, golden) / (4 / 7)

    assert xi(proxy, golden, normalized=True) == pytest.approx(expected, abs=1e-12)


@given(golden=distinct_scores(6))
def test_constant_proxy_has_zero(golden):
    """A proxy that knows nothing has exactly 0 where golden has no ties."""
    assert xi(np.zeros(6), golden) == pytest.approx(0, abs=1e-12)


def test_constant_golden_is_undefined():
    """There is nothing to depend on."""
    assert np.isnan(xi([1, 2, 3], [2, 2, 2]))
