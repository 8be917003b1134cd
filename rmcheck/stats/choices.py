"""Ratings from choices among a few: Luce's model, which for pairs is Bradley and Terry's."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Precision of the normal prior of each rating, per nat². It keeps finite what won every time: one
# that won against the only other one in both orders is rated 2.6 nats above it.
PRIOR = 0.1
# Digits behind the point that a rating has: far beyond what a choice tells, and few enough that two
# with one record are rated alike in spite of rounding.
DIGITS = 7


def ratings(count: int, lists: Ints, shares: Floats) -> Floats:
    """(count,) ratings in nats with mean 0, higher is better: the most probable ones.

    Maximises Σ_q [Σ_k s_qk r_k − log Σ_k exp r_k] − PRIOR / 2 Σ r², in which each question q is a
    choice among a few; for two, the logistic function of a difference is the probability of a win.
    A tie is a share of the choice for each, as half a win is among two.

    Args:
        count: Of the things that are rated, numbered from 0.
        lists: (Q, K) numbers of those that stand to choice in each question; −1 where there are
            fewer than K.
        shares: (Q, K) each one's share of the choice; 1 in all for each question.

    References:
        Bradley and Terry 1952; Luce 1959; Hunter 2004, "MM algorithms for generalized
        Bradley-Terry models" (the likelihood).
    """
    from scipy.optimize import minimize  # not needed where nothing is compared

    if not len(lists):
        return np.zeros(count)
    there = lists >= 0
    wins = np.bincount(lists[there], weights=shares[there], minlength=count)

    def chances(rated: Floats) -> tuple[Floats, Floats]:
        """(Q, K) probability of each choice, and (Q,) log-sums."""
        found = np.where(there, rated[lists], -np.inf)
        sums = np.logaddexp.reduce(found, axis=1)
        return np.exp(found - sums[:, None]), sums

    def loss(rated: Floats) -> float:
        return float(chances(rated)[1].sum() - wins @ rated + PRIOR / 2 * rated @ rated)

    def gradient(rated: Floats) -> Floats:
        expected = np.bincount(lists[there], weights=chances(rated)[0][there], minlength=count)
        return np.asarray(expected - wins + PRIOR * rated)

    def curvature(rated: Floats) -> Floats:
        spread = np.zeros((len(lists), count))
        rows = np.broadcast_to(np.arange(len(lists))[:, None], lists.shape)
        spread[rows[there], lists[there]] = chances(rated)[0][there]
        return np.diag(spread.sum(axis=0) + PRIOR) - spread.T @ spread

    found = minimize(
        loss,
        np.zeros(count),
        jac=gradient,
        hess=curvature,
        method="trust-exact",
        options={"gtol": 1e-10},
    )
    return np.round(found.x, DIGITS) + 0.0
