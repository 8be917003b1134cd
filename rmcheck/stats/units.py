"""Independent units, which are resampled: pools, shards and curves all come to them."""

from dataclasses import dataclass, field, replace

import numpy as np

from rmcheck.stats.weights import Floats, Ints, ResampleWeights, add_up, draw_weights

# Fewer independent units than this decide nothing, where nobody says otherwise.
MIN_UNITS = 30


@dataclass(frozen=True, eq=False)
class Units:
    """What the prompts of each independent unit add up to; where units are many, of groups of them.

    A unit is a prompt, or a cluster of prompts. Resampling weights belong to all units of a pool,
    so that slices, metrics and models that share them are resampled together.

    Attributes:
        sums: (c, K) sums, one row a unit, or a group of units.
        places: (c,) ascending places of the rows among all of the pool.
        pool: Number of all rows of the pool.
    """

    sums: Floats = field(repr=False)
    places: Ints = field(repr=False)
    pool: int

    @classmethod
    def of(cls, sums: Floats, clusters: Ints, pool: int) -> "Units":
        """From the sums of prompts.

        Args:
            sums: (p, K) sums of the prompts that count.
            clusters: (p,) number of the unit of each, below `pool`.
            pool: Number of units of the pool.
        """
        places, unit = np.unique(clusters, return_inverse=True)
        return cls(add_up(sums, unit, places.size), places, pool)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.sums)

    @property
    def whole(self) -> Floats:
        """(K,) totals of the rows as they are."""
        return np.asarray(self.sums.sum(axis=0))

    def beside(self, *others: "Units") -> "Units":
        """With the sums of the same units in other columns."""
        return replace(self, sums=np.hstack([self.sums, *(other.sums for other in others)]))

    def totals(self, weights: ResampleWeights) -> Floats:
        """(B, K) totals of each resample (see `ResampleWeights.totals`)."""
        everything = len(self.places) == self.pool  # which spares a copy of the weights
        return weights.totals(self.sums, None if everything else self.places)

    def resampled(self, resamples: int, seed: int) -> Floats:
        """(B, K) totals of resamples with the weights of the whole pool."""
        return self.totals(draw_weights(self.pool, resamples, seed))


def few_units(count: int, least: int = MIN_UNITS, *, constant: int = 0) -> tuple[str, ...]:
    """The reason not to decide on fewer independent units than the least; empty where enough.

    Args:
        count: Units that carry a value.
        least: Fewest on which anything is decided.
        constant: Prompts that are none of them because golden is constant there.
    """
    if count >= least:
        return ()
    few = f"{count} independent prompts, fewer than {least}"
    return (f"{few} (on {constant} more the golden rewards are all equal)" if constant else few,)
