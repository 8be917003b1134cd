"""The paired difference of two statistics on the same units."""

from dataclasses import dataclass, replace

import numpy as np

from rmcheck.stats.bootstrap import Statistic
from rmcheck.stats.weights import Floats


@dataclass(frozen=True)
class Difference:
    """`sign` × (first − second), from the sums of both side by side.

    Resampling the rows of `np.hstack([first_sums, second_sums])` draws the same units for both, so
    whatever they have in common cancels.

    Attributes:
        first: Reads the first `split` columns.
        second: Reads the others.
        split: Number of columns of `first`.
        sign: 1 or −1.
    """

    first: Statistic
    second: Statistic
    split: int
    sign: float = 1.0

    def value(self, sums: Floats, /) -> Floats:
        """(…,) differences of (…, K) totals."""
        first = self.first.value(sums[..., : self.split])
        # Adding 0 makes -0.0, which would be shown, 0.0.
        return self.sign * (first - self.second.value(sums[..., self.split :])) + 0.0

    def gradient(self, sums: Floats, /) -> Floats | None:
        """(…, K) derivatives, or None where one of the two has none."""
        first = self.first.gradient(sums[..., : self.split])
        second = self.second.gradient(sums[..., self.split :])
        if first is None or second is None:
            return None
        return self.sign * np.concatenate([first, -second], axis=-1)

    def parts(self, sums: Floats, /) -> Floats | None:
        """(…, M) differences of what both choose the largest of; None where they do not.

        The difference of two maxima lies between the smallest and the largest of these.
        """
        first = self.first.parts(sums[..., : self.split])
        second = self.second.parts(sums[..., self.split :])
        if first is None or second is None:
            return None
        return self.sign * (first - second)

    def terms(self, sums: Floats, /) -> Floats | None:
        """None: a difference of two sums of absolute values is none."""
        return None

    def bounded_by(self) -> "tuple[Difference, ...]":
        """Differences of what bounds both, one by one; empty where their bounds are their own."""
        pairs = zip(self.first.bounded_by(), self.second.bounded_by(), strict=True)
        return tuple(replace(self, first=first, second=second) for first, second in pairs)

    def both_terms(self, sums: Floats, /) -> tuple[Floats, Floats] | None:
        """(…, M) `terms` of both, the one that is taken from last; None where they are no sums."""
        first = self.first.terms(sums[..., : self.split])
        second = self.second.terms(sums[..., self.split :])
        if first is None or second is None:
            return None
        return (first, second) if self.sign > 0 else (second, first)
