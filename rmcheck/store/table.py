"""Rows of one model in memory, found by text or by model input."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmcheck.models.model import TooLong
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
    reader, and the difference is counted, never averaged away.

    Attributes:
        largest_conflict: Largest difference between two scores of one text.
    """

    def __init__(self) -> None:
        self.largest_conflict = 0.0
        self._rows: list[ScoreRows] = []
        self._size = 0
        self._by_text: dict[CutSide, dict[bytes, int]] = {"": {}, "left": {}, "right": {}}
        self._by_input: dict[bytes, int] = {}
        self._rows_by_input = 0
        self._conflicts: set[tuple[CutSide, bytes]] = set()
        self._columns: Found | None = None

    def __len__(self) -> int:
        """Number of texts with a score."""
        return sum(map(len, self._by_text.values()))

    @property
    def conflicts(self) -> int:
        """Number of texts for which different scores are stored."""
        return len(self._conflicts)

    def add(self, rows: ScoreRows) -> None:
        """Take rows in; those that repeat a key are only compared with the first."""
        start = self._size
        self._rows.append(rows)
        self._size += len(rows)
        self._columns = None
        if not rows.cuts.any() and not self._by_text[""]:
            index = dict(zip(rows.text_keys, range(start, self._size), strict=True))
            if len(index) == len(rows):
                self._by_text[""] = index
                return
        repeats = []
        for row, (key, side) in enumerate(zip(rows.text_keys, rows.sides, strict=True), start):
            first = self._by_text[side].setdefault(key, row)
            if first != row:
                repeats.append((first, row, side, key))
        self._compare(repeats)

    def lookup(self, text_keys: Sequence[bytes], too_long: TooLong = "error") -> Found:
        """What is stored for the texts, read whole or, failing that, cut in this mode.

        Args:
            text_keys: `Sample.text_key` of each text.
            too_long: With `error` only conversations that were read whole are found.
        """
        whole = self._by_text[""]
        at = np.fromiter((whole.get(key, -1) for key in text_keys), np.int64, len(text_keys))
        if too_long != "error" and self._by_text[too_long]:
            cut = self._by_text[too_long]
            for i in np.flatnonzero(at < 0).tolist():
                at[i] = cut.get(text_keys[i], -1)
        return self._take(at)

    def lookup_inputs(self, input_keys: Sequence[bytes]) -> NDArray[np.float64]:
        """(n,) scores stored for these model inputs, NaN where there is none."""
        start = sum(len(rows) for rows in self._rows[: self._rows_by_input])
        for rows in self._rows[self._rows_by_input :]:
            for i, key in enumerate(rows.input_keys, start):
                self._by_input.setdefault(key, i)
            start += len(rows)
        self._rows_by_input = len(self._rows)
        at = [self._by_input.get(key, -1) for key in input_keys]
        return self._take(np.array(at, dtype=np.int64)).scores

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

    def _compare(self, repeats: Sequence[tuple[int, int, CutSide, bytes]]) -> None:
        if not repeats:
            return
        scores = self._gathered().scores
        for first, row, side, key in repeats:
            difference = abs(float(scores[first]) - float(scores[row]))
            if difference > 0:
                self._conflicts.add((side, key))
                self.largest_conflict = max(self.largest_conflict, difference)
