"""A process reward model in memory: token ids in, logits of both answers at each step out."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rmcheck.models.engines.asked import Asked, Floats
from rmcheck.models.engines.torch.model import TokenwiseModel, float64
from rmcheck.models.kinds.process.checkpoint import QWEN2_PROCESS, ProcessCheckpoint
from rmcheck.models.kinds.process.step_odds import StepOdds
from rmcheck.models.libraries import engine

if TYPE_CHECKING:
    from torch import Tensor


class ProcessScorer(TokenwiseModel, StepOdds):
    """A loaded process reward model; see `TorchWeights` for what it raises.

    Logits are made at the tags only, and of the two answers only, in float32 whatever the rest
    runs in: two rows of the head, or of the output layer of a language model.

    Args:
        good: Label or token that says that a step is right.
        bad: Label or token that says that it is wrong.
    """

    checkpoint: ProcessCheckpoint

    def __init__(
        self,
        checkpoint: ProcessCheckpoint,
        *,
        dtype: str,
        device: str,
        attention: str,
        good: int,
        bad: int,
    ) -> None:
        loader = _loader(checkpoint)
        super().__init__(checkpoint, loader, dtype=dtype, device=device, attention=attention)
        self.answers = (good, bad)
        self._inner, layer = _head_layers(self._model, checkpoint)
        self._weight, self._bias = _answer_rows(self._model, layer, self.answers, checkpoint)
        soft_cap = getattr(self._config, "final_logit_softcapping", None)
        self._soft_cap: float | None = soft_cap if checkpoint.kind == "causal" else None
        # transformers calls the head of its decoders `score`; encoders read in both directions.
        self.is_decoder = checkpoint.kind == "causal" or hasattr(self._model, "score")

    def answer_mass(self, row: Asked) -> Floats:
        with self._inferring():
            mass = self._own_logits(row).softmax(-1)[:, list(self.answers)].sum(-1)
            return float64(mass)

    def close(self) -> None:
        """Give the memory back."""
        self._inner = self._weight = self._bias = None
        super().close()

    def _numbers(self, states: "Tensor", rows: Sequence[Asked]) -> Floats:
        states = self._inner(states) if self._inner is not None else states
        logits = states.float() @ self._weight.T
        if self._bias is not None:
            logits = logits + self._bias
        if self._soft_cap is not None:
            logits = (logits / self._soft_cap).tanh() * self._soft_cap
        return float64(logits)

    def _picked(self, logits: "Tensor", columns: Sequence[int], chosen: Sequence[int]) -> Floats:
        return float64(logits[:, list(self.answers)])


def _loader(checkpoint: ProcessCheckpoint) -> str | type[Any]:
    if checkpoint.architecture == QWEN2_PROCESS:
        return _qwen2_process_class()
    return f"AutoModelFor{'TokenClassification' if checkpoint.kind == 'head' else 'CausalLM'}"


def _qwen2_process_class() -> type[Any]:
    """Qwen2.5-Math-PRM's class without running the code in its folder.

    Source: its layers as in `modeling_qwen2_rm.py` beside the weights, and in vLLM's
    `qwen2_rm.py`: Qwen2 with two linear layers and a ReLU between them, on every token.
    """
    torch, transformers = engine()
    base: Any = transformers.Qwen2PreTrainedModel

    class Qwen2ForProcessRewardModel(base):  # type: ignore[misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.model = transformers.Qwen2Model(config)
            linear, size = torch.nn.Linear, config.hidden_size
            self.score = torch.nn.Sequential(
                linear(size, size), torch.nn.ReLU(), linear(size, config.num_labels)
            )
            self.post_init()

        def forward(self, **inputs: Any) -> SimpleNamespace:
            states = self.model(**inputs).last_hidden_state
            return SimpleNamespace(logits=self.score(states))

    return Qwen2ForProcessRewardModel


def _head_layers(model: Any, checkpoint: ProcessCheckpoint) -> tuple[Any, Any]:
    """What runs before the layer that gives the logits (None for nothing), and that layer."""
    if checkpoint.kind == "causal":
        return None, model.get_output_embeddings()
    head = getattr(model, "score", None) or model.classifier
    torch, _ = engine()
    return (head[:-1], head[-1]) if isinstance(head, torch.nn.Sequential) else (None, head)


def _answer_rows(
    model: Any, layer: Any, answers: tuple[int, int], checkpoint: ProcessCheckpoint
) -> tuple[Any, Any]:
    """Weight (2, hidden) and bias (2,) of both answers in float32; the bias may be None."""
    torch, _ = engine()
    from safetensors import safe_open

    # Output layers that are tied to the embeddings have the embeddings' name.
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: list[Any] = []
    for parameter in (layer.weight, getattr(layer, "bias", None)):
        if parameter is None:
            found.append(None)
            continue
        rows = parameter[list(answers)].detach().float()
        stored = checkpoint.tensors.get(names.get(id(parameter), ""))
        # Casting back up does not undo the rounding at load, so take the rows from the file.
        if stored is not None and stored.shape == tuple(parameter.shape):
            with safe_open(stored.file, framework="pt") as file:
                whole = file.get_slice(stored.name)
                rows = torch.stack([whole[at : at + 1][0] for at in answers]).float()
        found.append(rows.to(parameter.device))
    return found[0], found[1]
