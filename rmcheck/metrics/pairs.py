"""Pairs of responses of one prompt, a bounded number at a time."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rmcheck.metrics.ranks import order, places, smallest
from rmcheck.metrics.rewards import Floats, Ints

S = TypeVar("S", bound=np.generic)

# Pairs in one array: temporaries stay in cache, and are small enough for the allocator to reuse
# (above 0.5 MiB every one is mapped and faulted in anew, which doubles the time).
CHUNK_SIZE = 2**16

# Margins above which e^margin is no number.
LARGEST_EXPONENT = 700.0

# What golden says of the response that the proxy prefers; SAME where the proxy prefers neither.
WORSE, TIED, BETTER, SAME = range(4)


@dataclass(frozen=True)
class PairChunk:
    """Some pairs of some prompts, each turned so that the proxy's margin is not negative.

    Attributes:
        rows: Slice of the block's prompts.
        ordered: Proxy and golden, each (N, q) rewards of q prompts, the proxy's ascending.
        ranks: (N, q) golden's ranks in the same order, equal where golden ties.
        places: Worse and better response of m pairs, each (m,) places in `ordered`.
        weight: Pairs that each of them stands for; 1 unless pairs were left out.
    """

    rows: slice
    ordered: tuple[Floats, Floats]
    ranks: NDArray[np.unsignedinteger]
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
    def verdict(self) -> NDArray[np.uint8]:
        """(m, q) WORSE, TIED or BETTER by golden; SAME where only the proxy ties."""
        worse, better = self._both(self.ranks)
        found = (better >= worse).view(np.uint8)
        found += (better > worse).view(np.uint8)
        proxy = self.ordered[0]
        if (proxy[1:] == proxy[:-1]).any():
            found[(self.margin == 0) & (found != TIED)] = SAME
        return found

    @property
    def confidence(self) -> Floats:
        """(m, q) Bradley-Terry probability of the better response, 1 / (1 + e^−margin)."""
        above = self.ordered[0] - self.ordered[0][0]
        if above[-1].max() > LARGEST_EXPONENT:
            return np.asarray(1 / (1 + np.exp(-self.margin)))
        worse, better = self._both(np.exp(above))
        worse += better
        better /= worse
        return better

    def _apart(self, values: Floats) -> Floats:
        worse, better = self._both(values)
        better -= worse
        return better

    def _both(self, values: NDArray[S]) -> tuple[NDArray[S], NDArray[S]]:
        """(m, q) values of the worse response of each pair, and of the better one."""
        worse, better = (values.take(place, axis=0) for place in self.places)
        return worse, better


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
    flat = by_proxy.flat
    if by_proxy.tied:
        flat = np.lexsort((golden, proxy), axis=1) + size * np.arange(len(proxy))[:, None]
    # Prompts along the fast axis: taking a pair is copying a row.
    ranks = places(golden).astype(smallest(size))
    r, g, ranked = (np.asarray(values.take(flat).T, order="C") for values in (proxy, golden, ranks))
    lag_starts = np.concatenate([[0], np.cumsum(np.arange(size - 1, 0, -1))])
    for first in range(0, chosen.size, CHUNK_SIZE):
        part = chosen[first : first + CHUNK_SIZE]
        lag = np.searchsorted(lag_starts, part, side="right")
        low = part - lag_starts[lag - 1]
        height = max(1, CHUNK_SIZE // part.size)
        for top in range(0, proxy.shape[0], height):
            rows = slice(top, min(top + height, proxy.shape[0]))
            ordered = (r[:, rows], g[:, rows])
            yield PairChunk(rows, ordered, ranked[:, rows], (low, low + lag), weight)


def pair_limit(counts: Ints, most: int, least: int) -> int:
    """Pairs to read of one prompt so that a pool has about `most`, but never under `least`."""
    return max(least, most // max(1, counts.size))
