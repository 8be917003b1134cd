"""Rows of one model in memory, found by text or by model input."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmcheck.models.sample import TooLong
from rmcheck.pool.keys import KeyRows, Keys, as_keys
from rmcheck.store.parts import CutSide, ScoreRows


@dataclass(frozen=True)
class Found:
    """What is stored for some texts; all arrays have one entry a text, in the order asked for.

    Attributes:
        scores: Raw rewards, NaN where nothing is stored. A stored reward is never NaN.
        lengths: Tokens read, 0 where nothing is stored.
        cuts: Tokens cut, 0 where nothing is stored.
    """

    scores: NDArray[np.float64]
    lengths: NDArray[np.int32]
    cuts: NDArray[np.int32]

    @property
    def missing(self) -> NDArray[np.bool_]:
        """True where nothing is stored."""
        return np.isnan(self.scores)


class ScoreTable:
    """Rows in the order they were added; of rows with one key the first counts.

    Two machines may differ in the last bits of a score. The first row is then used by every
    reader, never a mean of both.
    """

    def __init__(self) -> None:
        self._rows: list[ScoreRows] = []
        self._size = 0
        self._by_text: dict[CutSide, KeyRows] = {side: KeyRows() for side in ("", "left", "right")}
        self._by_input = KeyRows()
        self._rows_by_input = 0
        self._columns: Found | None = None

    def __len__(self) -> int:
        """Number of texts with a score."""
        return sum(map(len, self._by_text.values()))

    def add(self, rows: ScoreRows) -> None:
        """Take rows in; those that repeat a key do not count."""
        numbers = np.arange(self._size, self._size + len(rows))
        self._rows.append(rows)
        self._size += len(rows)
        self._columns = None
        sides = set(rows.sides)
        for side in sides:
            here = slice(None) if len(sides) == 1 else np.array([s == side for s in rows.sides])
            self._by_text[side].add(rows.text_keys[here], numbers[here])

    def lookup(self, text_keys: Sequence[bytes] | Keys, too_long: TooLong = "error") -> Found:
        """What is stored for the texts, read whole or, failing that, cut in this mode.

        Args:
            text_keys: `Sample.text_key` of each text.
            too_long: With `error` only conversations that were read whole are found.
        """
        keys = as_keys(text_keys)
        at = self._by_text[""].find(keys)
        if too_long != "error":
            absent = np.flatnonzero(at < 0)
            at[absent] = self._by_text[too_long].find(keys[absent])
        return self._take(at)

    def lookup_inputs(self, input_keys: Sequence[bytes] | Keys) -> NDArray[np.float64]:
        """(n,) scores stored for these model inputs, NaN where there is none."""
        start = sum(len(rows) for rows in self._rows[: self._rows_by_input])
        for rows in self._rows[self._rows_by_input :]:
            self._by_input.add(rows.input_keys, np.arange(start, start + len(rows)))
            start += len(rows)
        self._rows_by_input = len(self._rows)
        return self._take(self._by_input.find(as_keys(input_keys))).scores

    def _take(self, at: NDArray[np.int64]) -> Found:
        stored = self._gathered()
        if not len(stored.scores):
            zeros = np.zeros(len(at), np.int32)
            return Found(np.full(len(at), np.nan), zeros, zeros)
        missing = at < 0
        return Found(
            np.where(missing, np.nan, stored.scores[at]),
            np.where(missing, 0, stored.lengths[at]).astype(np.int32),
            np.where(missing, 0, stored.cuts[at]).astype(np.int32),
        )

    def _gathered(self) -> Found:
        if self._columns is None:
            self._columns = Found(
                np.concatenate([np.empty(0), *(rows.scores for rows in self._rows)]),
                np.concatenate([np.empty(0, np.int32), *(rows.lengths for rows in self._rows)]),
                np.concatenate([np.empty(0, np.int32), *(rows.cuts for rows in self._rows)]),
            )
        return self._columns
