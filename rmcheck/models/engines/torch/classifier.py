"""A sequence classification model in memory: token ids in, rewards out.

Three decisions are made here and nowhere else: the reward is read at a position computed from the
length of the row, not from token ids; the head's last layer runs in float32 whatever the rest runs
in; nothing squashes the logit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.checkpoint.head import Head
from rmcheck.models.engines.asked import Asked, Floats
from rmcheck.models.engines.last_token import LastTokenReward, PositionRule
from rmcheck.models.engines.torch.model import TorchModel, float64
from rmcheck.models.engines.torch.spread import Spread, bring_back
from rmcheck.models.engines.torch.weights import Rows
from rmcheck.models.libraries import engine

if TYPE_CHECKING:
    from torch import Tensor


class TorchScorer(TorchModel, LastTokenReward):
    """A loaded reward model; see `TorchWeights` and `LastTokenReward`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        dtype: str,
        device: str,
        attention: str,
        head: Head,
        position: PositionRule,
        spread: Spread | None = None,
    ) -> None:
        loader = "AutoModelForSequenceClassification"
        super().__init__(
            checkpoint, loader, dtype=dtype, device=device, attention=attention, spread=spread
        )
        self.head = head
        self.position = position
        name = _last_layer(self._model, self._body)
        self.head_dtype = "float32" if name else dtype
        self._last_layer: Any = None
        if name:
            self._last_layer = self._model.get_submodule(name)
            if spread:
                bring_back(self._last_layer, self.device)
            _run_in_float32(self._last_layer, name, checkpoint)
        # transformers calls the head of its last-token models `score`; others pool by a CLS token
        # or by layers of their own, and are run whole.
        self.reads_last_token = self._body is not None and self._last_layer is getattr(
            self._model, "score", None
        )
        self.is_decoder = self.reads_last_token

    @property
    def pools(self) -> bool:
        """Whether the model's own logits are all there is."""
        return not self.reads_last_token

    def _numbers(self, states: "Tensor", rows: Sequence[Asked]) -> Floats:
        return float64(self._last_layer(states) if self.reads_last_token else states)

    def _pooled_logits(self, rows: Rows, types: Rows) -> "Tensor":
        """(rows, labels) logits of the model's own forward."""
        logits: Tensor = self._model(**self._padded(rows, types)).logits
        return logits

    def read_once(
        self, row: Sequence[int], types: Sequence[int] = ()
    ) -> tuple[float, float, float]:
        """The reward of one row, that of the row without its last token, and the model's own.

        All from the model's own forward: what a causal model makes of a token, nothing behind it
        changes. For models that read their last token.

        Raises:
            MemoryError: It does not fit.
        """
        at = [self.reward_position(row), self.reward_position(row[:-1] or row)]
        with self._inferring(), self._last_states() as seen:
            logits = self._pooled_logits([row], [types])
            read = self._numbers(seen[-1][0, at], ())
        here, before, own = self.head.rewards(np.concatenate([read, float64(logits)])).tolist()
        return here, before, own

    def pooled_positions(self, row: Sequence[int], types: Sequence[int] = ()) -> tuple[int, ...]:
        """The tokens whose last hidden states the model's own head reads, by the gradient.

        Raises:
            RuntimeError: The model's body does not give its last hidden states.
        """
        torch, _ = engine()
        with torch.enable_grad(), self._last_states() as seen:
            logits = self._pooled_logits([row], [types])
            reward = sum(weight * logits[0, index] for index, weight in self.head.terms)
            (gradient,) = torch.autograd.grad(reward, seen[-1])
        return tuple(gradient[0].abs().sum(-1).nonzero()[:, 0].tolist())

    @contextmanager
    def _last_states(self) -> Iterator[list[Any]]:
        """The last hidden states of each pass through the body, as they come."""
        seen: list[Any] = []
        handle = self._body.register_forward_hook(
            lambda module, inputs, output: seen.append(output.last_hidden_state)
        )
        try:
            yield seen
        finally:
            handle.remove()

    def close(self) -> None:
        """Give the memory back."""
        self._last_layer = None
        super().close()


def _last_layer(model: Any, body: Any) -> str:
    """Name of the head's linear layer whose outputs are the logits; empty if there is none."""
    torch, _ = engine()
    inner = set(body.modules()) if body is not None else set()
    found = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and module not in inner
        and module.out_features == model.config.num_labels
    ]
    return found[-1] if found else ""


def _run_in_float32(layer: Any, name: str, checkpoint: Checkpoint) -> None:
    torch, _ = engine()
    from safetensors import safe_open

    layer.float()
    # Casting back up does not undo the rounding at load, so take the weights from the file.
    for suffix in ("weight", "bias"):
        parameter = getattr(layer, suffix)
        stored = checkpoint.tensors.get(f"{name}.{suffix}")
        if parameter is None or stored is None or stored.shape != tuple(parameter.shape):
            continue
        with safe_open(stored.file, framework="pt") as file, torch.no_grad():
            parameter.copy_(file.get_tensor(stored.name))
    home = {"device": layer.weight.device, "dtype": torch.float32}
    layer.register_forward_pre_hook(lambda _, inputs: tuple(x.to(**home) for x in inputs))
