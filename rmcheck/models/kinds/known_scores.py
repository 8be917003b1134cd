"""Scores with what they are of: found by name, or by text."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rmcheck.pool.keys import KeyRows, NamedResponses


@dataclass(frozen=True, eq=False)
class KnownScores:
    """Scores with what they are of, all checked.

    Attributes:
        named: (n,) which response each is of, its text forgotten where rows tell none.
        scores: (n,) finite scores, higher is better.
        by_text: Whether rows tell the text that was scored.
        lines: (n,) line or row number of each, from 1.
    """

    named: NamedResponses
    scores: NDArray[np.float64]
    by_text: bool
    lines: NDArray[np.int64] = field(repr=False)

    def found(self, wanted: NamedResponses) -> NDArray[np.float64]:
        """(n,) the response's own score, else that of its text; NaN where there is none."""
        at = self._own.find((wanted if self.by_text else wanted.by_place()).row_keys)
        found = np.where(at < 0, np.nan, self.scores[at])
        if self.by_text:
            absent = np.flatnonzero(at < 0)
            known, scores = self._of_text
            rows = known.find(wanted.text_keys[absent])
            found[absent] = np.where(rows < 0, np.nan, scores[rows])
        return found

    def knows_text(self, wanted: NamedResponses) -> NDArray[np.bool_]:
        """(n,) whether some row has the text of a response."""
        return self._of_text[0].find(wanted.text_keys) >= 0

    def knows_place(self, wanted: NamedResponses) -> NDArray[np.bool_]:
        """(n,) whether some row has the prompt_id and the position of a response."""
        places = KeyRows()
        places.add(self.named.by_place().row_keys, np.arange(len(self.scores)))
        return places.find(wanted.by_place().row_keys) >= 0

    def contradictions(self) -> list[tuple[int, str]]:
        """Line and message of rows that give a response another score than an earlier row."""
        if len(self._own) == len(self.scores):
            return []
        first = self._own.find(self.named.row_keys)
        differ = np.flatnonzero(self.scores[first] != self.scores)
        return [
            (
                int(self.lines[row]),
                f"prompt_id {self.named.prompt_ids[row]!r} response {self.named.indices[row]} has "
                f"score {self.scores[row]}, but row {self.lines[first[row]]} gives the same "
                f"response {self.scores[first[row]]}",
            )
            for row in differ.tolist()
        ]

    @cached_property
    def _own(self) -> KeyRows:
        known = KeyRows()
        known.add(self.named.row_keys, np.arange(len(self.scores)))
        return known

    @cached_property
    def _of_text(self) -> tuple[KeyRows, NDArray[np.float64]]:
        """First row of each text, and its score; NaN where rows of one text have several."""
        known, scores = KeyRows(), self.scores.copy()
        known.add(self.named.text_keys, np.arange(len(scores)))
        if len(known) < len(scores):
            first = known.find(self.named.text_keys)
            scores[first[self.scores[first] != self.scores]] = np.nan
        return known, scores
