"""The reward of a sequence classifier, whichever engine runs it: logits at one token, by a head."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from rmcheck.models.checkpoint.head import Head
from rmcheck.models.engines.asked import Asked, Floats, ModelEngine, Way

PositionRule = Literal["auto", "last", "transformers"]


class LastTokenReward(ModelEngine):
    """Says which numbers a classifier's reward is made of.

    Attributes:
        head: The logits that are the reward.
        position: `last` (and `auto`) is the last token of the row; `transformers` the last one
            that is not the padding token.
        pad_id: Id of the padding token, if there is one.
        reads_last_token: Whether the reward is the head's value at one token; False where the
            model pools by itself.
    """

    head: Head
    position: PositionRule
    pad_id: int | None
    reads_last_token: bool

    def rewards(
        self,
        rows: Sequence[Sequence[int]],
        types: Sequence[Sequence[int]] = (),
        way: Way = "padded",
        **how: int,
    ) -> Floats:
        """(len(rows),) raw logits of the head.

        Args:
            rows: Token ids.
            types: Token type ids of each row; empty when the model takes none.
            way: How the engine computes them.
            how: Further arguments of the way, such as `least` of `packed`.

        Raises:
            MemoryError: The rows do not fit.
        """
        asked = [
            self._asked(tuple(row), tuple(types[i]) if types else ()) for i, row in enumerate(rows)
        ]
        return self.head.rewards(np.concatenate(self.numbers(asked, way, **how)))

    def reward_position(self, row: Sequence[int]) -> int:
        """Index of the token at which the reward of a row is read."""
        return self.own_position(row) if self.position == "transformers" else len(row) - 1

    def own_position(self, row: Sequence[int]) -> int:
        """Index at which transformers reads it: the rightmost token that is not the padding."""
        if self.pad_id is None:
            return len(row) - 1
        return next((i for i in reversed(range(len(row))) if row[i] != self.pad_id), 0)

    def _asked(self, row: tuple[int, ...], types: tuple[int, ...]) -> Asked:
        at = (self.reward_position(row),) if self.reads_last_token else ()
        return Asked(row, at, types)
