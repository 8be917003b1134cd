"""A sequence classification model in memory: token ids in, rewards out.

Three decisions are made here and nowhere else: the reward is read at a position computed from the
length of the row, not from token ids; the head's last layer runs in float32 whatever the rest runs
in; nothing squashes the logit.
"""

import gc
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ConformanceError, MissingDependencyError, ModelError, UsageError
from rmcheck.models.checkpoint import Checkpoint
from rmcheck.models.cpu import keep_freed_memory, release_freed_memory
from rmcheck.models.head import Head
from rmcheck.models.packing import LEAST_PREFIX, packed_rows
from rmcheck.models.shared_prefix import packed_hidden

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device

PositionRule = Literal["auto", "last", "transformers"]
# Tensors that a reward model may carry and never reads.
_UNREAD = ("lm_head.", "cls.")
_BUFFERS = ("inv_freq", "position_ids")


class TorchScorer:
    """A loaded checkpoint.

    Args:
        checkpoint: The folder, already checked.
        dtype: Name of the type of weights and activations: `float32`, `bfloat16`, `float16`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        attention: `auto`, `sdpa` or `eager`.
        head: The logits that are the reward.
        position: Where a decoder's reward is read: `last` (and `auto`) is the last token of the
            row; `transformers` the last one that is not the padding token.

    Raises:
        MissingDependencyError: torch or transformers is not installed.
        UsageError: There is no such device.
        ModelError: transformers cannot load the folder.
        ConformanceError: A tensor that the model needs is not among the weights.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        dtype: str,
        device: str,
        attention: str,
        head: Head,
        position: PositionRule,
    ) -> None:
        self.device = chosen_device(device)
        if self.device.type == "cpu":
            keep_freed_memory()
        self.head = head
        self.position = position
        self._model: Any = load_weights(checkpoint, dtype, attention)
        if checkpoint.quantisation == "none":
            self._model.to(self.device)
        config = self._model.config.get_text_config()
        self.pad_id: int | None = config.pad_token_id
        self.attention = str(getattr(config, "_attn_implementation", "unknown"))
        self._body: Any = getattr(self._model, self._model.base_model_prefix, None)
        name = _last_layer(self._model, self._body)
        self.head_dtype = "float32" if name else dtype
        self._last_layer: Any = None
        if name:
            self._last_layer = self._model.get_submodule(name)
            _run_in_float32(self._last_layer, name, checkpoint)
        # transformers calls the head of its last-token models `score`; others pool by a CLS token
        # or by layers of their own, and are run whole.
        self.reads_last_token = self._body is not None and self._last_layer is getattr(
            self._model, "score", None
        )

    def rewards(
        self, rows: Sequence[Sequence[int]], types: Sequence[Sequence[int]] = ()
    ) -> NDArray[np.float64]:
        """(len(rows),) raw logits of the head, rows padded on the right to the longest.

        Args:
            rows: Token ids.
            types: Token type ids of each row; empty when the model takes none.

        Raises:
            MemoryError: The batch does not fit.
        """
        torch, _ = engine()
        with memory_errors(), torch.inference_mode():
            inputs = self._padded(rows, types)
            if not self.reads_last_token:
                return self._picked(self._model(**inputs).logits)
            hidden = self._body(**inputs, use_cache=False).last_hidden_state
            at = torch.tensor([self.reward_position(row) for row in rows], device=hidden.device)
            here = torch.arange(len(rows), device=hidden.device)
            return self._picked(self._last_layer(hidden[here, at]))

    def packed_rewards(
        self, rows: Sequence[Sequence[int]], least: int = LEAST_PREFIX
    ) -> NDArray[np.float64]:
        """(len(rows),) raw logits of the head, without padding and common beginnings once.

        Args:
            rows: Token ids.
            least: Tokens below which a common beginning is not shared.

        Raises:
            MemoryError: The rows do not fit.
        """
        torch, _ = engine()
        packed = packed_rows(rows, [self.reward_position(row) for row in rows], least)
        config = self._model.config.get_text_config()
        with memory_errors(), torch.inference_mode():
            states = packed_hidden(self._body, config, packed, self.device)
            return self._picked(self._last_layer(states))

    def own_reward(self, row: Sequence[int], types: Sequence[int] = ()) -> float:
        """The reward of one row by the model's own forward, padding and position its own."""
        torch, _ = engine()
        with torch.inference_mode():
            inputs = self._padded([row], [types] if types else ())
            return float(self._picked(self._model(**inputs).logits)[0])

    def pooled_positions(self, row: Sequence[int], types: Sequence[int] = ()) -> tuple[int, ...]:
        """The tokens whose last hidden states the model's own head reads, by the gradient.

        Raises:
            RuntimeError: The model's body does not give its last hidden states.
        """
        torch, _ = engine()
        seen: list[Any] = []
        handle = self._body.register_forward_hook(
            lambda module, inputs, output: seen.append(output.last_hidden_state)
        )
        try:
            with torch.enable_grad():
                logits = self._model(**self._padded([row], [types] if types else ())).logits
                reward = sum(weight * logits[0, index] for index, weight in self.head.terms)
                (gradient,) = torch.autograd.grad(reward, seen[-1])
        finally:
            handle.remove()
        return tuple(gradient[0].abs().sum(-1).nonzero()[:, 0].tolist())

    def reward_position(self, row: Sequence[int]) -> int:
        """Index of the token at which the reward of a row is read."""
        return self.own_position(row) if self.position == "transformers" else len(row) - 1

    def own_position(self, row: Sequence[int]) -> int:
        """Index at which transformers reads it: the rightmost token that is not the padding."""
        if self.pad_id is None:
            return len(row) - 1
        return next((i for i in reversed(range(len(row))) if row[i] != self.pad_id), 0)

    def close(self) -> None:
        """Give the memory back."""
        self._model = self._body = self._last_layer = None
        release_memory(self.device)

    def _padded(
        self, rows: Sequence[Sequence[int]], types: Sequence[Sequence[int]]
    ) -> dict[str, "Tensor"]:
        torch, _ = engine()
        longest = max(map(len, rows))
        # RoBERTa counts positions by the padding id, so the filler must be that one.
        ids = np.full((len(rows), longest), self.pad_id or 0, dtype=np.int64)
        mask = np.zeros_like(ids)
        for line, row in enumerate(rows):
            ids[line, : len(row)] = row
            mask[line, : len(row)] = 1
        arrays = {"input_ids": ids, "attention_mask": mask}
        if types and any(types):
            arrays["token_type_ids"] = kinds = np.zeros_like(ids)
            for line, row in enumerate(types):
                kinds[line, : len(row)] = row
        return {name: torch.from_numpy(a).to(self.device) for name, a in arrays.items()}

    def _picked(self, logits: "Tensor") -> NDArray[np.float64]:
        return self.head.rewards(logits.float().cpu().numpy())


def engine() -> tuple[Any, Any]:
    """The modules torch and transformers.

    Raises:
        MissingDependencyError: One of them is not installed; says the pip command.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingDependencyError(
            f"models in checkpoint folders need torch and transformers ({error}). "
            'Install them with: pip install "rmcheck[hf]"'
        ) from error
    return torch, transformers


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no tables on the terminal: what they would say is checked instead."""
    _, transformers = engine()
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def brief(error: BaseException) -> str:
    """The first lines of a foreign error, which may run to pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:3])}"[:600]


def load_weights(
    checkpoint: Checkpoint,
    dtype: str,
    attention: str,
    loader: str | type[Any] = "AutoModelForSequenceClassification",
) -> Any:
    """The model of a checkpoint in memory, on the CPU unless it is quantised, ready to infer.

    Args:
        checkpoint: The folder, already checked.
        dtype: Name of the type of weights and activations.
        attention: `auto`, `sdpa` or `eager`; `auto` is eager where attention is soft-capped.
        loader: The class that loads it, or the name of one of transformers.

    Raises:
        ModelError: transformers cannot load the folder.
        ConformanceError: A tensor that the model needs is not among the weights.
    """
    torch, transformers = engine()
    chosen = "eager" if attention == "auto" and checkpoint.soft_caps_attention else attention
    extra = {} if chosen == "auto" else {"attn_implementation": chosen}
    source: Any = getattr(transformers, loader) if isinstance(loader, str) else loader
    try:
        with quiet_transformers():
            model, info = source.from_pretrained(
                checkpoint.path,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=checkpoint.remote_code,
                output_loading_info=True,
                **extra,
            )
    # transformers raises OSError, ValueError, RuntimeError, ImportError and the errors of what it
    # is built on; all of them mean the same here.
    except Exception as error:
        raise ModelError(
            f"{checkpoint.path}: transformers cannot load it. {brief(error)}"
        ) from error
    _check_loading(checkpoint, info)
    model.eval()
    return model


def _check_loading(checkpoint: Checkpoint, info: dict[str, Any]) -> None:
    missing = sorted(map(str, info.get("missing_keys", ())))
    mismatched = sorted(map(str, info.get("mismatched_keys", ())))
    unexpected = sorted(
        str(key)
        for key in info.get("unexpected_keys", ())
        if not str(key).startswith(_UNREAD) and not str(key).endswith(_BUFFERS)
    )
    said = {
        "not in the weights, so newly initialised at random": missing,
        "of another shape than the config says": mismatched,
        "in the weights, but nowhere in the model": unexpected,
    }
    lines = [f"  {', '.join(keys[:6])}: {what}" for what, keys in said.items() if keys]
    if lines:
        raise ConformanceError(
            f"{checkpoint.path} does not fit {checkpoint.architecture}; its rewards would mean "
            "nothing:\n" + "\n".join(lines)
        )


def chosen_device(name: str) -> "Device":
    """The device of a setting; `auto` is CUDA where there is one.

    Raises:
        UsageError: There is no such device.
    """
    torch, _ = engine()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = cast("Device", torch.device(name))
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"there is no device {name!r}: torch sees {torch.cuda.device_count()} CUDA devices"
        )
    return device


def release_memory(device: "Device") -> None:
    """Give back to the system what dropped models and their activations held."""
    torch, _ = engine()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    else:
        release_freed_memory()


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
    layer.register_forward_pre_hook(lambda _, inputs: tuple(x.float() for x in inputs))


@contextmanager
def memory_errors() -> Iterator[None]:
    """What torch raises when memory runs out, as MemoryError."""
    torch, _ = engine()
    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise MemoryError(brief(error)) from error
    except RuntimeError as error:
        # The CPU allocator has no error class of its own.
        if "can't allocate memory" not in str(error):
            raise
        raise MemoryError(brief(error)) from error
