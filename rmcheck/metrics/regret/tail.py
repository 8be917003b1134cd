"""The tail that all prompts have together: what each response adds to the best of n in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmcheck.metrics.ratio import ratio, ratio_gradient
from rmcheck.metrics.rewards import Floats
from rmcheck.stats.bootstrap import Statistic


@dataclass(frozen=True, eq=False)
class BestOf:
    """What each response of a pool adds to the best of n drawn from all of them.

    The expected golden reward of the best of n is ∫ m(u) n uⁿ⁻¹ du over the ranks u. A response
    counts for its own share of that, and it moves the rank of all that lie above it; with both,
    the mean over responses is the value, and its spread is that of the value.

    Attributes:
        values: (V,) the selector's distinct values, ascending.
        own: (V,) what golden of a response with this value is multiplied with.
        above: (V,) what its rank does to the responses above it.
    """

    values: Floats
    own: Floats
    above: Floats

    def influences(self, selector: Floats, golden: Floats) -> Floats:
        """(p, N) influences; their mean over all responses is the expected golden reward.

        Args:
            selector: (p, N) values among `values`.
            golden: (p, N) golden rewards above their prompt's mean.
        """
        # Prompts outside the slice that was ranked are measured and then left out.
        place = np.minimum(np.searchsorted(self.values, selector), self.values.size - 1)
        found: Floats = self.own[place] * golden + self.above[place]
        return found


def best_of(selector: Floats, golden: Floats, weights: Floats, at: Sequence[int]) -> list[BestOf]:
    """The best of each n in `at`, drawn from (M,) responses with these weights.

    Args:
        selector: (M,) what the best is chosen by.
        golden: (M,) golden rewards above their prompt's mean.
        weights: (M,) shares of the responses; they sum to 1.
        at: Each n.
    """
    values, place = np.unique(selector, return_inverse=True)
    mass: Floats = np.bincount(place, weights).astype(np.float64)
    upto: Floats = np.cumsum(mass)
    below, mean = upto - mass, np.bincount(place, weights * golden) / mass
    middle = (upto + below) / 2
    found = []
    for n in at:
        push = mass * mean * n * (n - 1) * middle ** max(0, n - 2)
        above = np.cumsum(push[::-1])[::-1] - push / 2
        found.append(BestOf(values, (upto**n - below**n) / mass, above - mass @ above))
    return found


@dataclass(frozen=True)
class TailDrop(Statistic):
    """A drop inside prompts, and what a tail adds to it.

    Attributes:
        inside: Columns of the proxy's and golden's gain inside prompts.
        anchor: The same of all together, at the same n.
        tail: The same of all together, at the n that is wanted.
    """

    inside: tuple[int, int]
    anchor: tuple[int, int]
    tail: tuple[int, int]

    @property
    def _terms(self) -> tuple[tuple[int, int, float], ...]:
        """Columns of each ratio, and its sign."""
        return (*self.inside, -1.0), (*self.anchor, 1.0), (*self.tail, -1.0)

    def value(self, sums: Floats, /) -> Floats:
        """1 − inside + anchor − tail."""
        return np.asarray(
            1 + sum(sign * ratio(sums[..., i], sums[..., j]) for i, j, sign in self._terms)
        )

    def gradient(self, sums: Floats, /) -> Floats:
        out = np.zeros_like(sums)
        for i, j, sign in self._terms:
            out[..., [i, j]] += ratio_gradient(sums[..., [i, j]], sign=sign)
        return out


def reach(responses: int, min_tail: float) -> int:
    """Largest n whose best is still the mean of `min_tail` responses in effect.

    The weights n uⁿ⁻¹ / M of M responses have the effective size M (2n − 1) / n².
    """
    if min_tail <= 0:
        return 2**62
    room = responses * responses - responses * min_tail
    return int((responses + math.sqrt(room)) / min_tail) if room > 0 else 1
