"""Chatterjee's ξ: is golden a function of the proxy, of whatever shape?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmcheck.metrics.normalizable import NormalizableMetric
from rmcheck.metrics.pairwise import ORDER_ONLY
from rmcheck.metrics.ranks import Order, order, places, tie_bounds
from rmcheck.metrics.ratio import ratio
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Floats, Ints


@register
@dataclass(frozen=True)
class Xi(NormalizableMetric):
    """Chatterjee's ξ of golden on the proxy inside a prompt, averaged over prompts.

    With the responses in ascending order of the proxy, R_k = #{j: g_j ≤ g_(k)} and
    L_k = #{j: g_j ≥ g_(k)}: ξ = 1 − N Σ|R_{k+1} − R_k| / (2 Σ L_k (N − L_k)), which without golden
    ties is 1 − 3 Σ|R_{k+1} − R_k| / (N² − 1). Ties in the proxy are averaged over all their
    orders, exactly. Undefined on a prompt where golden is constant; at N = 2 it is 0 whatever
    the rewards are, so a prompt needs three responses. Higher is better; independence gives 0, and
    a perfect proxy gives (N − 2) / (N + 1), so the plain value depends on N.

    ξ does not see direction: a proxy that is exactly reversed scores as well as a perfect one.
    Require an accuracy next to it.

    Args:
        normalized: Divide by (N − 2) / (N + 1), the largest value without golden ties, so that a
            perfect proxy has 1 at any N. Golden ties can carry it a little above 1.

    Caution:
        It passes a reversed model. With three to five responses a prompt it is coarse, and needs
        many prompts.

    Reference:
        Chatterjee 2021, A new coefficient of correlation, JASA 116; Wen et al. 2024, eq. 16.
    """

    name = "xi"
    invariances = ORDER_ONLY | {"proxy_reversal"}
    min_responses = 3  # at two responses ξ is 0 by construction

    @property
    def range(self) -> tuple[float, float]:
        """−1 to 1; normalised −2 (at N = 3) to 1.25 (at N = 4, golden tied in two halves)."""
        return (-2.0, 1.25) if self.normalized else (-1.0, 1.0)

    def prompt_values(self, proxy: Floats, golden: Floats) -> Floats:
        """(p,) ξ of each prompt; NaN where golden is constant."""
        size = proxy.shape[1]
        by_proxy, by_golden = order(proxy), order(golden)
        at_most: NDArray[np.integer]
        if by_golden.tied:
            at_least = size - by_golden.start  # L in golden order
            scale = 2 * (at_least * (size - at_least)).sum(axis=1) / size
            at_most = by_golden.scatter(by_golden.stop)
        else:  # the same, but for R one less each
            scale, at_most = np.full(len(proxy), (size**2 - 1) / 3), places(golden)
        steps = _expected_steps(by_proxy, by_proxy.arrange(at_most).astype(np.int32))
        found = 1 - ratio(steps, scale)
        if self.normalized:
            found = found * ((size + 1) / (size - 2))
        return found


def _expected_steps(by_proxy: Order, ranks: NDArray[np.integer]) -> Floats:
    """(p,) mean of Σ|R_{k+1} − R_k| over all orders of responses that tie in the proxy.

    Args:
        by_proxy: The proxy's order and ties.
        ranks: (p, N) golden ranks R in that order.
    """
    steps: Floats = np.abs(np.diff(ranks, axis=1)).sum(axis=1).astype(float)
    if by_proxy.tied:
        tied = np.flatnonzero((by_proxy.stop - by_proxy.start > 1).any(axis=1))
        steps[tied] = _tied_steps(by_proxy.groups[tied], ranks[tied])
    return steps


def _tied_steps(groups: Ints, ranks: NDArray[np.integer]) -> Floats:
    """The expected steps of rows with ties, from sums of |R_a − R_b| over pairs.

    Inside a group of m the m − 1 steps have the group's mean distance, and the step from a group to
    the next has the mean distance between the two. W(A) being the sum over all pairs inside A, the
    sum across A and B is W(A ∪ B) − W(A) − W(B): three sorts give all of them.
    """
    rows, size = groups.shape
    sizes = _group_sums(groups, np.ones_like(ranks, dtype=float))
    inside = _pair_distances(groups, ranks)
    unions = np.empty((rows, size))  # of group k with group k + 1
    unions[:, 0::2] = _pair_distances(groups // 2, ranks)[:, : (size + 1) // 2]
    unions[:, 1::2] = _pair_distances((groups + 1) // 2, ranks)[:, 1 : size // 2 + 1]
    present = np.maximum(sizes, 1)
    within = (2 * inside / present).sum(axis=1)
    across = unions[:, :-1] - inside[:, :-1] - inside[:, 1:]
    # Past the last group the union is that group alone, and nothing is left across.
    between = (across / (present[:, :-1] * present[:, 1:])).sum(axis=1)
    return np.asarray(within + between, dtype=np.float64)


def _pair_distances(groups: Ints, ranks: NDArray[np.integer]) -> Floats:
    """(p, N) Σ_{a<b} |R_a − R_b| over the pairs inside group 0, 1, … of each row.

    Args:
        groups: (p, N) group numbers, non-decreasing along each row.
        ranks: (p, N) golden ranks, 1 to N.
    """
    size = ranks.shape[1]
    key = np.sort(groups * (size + 1) + ranks, axis=1)
    arranged, numbers = key % (size + 1), key // (size + 1)
    start, stop = tie_bounds(numbers)
    # The k-th smallest of m is the larger one in k pairs and the smaller one in m - 1 - k.
    signs = 2 * np.arange(size) - start - stop + 1
    return _group_sums(numbers, (signs * arranged).astype(float))


def _group_sums(groups: Ints, values: Floats) -> Floats:
    """(p, N) sum of the values of group 0, 1, … of each row."""
    rows, size = groups.shape
    cells = groups + np.arange(rows)[:, None] * size
    sums = np.bincount(cells.ravel(), weights=values.ravel(), minlength=rows * size)
    return np.asarray(sums, dtype=np.float64).reshape(rows, size)
