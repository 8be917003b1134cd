"""Bootstrap weights: how often each independent unit is drawn in each resample.

One matrix serves every statistic, every model and every slice of a suite. That is what makes
the comparison of two models paired, and the bounds of several checks jointly valid.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rmcheck.stats.threads import one_thread

Floats = NDArray[np.float64]

# Rows of the weight matrix that are turned into floats at once: about 16 MiB at 2,000 units.
CHUNK_ELEMENTS = 2_000_000


@dataclass(frozen=True)
class ResampleWeights:
    """Multinomial counts of `units` draws with replacement, `resamples` times.

    Attributes:
        counts: (B, C) how often unit c is drawn in resample b; each row sums to C.
        seed: What they were drawn from; the same seed gives the same counts.
    """

    counts: NDArray[np.uint8] = field(repr=False)
    seed: int

    @property
    def resamples(self) -> int:
        """B."""
        return int(self.counts.shape[0])

    def totals(self, sums: Floats, units: NDArray[np.int64] | None = None) -> Floats:
        """(B, K) totals of (c, K) sums over each resample.

        Args:
            sums: One row a unit.
            units: (c,) which columns of `counts` the rows are; None means all, in order.
        """
        counts = self.counts if units is None else self.counts[:, units]
        out = np.empty((counts.shape[0], sums.shape[1]))
        step = max(1, CHUNK_ELEMENTS // max(1, counts.shape[1]))
        with one_thread():
            for start in range(0, counts.shape[0], step):
                part = slice(start, start + step)
                np.matmul(counts[part].astype(np.float64), sums, out=out[part])
        return out


@lru_cache(maxsize=4)
def draw_weights(units: int, resamples: int, seed: int) -> ResampleWeights:
    """Weights of a cluster bootstrap over `units` independent units.

    Counting drawn indices is eight times faster than drawing multinomials.
    """
    rng = np.random.default_rng(seed)
    counts = np.empty((resamples, units), dtype=np.uint8)
    step = max(1, CHUNK_ELEMENTS // max(1, units))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, units, size=(rows, units), dtype=np.int32)
        drawn += np.arange(rows, dtype=np.int32)[:, None] * units
        counted = np.bincount(drawn.ravel(), minlength=rows * units)
        counts[start : start + rows] = counted.reshape(rows, units)
    return ResampleWeights(counts=counts, seed=seed)
