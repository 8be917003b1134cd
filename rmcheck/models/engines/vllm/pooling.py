"""vLLM as a scorer: token ids in, rewards out.

No activation is applied to the logit. See `rmcheck.models.engines.vllm.engine`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ScoringError
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.checkpoint.head import Head
from rmcheck.models.engines.asked import Asked, Floats, Way, split
from rmcheck.models.engines.last_token import LastTokenReward, PositionRule
from rmcheck.models.engines.vllm.engine import VllmEngine
from rmcheck.models.engines.vllm.placement import Placement


class VllmPooling(VllmEngine, LastTokenReward):
    """A loaded reward model; see `VllmEngine` and `LastTokenReward`.

    Args:
        prefix_cache: Whether rows may share the computation of a common beginning. Rewards are
            read from the cache only once `reads_cache` is set.

    Attributes:
        head_dtype: Type in which the head is computed.
        pad_id: Id of the padding token, if there is one.
        pooling: Where the reward is read: `LAST` (last token), `CLS` or `MEAN`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        dtype: str,
        head: Head,
        position: PositionRule,
        max_length: int | None,
        place: Placement,
        prefix_cache: bool,
    ) -> None:
        super().__init__(
            checkpoint,
            dtype=dtype,
            max_length=max_length,
            place=place,
            runner="pooling",
            convert="classify",
            # Where vLLM may choose, it has no cache for encoders; asked for one, it fails.
            enable_prefix_caching=None if prefix_cache else False,
        )
        self.position = position
        self.head = head
        self.head_dtype = self.found.head_dtype
        self.pad_id = self.found.pad_id
        self.pooling = self.found.pooling
        self.reads_last_token = self.pooling == "LAST"

    @property
    def described(self) -> dict[str, str]:
        """How much vLLM takes, where only it could say."""
        return {"max_length": str(self.max_length)}

    def numbers(self, rows: Sequence[Asked], way: Way = "padded", **how: int) -> list[Floats]:
        """(1, labels) raw logits of each row, at its only position or as the model pools it.

        There is one way: vLLM shares beginnings by its own cache.
        """
        # vLLM reads the last token it is given, which sees nothing after itself.
        ids = [row.ids[: row.at[0] + 1] if row.at else row.ids for row in rows]
        return split(self.logits(ids, [row.types for row in rows]), rows)

    def logits(
        self,
        rows: Sequence[Sequence[int]],
        types: Sequence[Sequence[int]] = (),
        *,
        activated: bool = False,
    ) -> NDArray[np.float64]:
        """(len(rows), labels) raw logits.

        Args:
            rows: Token ids, in any order.
            types: Token type ids of each row; no rows, or empty ones, for models without.
            activated: True for what vLLM answers by default, which is no logit: a sigmoid of one
                label, a softmax of several.

        Raises:
            ScoringError: Type ids that vLLM cannot take, or answers to other rows than these.
            MemoryError: The device's memory does not suffice.
        """
        # Rows with a common beginning follow each other, while it is in the cache.
        order = sorted(range(len(rows)), key=lambda i: tuple(rows[i]))
        params = [
            {
                "use_activation": activated,
                "skip_reading_prefix_cache": not self.reads_cache,
                "extra_kwargs": _second_text(types[i]) if types and types[i] else None,
            }
            for i in order
        ]
        asked = [rows[i] for i in order]
        found, cached = self.process.ask("encode", asked, "classify", params)
        self.cached_tokens += cached
        return np.stack(found).astype(np.float64)[np.argsort(order)]


def _second_text(types: Sequence[int]) -> dict[str, int]:
    """Type ids in vLLM's form: where the second text of the pair begins."""
    second = sum(kind == 0 for kind in types)
    if list(types) != [0] * second + [1] * (len(types) - second):
        raise ScoringError(
            f"vLLM takes type ids that are 0 and then 1, not {list(types[:8])}…; use hf: instead"
        )
    return {"compressed_token_type_ids": second}
