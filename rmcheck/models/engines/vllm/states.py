"""vLLM as the body of a model: token ids in, last hidden states out.

For heads that vLLM has no class for: they are read from the folder and computed here.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.engines.asked import Asked
from rmcheck.models.engines.vllm.engine import VllmEngine
from rmcheck.models.engines.vllm.placement import Placement

if TYPE_CHECKING:
    from torch import Tensor

# No row is read in pieces; this many tokens may be read together, and no longer row can be.
_TOKENS_AT_ONCE = 8192


class VllmStates(VllmEngine):
    """A loaded decoder without its head, closed by its first failure; see `VllmEngine`.

    Args:
        decoder: The architecture of a language model with this body, as vLLM names it.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        decoder: str,
        dtype: str,
        max_length: int | None,
        place: Placement,
    ) -> None:
        longest = max_length or checkpoint.model_length or _TOKENS_AT_ONCE
        super().__init__(
            checkpoint,
            dtype=dtype,
            max_length=max_length,
            place=place,
            body=True,
            runner="pooling",
            convert="embed",
            pooler_config={"task": "token_embed"},
            hf_overrides={"architectures": [decoder]},
            enable_prefix_caching=False,  # of tokens from its cache vLLM keeps no states
            enable_chunked_prefill=False,
            max_num_batched_tokens=max(_TOKENS_AT_ONCE, longest),
        )

    def states(self, rows: Sequence[Asked]) -> "list[Tensor]":
        """(positions, hidden) float32 last hidden states of each row at its positions.

        Raises:
            ScoringError: vLLM fails, which closes it, or answers to other rows than these.
            MemoryError: The device's memory does not suffice.
        """
        import torch

        params = [{"use_activation": False, "at": list(row.at)} for row in rows]
        asked = [row.ids for row in rows]
        found, _ = self.answer("encode", asked, "token_embed", params)
        return [torch.from_numpy(states) for states in found]
