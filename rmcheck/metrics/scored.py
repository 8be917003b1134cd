"""Every response that was scored, whether it has a golden reward or not."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Scored:
    """Proxy rewards of all M' responses, of which M were chosen and have a golden reward.

    A reward model scores every response for nothing; golden rewards cost. What best-of-n would
    pick is known from the scores of all, and a few labels tell what the picks are worth.

    Attributes:
        proxy: (M',) rewards of the model under test, all prompts one after another.
        offsets: (P + 1,) where each prompt begins; `offsets[-1] == M'`.
        places: (M,) where each labelled response stands in `proxy`, ascending.
        inclusion: (M,) probability with which each labelled response was chosen for a label.
    """

    proxy: Floats
    offsets: Ints
    places: Ints
    inclusion: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "proxy", self.proxy.astype(np.float64, copy=False))
        if self.proxy.shape != (int(self.offsets[-1]),):
            raise UndefinedMetricError(
                f"proxy of all responses has shape {self.proxy.shape}; offsets ask for "
                f"({self.offsets[-1]},)"
            )
        bad = np.flatnonzero(~np.isfinite(self.proxy))
        if bad.size:
            raise UndefinedMetricError(
                f"{bad.size} of {self.proxy.size} proxy rewards are not finite, the first is "
                f"number {bad[0]}: {self.proxy[bad[0]]}"
            )
        if not ((self.inclusion > 0) & (self.inclusion <= 1)).all():
            raise UndefinedMetricError(
                "a labelled response has an inclusion probability outside (0, 1]"
            )

    @classmethod
    def from_labels(
        cls, proxy: Floats, offsets: Ints, labelled: NDArray[np.bool_], inclusion: Floats
    ) -> Self:
        """From (M',) values of all responses; what is not labelled has no inclusion."""
        places = np.flatnonzero(labelled)
        return cls(proxy, offsets, places, np.asarray(inclusion, dtype=np.float64)[places])

    @property
    def counts(self) -> Ints:
        """(P,) number of responses of each prompt, labelled or not."""
        return np.diff(self.offsets)

    def blocks(self, rows: Ints, max_size: int) -> Iterator[tuple[Ints, Ints]]:
        """Of some prompts, dense blocks of equal N, ascending in N.

        Yields:
            (p,) positions of prompts with N responses, and the (p, N) places of their responses.
        """
        counts = self.counts[rows]
        for n in np.unique(counts):
            same = rows[counts == n]
            height = max(1, max_size // int(n))
            for first in range(0, same.size, height):
                part = same[first : first + height]
                yield part, self.offsets[part][:, None] + np.arange(n)
