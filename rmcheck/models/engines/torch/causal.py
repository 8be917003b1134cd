"""A causal language model in memory: token ids in, log-probabilities out."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rmcheck.models.checkpoint.causal import CausalCheckpoint
from rmcheck.models.engines.asked import Asked, Floats
from rmcheck.models.engines.token_probabilities import TokenProbabilities
from rmcheck.models.engines.torch.model import TokenwiseModel, float64
from rmcheck.models.libraries import engine

if TYPE_CHECKING:
    from torch import Tensor

# Logits made at once: 256 MiB in float32, and as much again for their log-softmax.
MOST_LOGITS = 1 << 26


class CausalScorer(TokenwiseModel, TokenProbabilities):
    """A loaded language model; see `TorchWeights` for its arguments and what it raises.

    Logits of the vocabulary are made at the positions that are read only, some at a time. Their
    log-softmax is float32.

    Attributes:
        vocabulary_size: Tokens that have a probability.
        most_logits: Logits in memory at once; at least one position's.
    """

    scratch = 8 * MOST_LOGITS  # logits and their log-softmax

    def __init__(
        self, checkpoint: CausalCheckpoint, *, dtype: str, device: str, attention: str
    ) -> None:
        loader = "AutoModelForCausalLM"
        super().__init__(checkpoint, loader, dtype=dtype, device=device, attention=attention)
        # Masked and behind the text, which one does not matter; the padding id may lie outside of
        # a language model's vocabulary.
        self._filler = 0
        self._soft_cap: float | None = getattr(self._config, "final_logit_softcapping", None)
        self._output: Any = self._model.get_output_embeddings()
        self.most_logits = MOST_LOGITS
        self.vocabulary_size = int(self._output.weight.shape[0])

    def likeliest(self, rows: Sequence[Sequence[int]], count: int) -> list[list[tuple[int, float]]]:
        """The likeliest tokens after each row with their log-probabilities, likeliest first.

        Raises:
            MemoryError: A row does not fit.
        """
        found = []
        for row in rows:
            with self._inferring():
                states = self._padded_states([Asked(tuple(row), (len(row) - 1,))])
                (logits,) = self._logits(states)
                values, ids = logits[0].log_softmax(-1).topk(count)
            found.append(list(zip(ids.tolist(), values.tolist(), strict=True)))
        return found

    def close(self) -> None:
        """Give the memory back."""
        self._output = None
        super().close()

    def _numbers(self, states: "Tensor", rows: Sequence[Asked]) -> Floats:
        columns, chosen = rows[0].columns, [token for row in rows for token in row.chosen]
        found, start = [], 0
        for logits in self._logits(states):
            piece = chosen[start : start + len(logits)]
            found.append(self._picked(logits, columns, piece))
            start += len(logits)
        return np.concatenate(found)

    def _picked(self, logits: "Tensor", columns: Sequence[int], chosen: Sequence[int]) -> Floats:
        if columns:
            return float64(logits.log_softmax(-1)[:, list(columns)])
        torch, _ = engine()
        token = torch.tensor(chosen, device=logits.device)[:, None]
        return float64(logits.gather(1, token)[:, 0] - logits.logsumexp(-1))

    def _logits(self, states: "Tensor") -> Iterator["Tensor"]:
        """(n, vocabulary) float32 logits of some states at a time."""
        step = max(1, self.most_logits // self.vocabulary_size)
        for start in range(0, len(states), step):
            logits: Tensor = self._output(states[start : start + step])
            if self._soft_cap is not None:
                logits = (logits / self._soft_cap).tanh() * self._soft_cap
            yield logits.float()
