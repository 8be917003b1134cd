"""What a kind of reward asks of an engine: numbers at positions of rows of token ids.

A kind says which positions, and which numbers there; its reward is a formula of them. An engine
has one or more ways to compute them, which agree to rounding; the proof compares them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# `packed`: common beginnings are computed once, and nothing is padded.
Way = Literal["padded", "packed"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One row of tokens, and what is wanted to know of it.

    Attributes:
        ids: Token ids, at least one.
        at: Positions whose output is read, in any order; none where the model pools the row.
        types: Token type ids; empty where the model takes none.
        columns: Labels of a head, or tokens of a vocabulary, that are read at each position; empty
            with `chosen`, and where all labels are.
        chosen: At each position the one token that is read; empty with `columns`.
    """

    ids: tuple[int, ...]
    at: tuple[int, ...] = ()
    types: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()
    chosen: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def read(self) -> int:
        """How many positions are read; a pooled row counts as one."""
        return len(self.at) or 1


class ModelEngine(Protocol):
    """A loaded model that answers.

    Numbers of a row are (positions, columns), or (positions,) where `chosen` says which. Those of a
    head are raw logits, those of a vocabulary log-probabilities in nats, or logits less a number of
    each position. Behind the last hidden state they are computed in float32.
    """

    def numbers(self, rows: Sequence[Asked], way: Way = "padded", **how: int) -> list[Floats]:
        """The numbers of each row.

        Args:
            rows: Of one form: the same columns.
            way: How they are computed, where there is a choice.
            how: Further arguments of the way, such as `least` of `packed`.

        Raises:
            MemoryError: The rows do not fit.
        """
        ...


def read_at(rows: Sequence[Asked]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n,) row and (n,) position of each number that is read, row by row."""
    lines = np.repeat(np.arange(len(rows)), [len(row.at) for row in rows])
    return lines, np.concatenate([np.asarray(row.at, dtype=np.int64) for row in rows])


def split(numbers: NDArray[Any], rows: Sequence[Asked]) -> list[NDArray[Any]]:
    """Numbers of all rows, one below the other, row by row again."""
    return np.split(numbers, np.cumsum([row.read for row in rows])[:-1])
