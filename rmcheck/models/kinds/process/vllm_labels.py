"""A process reward model with labels whose body vLLM runs: token ids in, logits of labels out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rmcheck.models.engines.asked import Asked, Floats, Way
from rmcheck.models.engines.torch.model import float64
from rmcheck.models.engines.vllm.states import VllmStates
from rmcheck.models.kinds.process.checkpoint import ProcessCheckpoint
from rmcheck.models.kinds.process.step_odds import StepOdds

if TYPE_CHECKING:
    from torch import Tensor


class VllmLabels(VllmStates, StepOdds):
    """A loaded decoder and the layers of its head, which are computed here in float32.

    Args:
        checkpoint: With `head_layers`.
        answers: Labels that say that a step is right, and that it is wrong.
    """

    checkpoint: ProcessCheckpoint

    def __init__(
        self, checkpoint: ProcessCheckpoint, *, answers: tuple[int, int], **options: Any
    ) -> None:
        super().__init__(checkpoint, decoder=checkpoint.decoder, **options)
        self.answers = answers
        self._layers = _layers(checkpoint)

    def numbers(self, rows: Sequence[Asked], way: Way = "padded", **how: int) -> list[Floats]:
        """(positions, columns) raw logits of each row.

        Raises:
            ScoringError: vLLM fails, which closes it.
            MemoryError: The device's memory does not suffice.
        """
        found = zip(rows, self.states(rows), strict=True)
        return [float64(self._logits(states)[:, list(row.columns)]) for row, states in found]

    def answer_mass(self, row: Asked) -> Floats:
        (states,) = self.states([row])
        mass = self._logits(states).softmax(-1)[:, list(self.answers)].sum(-1)
        return np.asarray(float64(mass))

    def _logits(self, states: "Tensor") -> "Tensor":
        """(n, labels) of (n, hidden) states: the layers, with a ReLU between two."""
        for at, (weight, bias) in enumerate(self._layers):
            states = (states.relu() if at else states) @ weight.T
            states = states if bias is None else states + bias
        return states


def _layers(checkpoint: ProcessCheckpoint) -> "list[tuple[Tensor, Tensor | None]]":
    """Weight and bias of each layer of the head in float32, as the folder has them."""
    from safetensors import safe_open

    def read(name: str) -> "Tensor | None":
        stored = checkpoint.tensors.get(name)
        if stored is None:
            return None
        with safe_open(stored.file, framework="pt") as file:
            tensor: Tensor = file.get_tensor(stored.name).float()
            return tensor

    found = [(read(f"{name}.weight"), read(f"{name}.bias")) for name in checkpoint.head_layers]
    return [(weight, bias) for weight, bias in found if weight is not None]
