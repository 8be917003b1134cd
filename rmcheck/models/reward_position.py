"""Where in a row of token ids its reward is read, whichever engine reads it."""

from collections.abc import Sequence
from typing import Literal

PositionRule = Literal["auto", "last", "transformers"]


class RewardPosition:
    """What knows the token at which a decoder's reward is read.

    Attributes:
        position: `last` (and `auto`) is the last token of the row; `transformers` the last one
            that is not the padding token.
        pad_id: Id of the padding token, if there is one.
    """

    position: PositionRule
    pad_id: int | None

    def reward_position(self, row: Sequence[int]) -> int:
        """Index of the token at which the reward of a row is read."""
        return self.own_position(row) if self.position == "transformers" else len(row) - 1

    def own_position(self, row: Sequence[int]) -> int:
        """Index at which transformers reads it: the rightmost token that is not the padding."""
        if self.pad_id is None:
            return len(row) - 1
        return next((i for i in reversed(range(len(row))) if row[i] != self.pad_id), 0)
