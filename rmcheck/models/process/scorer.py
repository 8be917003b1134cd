"""A process reward model in memory: token ids in, log-odds of each step out."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rmcheck.models.packing import LEAST_PREFIX, packed_reads
from rmcheck.models.process.checkpoint import QWEN2_PROCESS, ProcessCheckpoint
from rmcheck.models.process.tokenizer import TAG
from rmcheck.models.rope import rows_apart
from rmcheck.models.torch_engine import engine
from rmcheck.models.torch_model import Rows, TorchModel

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]


class ProcessScorer(TorchModel):
    """A loaded process reward model; see `TorchModel` for what it raises.

    Logits are made at the tags only, and of the two answers only, in float32 whatever the rest
    runs in: two rows of the head, or of the output layer of a language model.

    Args:
        checkpoint: The folder, already checked.
        dtype: See `TorchModel`, as for `device` and `attention`.
        device: What it runs on.
        attention: Which attention runs.
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

    @rows_apart(per_row=2)
    def log_odds(self, rows: Rows, marks: Rows) -> list[Floats]:
        """(K,) log-odds of each row's steps, rows padded on the right to the longest.

        Args:
            rows: Token ids.
            marks: `TAG` at each token of a row where a step is read.

        Raises:
            MemoryError: The batch does not fit.
        """
        torch, _ = engine()
        tags = _tags(marks)
        with self._inferring():
            states = self._body(**self._inputs(rows)).last_hidden_state
            lines = np.repeat(np.arange(len(rows)), [len(at) for at in tags])
            line, at = (torch.from_numpy(a).to(states.device) for a in (lines, _joined(tags)))
            return _split(self._read(states[line, at]), tags)

    @rows_apart(per_row=2)
    def packed_log_odds(self, rows: Rows, marks: Rows, least: int = LEAST_PREFIX) -> list[Floats]:
        """(K,) log-odds of each row's steps, without padding and common beginnings once.

        Args:
            rows: Token ids.
            marks: `TAG` at each token of a row where a step is read.
            least: Tokens below which a common beginning is not shared.

        Raises:
            MemoryError: The rows do not fit.
        """
        tags = _tags(marks)
        packed = packed_reads(rows, tags, least)
        with self._inferring():
            states = self._packed_body.states(packed)
            return _split(self._read(states), tags)

    def own_log_odds(self, row: Sequence[int], marks: Sequence[int]) -> Floats:
        """(K,) log-odds of one row's steps from the logits of the model's own forward."""
        torch, _ = engine()
        with self._inferring():
            logits = self._model(**self._inputs([row])).logits[0]
            read = logits[torch.from_numpy(_tags([marks])[0]).to(logits.device)].float()
            return _numbers(read[:, self.answers[0]] - read[:, self.answers[1]])

    def answer_mass(self, row: Sequence[int], marks: Sequence[int]) -> Floats:
        """(K,) probability of both answers together at one row's tags, among all logits there."""
        torch, _ = engine()
        with self._inferring():
            logits = self._model(**self._inputs([row])).logits[0]
            read = logits[torch.from_numpy(_tags([marks])[0]).to(logits.device)].float()
            return _numbers(read.softmax(-1)[:, list(self.answers)].sum(-1))

    def close(self) -> None:
        """Give the memory back."""
        self._inner = self._weight = self._bias = None
        super().close()

    def _read(self, states: "Tensor") -> Floats:
        """(n,) log-odds of (n, hidden) states: what softmax over both answers is the odds of."""
        states = self._inner(states) if self._inner is not None else states
        logits = states.float() @ self._weight.T
        if self._bias is not None:
            logits = logits + self._bias
        if self._soft_cap is not None:
            logits = (logits / self._soft_cap).tanh() * self._soft_cap
        return _numbers(logits[:, 0] - logits[:, 1])

    def _inputs(self, rows: Rows) -> dict[str, Any]:
        return self._padded(rows) | ({"use_cache": False} if self.is_decoder else {})


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


def _tags(marks: Rows) -> list[NDArray[np.int64]]:
    return [np.flatnonzero(np.asarray(row) == TAG) for row in marks]


def _joined(positions: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(positions)


def _split(values: Floats, tags: Sequence[NDArray[np.int64]]) -> list[Floats]:
    return np.split(values, np.cumsum([len(at) for at in tags])[:-1])


def _numbers(values: "Tensor") -> Floats:
    return values.float().cpu().numpy().astype(np.float64)
