"""Ranks and tie groups of every row of a (p, N) block at once."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import ParamSpec, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from rmcheck.metrics.rewards import Floats, Ints

S = TypeVar("S", bound=np.generic)
P = ParamSpec("P")
R = TypeVar("R")

_KNOWN: dict[tuple[object, ...], object] = {}


def once(function: Callable[P, R]) -> Callable[P, R]:
    """Of arrays that nobody can write to, such as those of a block, a function is computed once.

    Metrics that need the same order or the same pairs share them without knowing of one another.
    What was found is forgotten with the arrays.
    """

    @wraps(function)
    def known(*args: P.args, **kwargs: P.kwargs) -> R:
        arrays = [a for a in args if isinstance(a, np.ndarray)]
        if len(arrays) < len(args) or any(a.flags.writeable for a in arrays):
            return function(*args, **kwargs)
        key = (function, *map(id, arrays))
        if key not in _KNOWN:
            _KNOWN[key] = function(*args, **kwargs)
            for array in arrays:
                weakref.finalize(array, _KNOWN.pop, key, None).atexit = False
        return cast(R, _KNOWN[key])

    return known


@dataclass(frozen=True)
class Order:
    """Each row of a (p, N) array in ascending order, with its groups of equal values.

    Attributes:
        index: (p, N) position in the row of the k-th smallest value.
        flat: (p, N) the same among all values, row after row.
        start: (p, N) first position, in the sorted row, of the group that the k-th value is in.
        stop: (p, N) one past the last position of that group.
        tied: Whether any row has two equal values.
    """

    index: Ints
    flat: Ints
    start: Ints
    stop: Ints
    tied: bool

    def scatter(self, sorted_values: NDArray[S]) -> NDArray[S]:
        """(p, N) values given in sorted order, put back where they came from."""
        out = np.empty(sorted_values.shape, dtype=sorted_values.dtype)
        out.reshape(-1)[self.flat] = sorted_values
        return out

    def arrange(self, values: NDArray[S]) -> NDArray[S]:
        """(p, N) other values of the same responses, put into this order."""
        return values.take(self.flat)

    def weighted(self, values: Floats, weights: Floats) -> Floats:
        """(p,) other values of the same responses, weighted by place and added up.

        Args:
            values: (p, N) the values.
            weights: (N,) of the places from the smallest on; ties share those of theirs.
        """
        # Not a product of matrices, whose last digits depend on the prompts beside one.
        return np.asarray(np.einsum("ij,ij->i", self.arrange(values), self.shared(weights)))

    def shared(self, weights: Floats) -> Floats:
        """(p, N) weights of the places, from (N,); those of a tie group share theirs."""
        if not self.tied:
            return np.broadcast_to(weights, self.index.shape)
        cumulated = np.concatenate([[0.0], np.cumsum(weights)])
        shared = (cumulated[self.stop] - cumulated[self.start]) / (self.stop - self.start)
        return np.asarray(shared, dtype=np.float64)

    @cached_property
    def average_ranks(self) -> Floats:
        """(p, N) ranks 1 to N in sorted order; equal values share the mean of their ranks."""
        return (self.start + self.stop + 1) / 2

    @cached_property
    def ranks(self) -> Floats:
        """`average_ranks`, each where its value came from."""
        return self.scatter(self.average_ranks)

    @property
    def groups(self) -> Ints:
        """(p, N) number of the tie group, 0, 1, …, in sorted order."""
        first = self.start == np.arange(self.start.shape[1])
        return np.cumsum(first, axis=1) - 1


@once
def order(values: Floats) -> Order:
    """Sort every row of a (p, N) array and find its ties."""
    size = values.shape[1]
    index = np.argsort(values, axis=1)
    flat = index + size * np.arange(len(index))[:, None]
    start, stop = tie_bounds(values.take(flat))
    return Order(index, flat, start, stop, bool((stop - start > 1).any()) if size else False)


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
    return order(values).ranks


@once
def places(values: Floats) -> NDArray[np.unsignedinteger]:
    """(p, N) number of smaller values in its row, in the smallest integers that hold them."""
    found = order(values)
    return found.scatter(found.start.astype(smallest(values.shape[1])))


def smallest(size: int) -> type[np.unsignedinteger]:
    """The smallest integers that hold 0 to size − 1."""
    if size <= 2**8:
        return np.uint8
    return np.uint16 if size <= 2**16 else np.uint32


@once
def constant(values: Floats) -> NDArray[np.bool_]:
    """(p,) True for rows whose values are all equal."""
    # Of short rows, many times faster than their extremes.
    return np.asarray((values == values[:, :1]).all(axis=1))
