"""Numbers at positions of token rows, by transformers.

There are two ways to them, each written once: rows padded on the right to the longest, and rows end
to end without padding, common beginnings once. What is read from a state is up to the head
(`_numbers`). The proof compares both with the logits of the model's own forward.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.engines.asked import Asked, Floats, Way, read_at, split
from rmcheck.models.engines.torch.cpu import usable_cores, worker_count
from rmcheck.models.engines.torch.packing import LEAST_PREFIX, packed_reads
from rmcheck.models.engines.torch.shared_prefix import PackedBody
from rmcheck.models.engines.torch.spread import Spread
from rmcheck.models.engines.torch.weights import TorchWeights
from rmcheck.models.libraries import engine
from rmcheck.models.workers import CpuWorkers, Threads, Workers

if TYPE_CHECKING:
    from torch import Tensor


class TorchModel(TorchWeights, ABC):
    """Weights that answer; see `TorchWeights` for the arguments and what it raises.

    Attributes:
        window: Tokens that attention sees where it slides; 0 where it does not.
        for_threads: Whether several may compute at the same time.
        is_decoder: Whether it reads forwards only, so that beginnings can be shared.
    """

    is_decoder: bool = True

    @property
    def pools(self) -> bool:
        """Whether the model reads a row by itself, so that its own logits stand for states."""
        return False

    def __init__(
        self,
        checkpoint: Checkpoint,
        loader: str | type[Any],
        *,
        dtype: str,
        device: str,
        attention: str,
        spread: Spread | None = None,
    ) -> None:
        super().__init__(
            checkpoint, loader, dtype=dtype, device=device, attention=attention, spread=spread
        )
        self.window: int = getattr(self._config, "sliding_window", None) or 0
        self._packed_body: Any = PackedBody(self._body, self._config, self.device)
        # Frequencies that change are kept in the model; code of the checkpoint's own may keep more.
        stateless = self.rope.original is None and not checkpoint.remote_code
        self.for_threads = self._on_cpu and stateless

    def workers(self) -> Workers:
        """A thread for each core of a CPU, while their memory allows; one ahead of a GPU."""
        if self.device.type == "cuda":
            return Threads(ahead=1)
        count = worker_count(self._config, self.scratch) if self.for_threads else 1
        return CpuWorkers(count, usable_cores()) if count > 1 else Workers()

    def numbers(
        self, rows: Sequence[Asked], way: Way = "padded", *, least: int = LEAST_PREFIX, **_: int
    ) -> list[Floats]:
        """Numbers of each row: padded on the right to the longest, or packed end to end.

        Args:
            rows: What is asked; of `packed` at one position of each row or more.
            way: `packed` pads nothing, and computes common beginnings once.
            least: Tokens below which `packed` does not share a common beginning.

        Raises:
            MemoryError: The rows do not fit.
        """
        found: dict[int, Floats] = {}
        with self._inferring():
            for group in self.rope.apart([len(row) for row in rows]):
                asked = [rows[i] for i in group]
                if way == "packed":
                    at = [np.asarray(row.at) for row in asked]
                    packed = packed_reads([row.ids for row in asked], at, least)
                    states = self._packed_body.states(packed)
                else:
                    states = self._padded_states(asked)
                numbers = split(self._numbers(states, asked), asked)
                found.update(zip(group, numbers, strict=True))
        return [found[i] for i in range(len(rows))]

    def _padded_states(self, rows: Sequence[Asked]) -> "Tensor":
        torch, _ = engine()
        if self.pools:
            logits: Tensor = self._model(**self._inputs(rows)).logits
            return logits
        states: Tensor = self._body(**self._inputs(rows)).last_hidden_state
        line, at = (torch.from_numpy(a).to(states.device) for a in read_at(rows))
        return states[line, at]

    def _inputs(self, rows: Sequence[Asked]) -> dict[str, Any]:
        inputs = self._padded([row.ids for row in rows], [row.types for row in rows])
        return inputs | ({"use_cache": False} if self.is_decoder and not self.pools else {})

    @abstractmethod
    def _numbers(self, states: "Tensor", rows: Sequence[Asked]) -> Floats:
        """What a head reads of (n, hidden) states at the positions of the rows, in order."""

    def close(self) -> None:
        """Give the memory back."""
        self._packed_body = None
        super().close()


class TokenwiseModel(TorchModel):
    """A model whose own forward gives logits at each token, which the proof compares with."""

    def whole(self, row: Asked) -> Floats:
        """Numbers of one row from the logits of the model's own forward.

        Raises:
            MemoryError: It does not fit.
        """
        with self._inferring():
            return self._picked(self._own_logits(row), row.columns, row.chosen)

    def _own_logits(self, row: Asked) -> "Tensor":
        """(positions, vocabulary) float32 logits of the model's own forward."""
        logits: Tensor = self._model(**self._inputs([row])).logits[0, list(row.at)].float()
        return logits

    @abstractmethod
    def _picked(self, logits: "Tensor", columns: Sequence[int], chosen: Sequence[int]) -> Floats:
        """The same of (n, all) float32 logits."""


def float64(tensor: "Tensor") -> Floats:
    """A tensor's numbers in this process's memory."""
    found: Floats = tensor.float().cpu().numpy().astype(np.float64)
    return found
