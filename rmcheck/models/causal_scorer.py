"""A causal language model in memory: token ids in, log-probabilities out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from rmcheck.models.causal_checkpoint import CausalCheckpoint
from rmcheck.models.packing import LEAST_PREFIX, packed_reads, packed_rows
from rmcheck.models.rope import rows_apart
from rmcheck.models.torch_engine import engine
from rmcheck.models.torch_model import TorchModel

if TYPE_CHECKING:
    from torch import Tensor

# Logits made at once: 256 MiB in float32, and as much again for their log-softmax.
MOST_LOGITS = 1 << 26
_Read = TypeVar("_Read")


class CausalScorer(TorchModel):
    """A loaded language model; see `TorchModel` for its arguments and what it raises."""

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
        self.vocabulary_size = int(self._output.weight.shape[0])

    @rows_apart(per_row=2)
    def log_probabilities(
        self,
        rows: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        *,
        most_logits: int = MOST_LOGITS,
    ) -> NDArray[np.float64]:
        """(len(rows),) log p(response | prompt) in nats, rows padded on the right to the longest.

        Logits of the vocabulary are made at response tokens only, some at a time; their
        log-softmax is float32, and the sum over tokens float64.

        Args:
            rows: Token ids.
            responses: 1 at each token of the row that counts, else 0; 0 at the first.
            most_logits: Logits in memory at once; at least one token's.

        Raises:
            MemoryError: The batch does not fit.
        """
        torch, _ = engine()
        read = _ReadTokens.of(rows, responses)
        with self._inferring():
            states = self._body(**self._padded(rows), use_cache=False).last_hidden_state
            line, before = (
                torch.from_numpy(at).to(states.device)
                for at in (read.lines, np.concatenate(read.before))
            )
            return self._summed(read, lambda piece: states[line[piece], before[piece]], most_logits)

    @rows_apart(per_row=2)
    def packed_log_probabilities(
        self,
        rows: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        least: int = LEAST_PREFIX,
        *,
        most_logits: int = MOST_LOGITS,
    ) -> NDArray[np.float64]:
        """As `log_probabilities`, without padding and common beginnings once.

        Args:
            rows: Token ids.
            responses: See `log_probabilities`.
            least: Tokens below which a common beginning is not shared.
            most_logits: See `log_probabilities`.

        Raises:
            MemoryError: The rows do not fit.
        """
        read = _ReadTokens.of(rows, responses)
        packed = packed_reads(rows, read.before, least)
        with self._inferring():
            states = self._packed_body.states(packed)
            return self._summed(read, lambda piece: states[piece], most_logits)

    @rows_apart(per_row=1)
    def next_token(
        self, rows: Sequence[Sequence[int]], tokens: Sequence[int]
    ) -> NDArray[np.float64]:
        """(len(rows), len(tokens)) log-probabilities of these tokens after each row, in nats.

        Read at the last token of each row, from float32 logits.

        Raises:
            MemoryError: The batch does not fit.
        """
        return self._chosen(self._last_states(rows), tokens)

    @rows_apart(per_row=1)
    def packed_next_token(
        self,
        rows: Sequence[Sequence[int]],
        tokens: Sequence[int],
        least: int = LEAST_PREFIX,
    ) -> NDArray[np.float64]:
        """As `next_token`, without padding and common beginnings once.

        Args:
            rows: Token ids.
            tokens: See `next_token`.
            least: Tokens below which a common beginning is not shared.

        Raises:
            MemoryError: The rows do not fit.
        """
        packed = packed_rows(rows, [len(row) - 1 for row in rows], least)
        with self._inferring():
            states = self._packed_body.states(packed)
        return self._chosen(states, tokens)

    @rows_apart(per_row=1)
    def likeliest(self, rows: Sequence[Sequence[int]], count: int) -> list[list[tuple[int, float]]]:
        """The likeliest tokens after each row with their log-probabilities, likeliest first.

        Raises:
            MemoryError: The batch does not fit.
        """

        def ranked(piece: "Tensor") -> list[list[tuple[int, float]]]:
            values, ids = (part.tolist() for part in piece.topk(count, dim=-1))
            return [list(zip(*pair, strict=True)) for pair in zip(ids, values, strict=True)]

        pieces = self._next_tokens(self._last_states(rows), ranked)
        return [row for rows_of_piece in pieces for row in rows_of_piece]

    def own_next_token(self, row: Sequence[int], tokens: Sequence[int]) -> NDArray[np.float64]:
        """(len(tokens),) as `next_token`, from the logits of the model's own forward."""
        with self._inferring():
            logits = self._model(**self._padded([row]), use_cache=False).logits[0, -1]
            return _float64(logits.float().log_softmax(-1)[list(tokens)])

    def own_log_probability(self, row: Sequence[int], response: Sequence[int]) -> float:
        """The log-probability of one row's response from the logits of the model's own forward."""
        torch, _ = engine()
        at = np.flatnonzero(response)
        with self._inferring():
            logits = self._model(**self._padded([row]), use_cache=False).logits[0]
            before, wanted = (
                torch.from_numpy(a).to(logits.device) for a in (at - 1, np.asarray(row)[at])
            )
            chosen = logits[before].float().log_softmax(-1).gather(1, wanted[:, None])
            return float(chosen.double().sum())

    def close(self) -> None:
        """Give the memory back."""
        self._output = None
        super().close()

    def _summed(
        self, read: "_ReadTokens", states_of: Callable[[slice], "Tensor"], most_logits: int
    ) -> NDArray[np.float64]:
        """(rows,) sums of the log-probabilities of the tokens that count.

        Args:
            read: The tokens.
            states_of: The last hidden states before a slice of them.
            most_logits: Logits in memory at once.
        """
        torch, _ = engine()
        step = max(1, most_logits // self.vocabulary_size)
        found = []
        for start in range(0, len(read.wanted), step):
            piece = slice(start, start + step)
            logits = self._logits(states_of(piece))
            token = torch.from_numpy(read.wanted[piece]).to(logits.device)
            logits = logits.gather(1, token[:, None])[:, 0] - logits.logsumexp(-1)
            found.append(_float64(logits))
        sums = np.bincount(read.lines, weights=np.concatenate(found), minlength=len(read.before))
        return sums.astype(np.float64)

    def _last_states(self, rows: Sequence[Sequence[int]]) -> "Tensor":
        """(len(rows), hidden) at the last token of each row, rows padded on the right."""
        torch, _ = engine()
        with self._inferring():
            states = self._body(**self._padded(rows), use_cache=False).last_hidden_state
            at = torch.tensor([len(row) - 1 for row in rows], device=states.device)
            last: Tensor = states[torch.arange(len(rows), device=states.device), at]
            return last

    def _chosen(self, states: "Tensor", tokens: Sequence[int]) -> NDArray[np.float64]:
        """(n, len(tokens)) log-probabilities of these tokens after (n, hidden) states."""
        chosen = list(tokens)
        return np.concatenate(self._next_tokens(states, lambda piece: _float64(piece[:, chosen])))

    def _next_tokens(self, states: "Tensor", reading: Callable[["Tensor"], _Read]) -> list[_Read]:
        """What is read of all tokens' log-probabilities after each state, some at a time."""
        step = max(1, MOST_LOGITS // self.vocabulary_size)
        with self._inferring():
            return [
                reading(self._logits(states[start : start + step]).log_softmax(-1))
                for start in range(0, len(states), step)
            ]

    def _logits(self, states: "Tensor") -> "Tensor":
        logits: Tensor = self._output(states)
        if self._soft_cap is not None:
            logits = (logits / self._soft_cap).tanh() * self._soft_cap
        return logits.float()


@dataclass(frozen=True, slots=True)
class _ReadTokens:
    """The tokens of some rows that count.

    Attributes:
        before: Of each row the indices of the tokens at which theirs are read: those before.
        lines: (T,) row of each of them.
        wanted: (T,) their ids.
    """

    before: list[NDArray[np.int64]]
    lines: NDArray[np.int64]
    wanted: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> Self:
        """Those that are marked."""
        marked = [np.flatnonzero(marks) for marks in responses]
        lines = np.repeat(np.arange(len(rows)), [len(at) for at in marked])
        ids = [np.asarray(row)[at] for row, at in zip(rows, marked, strict=True)]
        return cls([at - 1 for at in marked], lines, np.concatenate(ids))


def _float64(tensor: "Tensor") -> NDArray[np.float64]:
    found: NDArray[np.float64] = tensor.cpu().numpy().astype(np.float64)
    return found
