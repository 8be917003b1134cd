"""Bootstrap weights: how often each independent unit counts in each resample.

One matrix serves every statistic, every model and every slice of a suite. That is what makes
the comparison of two models paired, and the bounds of several checks jointly valid.

Each unit counts a Poisson(1) number of times, whatever the others do: draws with replacement are
such numbers given their sum. Where there are more than `COLUMNS` units they are put into so many
groups at random, and a group counts as one: neither time nor memory grow with the units, and bounds
hold as often (benchmarks/results/groups.md).

Reference:
    Chamandy, Muralidharan, Najmi and Naidu 2012, Estimating uncertainty for massive data streams.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rmcheck.stats.threads import one_thread

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Most units, or groups of them, that are weighted: 40 MB at 10,000 resamples.
COLUMNS = 4096
# Up to so many units products are taken in float64.
EXACT_UNITS = 500
# Weights that are drawn and multiplied at once: as floats they stay in cache.
CHUNK_ELEMENTS = 2**18
# Random bytes from which a unit counts once, twice, … Mean and variance of the counts, and nearly
# their third moment, are those of Poisson(1).
_POISSON = (94, 189, 235, 251, 255)
# Rows of a left factor are multiplied by so many at a time; a number of them in between costs more.
_ROWS = 8


@dataclass(frozen=True)
class ResampleWeights:
    """How often each of some units counts, in each of B resamples: Poisson(1) numbers.

    Attributes:
        counts: (B / S rounded up, C, S) weights of C columns in S resamples after S others.
        resamples: B.
        seed: What they were drawn from; the same seed gives the same counts.
        columns: (n,) column of each unit; None where unit c is column c.
    """

    counts: NDArray[np.uint8] = field(repr=False)
    resamples: int
    seed: int
    columns: Ints | None = field(default=None, repr=False)

    def totals(self, sums: Floats, units: Ints | None = None) -> Floats:
        """(B, K) totals of (c, K) sums over each resample, scaled as if it had c units.

        A resample without any unit has NaN. A mean of n numbers then spreads by their standard
        deviation with divisor n − 1, over √n, but for O(1 / n²).

        Products of many units are taken in float32 with an orthonormal basis of the columns.
        Whatever combination of totals a statistic takes is then off by about 1e-6 of its own
        spread, and columns that depend on one another still do to the last digits of float64.

        Args:
            sums: One row a unit.
            units: (c,) which units the rows are; None means all, in order.
        """
        if self.columns is not None:
            columns = self.columns if units is None else self.columns[units]
            units, groups = np.unique(columns, return_inverse=True)
            sums = add_up(sums, groups, units.size)
        sums, column = _distinct(sums)
        middle = np.median(sums, axis=0)  # exact where most units have it, as where most are right
        varies = (sums != middle).any(axis=0)
        basis, back = np.linalg.qr(sums[:, varies] - middle[varies])
        precision = np.float32 if len(basis) > EXACT_UNITS else np.float64
        left = np.zeros((-(-(1 + basis.shape[1]) // _ROWS) * _ROWS, len(basis)), precision)
        left[0], left[1 : 1 + basis.shape[1]] = 1, basis.T
        products, floats = [], np.empty((len(basis), self.counts.shape[2]), precision)
        with one_thread():
            for counts in self.counts:
                np.copyto(floats, counts if units is None else counts[units])
                products.append(np.matmul(left, floats))
            # A row a column until the end: long rows are added up and copied fastest.
            drawn = np.hstack(products)[:, : self.resamples].astype(np.float64)
            size = np.where(drawn[0] > 0, drawn[0], np.nan)
            totals = np.where(np.isnan(size), np.nan, middle[:, None])
            totals[varies] += back.T @ (drawn[1 : 1 + basis.shape[1]] / size)
            totals *= len(basis)
        return np.asarray(totals[column].T)


@lru_cache(maxsize=4)
def draw_weights(units: int, resamples: int, seed: int) -> ResampleWeights:
    """Weights of a cluster bootstrap over `units` independent units."""
    size = min(units, COLUMNS)
    height = min(resamples, max(1, CHUNK_ELEMENTS // max(1, size)))
    # Raw output of a bit generator never changes between versions of numpy.
    source, words = np.random.SFC64(seed), -(-size * height // 8)
    counts = np.empty((-(-resamples // height), size, height), dtype=np.uint8)
    for chunk in counts:
        drawn = source.random_raw(words).astype("<u8", copy=False).view(np.uint8)
        drawn = drawn[: chunk.size].reshape(chunk.shape)
        # Comparing all is faster than looking each up.
        np.greater_equal(drawn, _POISSON[0], out=chunk.view(np.bool_))
        for least in _POISSON[1:]:
            chunk += (drawn >= least).view(np.uint8)
    columns = None
    if units > COLUMNS:
        columns = np.random.default_rng([seed, units]).permutation(units) % COLUMNS
    return ResampleWeights(counts, resamples, seed, columns)


def add_up(sums: Floats, groups: Ints, size: int) -> Floats:
    """(size, K) sums of the rows of each group.

    Args:
        sums: (n, K) rows.
        groups: (n,) number of the group of each row, below `size`.
        size: Number of groups.
    """
    out = np.empty((size, sums.shape[1]))
    for k, column in enumerate(sums.T):
        out[:, k] = np.bincount(groups, column, minlength=size)
    return out


def _distinct(sums: Floats) -> tuple[Floats, Ints]:
    """The columns without repetitions, and which of these each one was."""
    first: dict[bytes, int] = {}
    column = np.array([first.setdefault(c.tobytes(), len(first)) for c in sums.T], dtype=np.int64)
    return sums[:, np.unique(column, return_index=True)[1]], column
