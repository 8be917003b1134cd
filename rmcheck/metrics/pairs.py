"""Pairs of responses of one prompt, a bounded number at a time."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rmcheck.metrics.ranks import order
from rmcheck.metrics.rewards import Floats, Ints

# Pairs in one array: temporaries stay in cache, and are small enough for the allocator to reuse
# (above 0.5 MiB every one is mapped and faulted in anew, which doubles the time).
CHUNK_SIZE = 2**16


# Margins above which e^margin is no number.
LARGEST_EXPONENT = 700.0


@dataclass(frozen=True)
class PairChunk:
    """Some pairs of some prompts, each turned so that the proxy's margin is not negative.

    Attributes:
        rows: Slice of the block's prompts.
        ordered: Proxy and golden, each (N, q) rewards of q prompts, the proxy's ascending.
        places: Worse and better response of m pairs, each (m,) places in `ordered`.
        weight: Pairs that each of them stands for; 1 unless pairs were left out.
    """

    rows: slice
    ordered: tuple[Floats, Floats]
    places: tuple[Ints, Ints]
    weight: float

    @cached_property
    def margin(self) -> Floats:
        """(m, q) proxy's margin, ≥ 0."""
        return self._apart(self.ordered[0])

    @cached_property
    def golden(self) -> Floats:
        """(m, q) golden's margin in the same direction."""
        return self._apart(self.ordered[1])

    @property
    def confidence(self) -> Floats:
        """(m, q) Bradley-Terry probability of the better response, 1 / (1 + e^−margin)."""
        above = self.ordered[0] - self.ordered[0][0]
        if above[-1].max() > LARGEST_EXPONENT:
            return np.asarray(1 / (1 + np.exp(-self.margin)))
        worse, better = (np.exp(above).take(place, axis=0) for place in self.places)
        worse += better
        return np.asarray(better / worse)

    def _apart(self, values: Floats) -> Floats:
        worse, better = self.places
        found = values.take(better, axis=0)
        found -= values.take(worse, axis=0)
        return found


def pair_chunks(proxy: Floats, golden: Floats, limit: int) -> Iterator[PairChunk]:
    """The pairs of (p, N) rewards in chunks of bounded memory.

    With more than `limit` pairs in a prompt every k-th is taken, counting through the pairs of
    ranks (neighbours first), so that the same pairs are taken whatever the order of responses.
    """
    size = proxy.shape[1]
    total = size * (size - 1) // 2
    step = max(1, math.ceil(total / limit))
    chosen = np.arange(step // 2, total, step)
    weight = total / chosen.size
    by_proxy = order(proxy)
    # Ties in the proxy are put in golden's order, for the same reason.
    index = np.lexsort((golden, proxy), axis=1) if by_proxy.tied else by_proxy.index
    lag_starts = np.concatenate([[0], np.cumsum(np.arange(size - 1, 0, -1))])
    for first in range(0, chosen.size, CHUNK_SIZE):
        part = chosen[first : first + CHUNK_SIZE]
        lag = np.searchsorted(lag_starts, part, side="right")
        low = part - lag_starts[lag - 1]
        height = max(1, CHUNK_SIZE // part.size)
        for top in range(0, proxy.shape[0], height):
            rows = slice(top, min(top + height, proxy.shape[0]))
            # Prompts along the fast axis: taking a pair is copying a row.
            r = np.take_along_axis(proxy[rows], index[rows], axis=1).T.copy()
            g = np.take_along_axis(golden[rows], index[rows], axis=1).T.copy()
            yield PairChunk(rows, (r, g), (low, low + lag), weight)


def pair_limit(counts: Ints, most: int, least: int) -> int:
    """Pairs to read of one prompt so that a pool has about `most`, but never under `least`."""
    return max(least, most // max(1, counts.size))
