"""Ranks and tie groups of every row of a (p, N) block at once."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rmcheck.metrics.rewards import Floats, Ints

S = TypeVar("S", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Order:
    """Each row of a (p, N) array in ascending order, with its groups of equal values.

    Attributes:
        index: (p, N) position in the row of the k-th smallest value.
        start: (p, N) first position, in the sorted row, of the group that the k-th value is in.
        stop: (p, N) one past the last position of that group.
        tied: Whether any row has two equal values.
    """

    index: Ints
    start: Ints
    stop: Ints
    tied: bool

    def scatter(self, sorted_values: NDArray[S]) -> NDArray[S]:
        """(p, N) values given in sorted order, put back where they came from."""
        out = np.empty(sorted_values.shape, dtype=sorted_values.dtype)
        np.put_along_axis(out, self.index, sorted_values, axis=1)
        return out

    @property
    def average_ranks(self) -> Floats:
        """(p, N) ranks 1 to N in sorted order; equal values share the mean of their ranks."""
        return (self.start + self.stop + 1) / 2

    @property
    def groups(self) -> Ints:
        """(p, N) number of the tie group, 0, 1, …, in sorted order."""
        first = self.start == np.arange(self.start.shape[1])
        return np.cumsum(first, axis=1) - 1


def order(values: Floats) -> Order:
    """Sort every row of a (p, N) array and find its ties."""
    size = values.shape[1]
    index = np.argsort(values, axis=1)
    arranged = np.take_along_axis(values, index, axis=1)
    start, stop = tie_bounds(arranged)
    return Order(index, start, stop, bool((stop - start > 1).any()) if size else False)


def tie_bounds(arranged: Floats | Ints) -> tuple[Ints, Ints]:
    """(p, N) start and stop (exclusive) of the run of equal values that each position is in."""
    positions = np.arange(arranged.shape[1])
    new = np.ones(arranged.shape, dtype=bool)
    np.not_equal(arranged[:, 1:], arranged[:, :-1], out=new[:, 1:])
    if new.all():
        shape = arranged.shape
        return np.broadcast_to(positions, shape), np.broadcast_to(positions + 1, shape)
    start = np.maximum.accumulate(np.where(new, positions, 0), axis=1)
    last = np.ones(arranged.shape, dtype=bool)
    last[:, :-1] = new[:, 1:]
    ends = np.where(last, positions + 1, arranged.shape[1])
    stop = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    return start, stop


def average_ranks(values: Floats) -> Floats:
    """(p, N) rank of every value in its row, 1 = smallest, ties averaged."""
    found = order(values)
    return found.scatter(found.average_ranks)


def constant(values: Floats) -> NDArray[np.bool_]:
    """(p,) True for rows whose values are all equal."""
    return np.asarray(values.max(axis=1) == values.min(axis=1))
