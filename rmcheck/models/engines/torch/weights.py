"""A checkpoint that transformers has in memory, whatever is done with it.

Loading refuses a folder of which tensors are missing, and sets the process up for its device.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from rmcheck.errors import ConformanceError, ModelError
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.engines.torch.accelerator import free_memory, fuse_norms
from rmcheck.models.engines.torch.adapter import label_count, merged
from rmcheck.models.engines.torch.cpu import (
    apply_cpu_quota,
    fitting_tokens,
    lay_out_linears,
    tile_mlps,
)
from rmcheck.models.engines.torch.device import chosen_device, memory_errors, release_memory
from rmcheck.models.engines.torch.rope import Rope
from rmcheck.models.engines.torch.spread import Spread
from rmcheck.models.libraries import brief, engine, quiet_transformers
from rmcheck.models.model import EngineFacts, Loaded

if TYPE_CHECKING:
    from torch import Tensor

Rows = Sequence[Sequence[int]]
# Tensors that a reward model may carry and never reads.
_UNREAD = ("lm_head.", "cls.")
_BUFFERS = ("inv_freq", "position_ids")


class TorchWeights(Loaded):
    """Weights on their device, ready to infer.

    Args:
        checkpoint: The folder, already checked.
        loader: The class that loads it, or the name of one of transformers.
        dtype: Name of the type of weights and activations: `float32`, `bfloat16`, `float16`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        attention: `auto`, `sdpa` or `eager`; `auto` is eager where attention is soft-capped.
        spread: How it is laid over several devices; None for one.

    Attributes:
        checkpoint: The folder that it was read from.
        device: What it runs on.
        attention: The attention that runs, as transformers names it.
        pad_id: Id of the padding token, if there is one.
        rope: Its rotary embeddings.
        scratch: Bytes that a call needs beside the layers' activations.

    Raises:
        MissingDependencyError: torch or transformers is not installed.
        UsageError: There is no such device.
        ModelError: transformers cannot load the folder.
        ConformanceError: A tensor that the model needs is not among the weights.
    """

    scratch: ClassVar[int] = 0

    def __init__(
        self,
        checkpoint: Checkpoint,
        loader: str | type[Any],
        *,
        dtype: str,
        device: str,
        attention: str = "auto",
        spread: Spread | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.device = chosen_device(device)
        self._on_disk = tempfile.TemporaryDirectory(prefix="rmcheck-offload-") if spread else None
        options = spread.options(self._on_disk.name) if spread and self._on_disk else {}
        if self.device.type == "cpu":
            apply_cpu_quota()
        self._model, info = load(checkpoint, loader, dtype, attention, **options)
        self._check_loading(checkpoint, info)
        self._model.eval()
        if checkpoint.quantisation == "none" and not spread:
            self._model.to(self.device)
        self._config: Any = self._model.config.get_text_config()
        self.attention = str(getattr(self._config, "_attn_implementation", "unknown"))
        self.pad_id: int | None = getattr(self._config, "pad_token_id", None)
        # RoBERTa counts positions by the padding id, so the filler must be that one.
        self._filler = max(self.pad_id or 0, 0)  # old Llamas say -1 for none
        self._body: Any = getattr(self._model, self._model.base_model_prefix, None)
        whole = checkpoint.quantisation == "none" and not spread
        self._on_cpu = self.device.type == "cpu" and whole
        # The body alone: a head may get other weights than it was loaded with.
        if self._on_cpu and self._body is not None:
            lay_out_linears(self._body)
            tile_mlps(self._body)
        elif self.device.type == "cuda" and self._body is not None and not spread:
            fuse_norms(self._body)
        self.rope = Rope(self._body)
        self._turn = Lock() if self.device.type == "cuda" or spread else nullcontext()

    @property
    def facts(self) -> EngineFacts:
        """Its device, and on a GPU the tokens whose activations fit in what is free."""
        if self.device.type != "cuda":
            return EngineFacts(self.device.type)
        room = free_memory(self.device) - self.scratch
        return EngineFacts("cuda", fitting_tokens(self._config, room, self._model.dtype.itemsize))

    @property
    def described(self) -> dict[str, str]:
        """Its device, where its layers are if somebody laid them out, and its attention."""
        laid = getattr(self._model, "hf_device_map", None) or {}
        counts = Counter(map(str, laid.values()))
        said = ", ".join(f"{count} on {place}" for place, count in sorted(counts.items()))
        devices = {"devices": said} if laid else {}
        return {"device": str(self.device), **devices, "attention": self.attention}

    @contextmanager
    def _inferring(self) -> Iterator[None]:
        """Within it a forward pass is computed, on a GPU one at a time.

        Raises:
            MemoryError: It does not fit.
        """
        torch, _ = engine()
        with self._turn, memory_errors(), torch.inference_mode():
            yield

    def close(self) -> None:
        """Give the memory back."""
        self._model = self._body = None
        release_memory(self.device)
        if self._on_disk:
            self._on_disk.cleanup()

    def _check_loading(self, checkpoint: Checkpoint, info: Mapping[str, Any]) -> None:
        check_loading(checkpoint, info)

    def _padded(
        self, rows: Rows, types: Rows = (), *, side: Literal["left", "right"] = "right"
    ) -> dict[str, "Tensor"]:
        """What the model is called with: ids, mask, and types where there are any.

        Each is (len(rows), longest); types are for padding on the right.
        """
        torch, _ = engine()
        longest = max(map(len, rows))
        ids = np.full((len(rows), longest), self._filler, dtype=np.int64)
        mask = np.zeros_like(ids)
        for line, row in enumerate(rows):
            at = slice(len(row)) if side == "right" else slice(longest - len(row), None)
            ids[line, at] = row
            mask[line, at] = 1
        arrays = {"input_ids": ids, "attention_mask": mask}
        if types and any(types):
            arrays["token_type_ids"] = kinds = np.zeros_like(ids)
            for line, row in enumerate(types):
                kinds[line, : len(row)] = row
        return {name: torch.from_numpy(a).to(self.device) for name, a in arrays.items()}


def check_loading(checkpoint: Checkpoint, info: Mapping[str, Any]) -> None:
    """Whether all that the model needs came from the folder.

    Raises:
        ConformanceError: A tensor is missing, of another shape, or nowhere in the model.
    """
    saved = checkpoint.adapter.saved if checkpoint.adapter else {}
    missing = sorted(set(map(str, info.get("missing_keys", ()))) - set(saved))
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


def load(
    checkpoint: Checkpoint, loader: str | type[Any], dtype: str, attention: str, **extra: Any
) -> tuple[Any, dict[str, Any]]:
    """The model, on the CPU unless it is quantised, and what transformers says of its tensors."""
    torch, transformers = engine()
    chosen = "eager" if attention == "auto" and checkpoint.soft_caps_attention else attention
    if chosen != "auto":
        extra["attn_implementation"] = chosen
    source: Any = getattr(transformers, loader) if isinstance(loader, str) else loader
    try:
        with quiet_transformers():
            model, info = source.from_pretrained(
                checkpoint.base_path,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=checkpoint.remote_code,
                output_loading_info=True,
                **label_count(checkpoint),
                **extra,
            )
    # transformers raises OSError, ValueError, RuntimeError, ImportError and the errors of what it
    # is built on; all of them mean the same here.
    except Exception as error:
        raise ModelError(
            f"{checkpoint.path}: transformers cannot load it. {brief(error)}"
        ) from error
    return merged(model, checkpoint.adapter) if checkpoint.adapter else model, info
