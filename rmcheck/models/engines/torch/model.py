"""A checkpoint that transformers has in memory: hidden states at positions of token rows.

There are three ways to them, each written once: rows padded on the right to the longest; rows end
to end without padding, common beginnings once; and the logits of the model's own forward, which
the proof compares both with. What is read from a state is up to the head (`_numbers`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from rmcheck.errors import ConformanceError, ModelError
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.engines.asked import Asked, Floats, Way, read_at, split
from rmcheck.models.engines.torch.accelerator import free_memory, fuse_norms
from rmcheck.models.engines.torch.cpu import (
    fitting_tokens,
    heed_quota,
    keep_freed_memory,
    lay_out_linears,
    usable_cores,
    worker_count,
)
from rmcheck.models.engines.torch.device import chosen_device, memory_errors, release_memory
from rmcheck.models.engines.torch.packing import LEAST_PREFIX, packed_reads
from rmcheck.models.engines.torch.rope import Rope, rows_apart
from rmcheck.models.engines.torch.shared_prefix import PackedBody
from rmcheck.models.libraries import brief, engine, quiet_transformers
from rmcheck.models.model import EngineFacts
from rmcheck.models.workers import CpuWorkers, Threads, Workers

if TYPE_CHECKING:
    from torch import Tensor

Rows = Sequence[Sequence[int]]
# Tensors that a reward model may carry and never reads.
_UNREAD = ("lm_head.", "cls.")
_BUFFERS = ("inv_freq", "position_ids")


class TorchModel:
    """Weights on their device, ready to infer.

    Args:
        checkpoint: The folder, already checked.
        loader: The class that loads it, or the name of one of transformers.
        dtype: Name of the type of weights and activations: `float32`, `bfloat16`, `float16`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        attention: `auto`, `sdpa` or `eager`; `auto` is eager where attention is soft-capped.

    Attributes:
        checkpoint: The folder that it was read from.
        device: What it runs on.
        attention: The attention that runs, as transformers names it.
        pad_id: Id of the padding token, if there is one.
        rope: Its rotary embeddings.
        window: Tokens that attention sees where it slides; 0 where it does not.
        for_threads: Whether several may compute at the same time.
        is_decoder: Whether it reads forwards only, so that beginnings can be shared.
        scratch: Bytes that a call needs beside the layers' activations.

    Raises:
        MissingDependencyError: torch or transformers is not installed.
        UsageError: There is no such device.
        ModelError: transformers cannot load the folder.
        ConformanceError: A tensor that the model needs is not among the weights.
    """

    scratch: ClassVar[int] = 0
    is_decoder: bool = True

    def __init__(
        self,
        checkpoint: Checkpoint,
        loader: str | type[Any],
        *,
        dtype: str,
        device: str,
        attention: str = "auto",
    ) -> None:
        self.checkpoint = checkpoint
        self.device = chosen_device(device)
        if self.device.type == "cpu":
            keep_freed_memory()
            heed_quota()
        self._model, info = _load(checkpoint, loader, dtype, attention)
        self._check_loading(checkpoint, info)
        self._model.eval()
        if checkpoint.quantisation == "none":
            self._model.to(self.device)
        self._config: Any = self._model.config.get_text_config()
        self.attention = str(getattr(self._config, "_attn_implementation", "unknown"))
        self.pad_id: int | None = getattr(self._config, "pad_token_id", None)
        # RoBERTa counts positions by the padding id, so the filler must be that one.
        self._filler = self.pad_id or 0
        self.window: int = getattr(self._config, "sliding_window", None) or 0
        self._body: Any = getattr(self._model, self._model.base_model_prefix, None)
        self._on_cpu = self.device.type == "cpu" and checkpoint.quantisation == "none"
        # The body alone: a head may get other weights than it was loaded with.
        if self._on_cpu and self._body is not None:
            lay_out_linears(self._body)
        elif self.device.type == "cuda" and self._body is not None:
            fuse_norms(self._body)
        self.rope = Rope(self._body)
        self._packed_body: Any = PackedBody(self._body, self._config, self.device)
        # Frequencies that change are kept in the model; code of the checkpoint's own may keep more.
        stateless = self.rope.original is None and not checkpoint.remote_code
        self.for_threads = self._on_cpu and stateless
        self._turn = Lock() if self.device.type == "cuda" else nullcontext()

    @property
    def facts(self) -> EngineFacts:
        """Its device, and on a GPU the tokens whose activations fit in what is free."""
        if self.device.type != "cuda":
            return EngineFacts(self.device.type)
        room = free_memory(self.device) - self.scratch
        return EngineFacts("cuda", fitting_tokens(self._config, room, self._model.dtype.itemsize))

    def workers(self) -> Workers:
        """A thread for each core of a CPU, while their memory allows; one ahead of a GPU."""
        if self.device.type == "cuda":
            return Threads(ahead=1)
        count = worker_count(self._config, self.scratch) if self.for_threads else 1
        return CpuWorkers(count, usable_cores()) if count > 1 else Workers()

    @property
    def ways(self) -> Mapping[Way, Callable[..., list[Floats]]]:
        """See `ModelEngine`."""
        return {"padded": self.padded, "packed": self.packed}

    def padded(self, rows: Sequence[Asked]) -> list[Floats]:
        """Numbers of each row, rows padded on the right to the longest.

        Raises:
            MemoryError: The rows do not fit.
        """
        return self._computed(rows, self._padded_numbers)

    def packed(self, rows: Sequence[Asked], least: int = LEAST_PREFIX) -> list[Floats]:
        """Numbers of each row, without padding and common beginnings once.

        Args:
            rows: What is asked, at one position of each row or more.
            least: Tokens below which a common beginning is not shared.

        Raises:
            MemoryError: The rows do not fit.
        """

        def numbers(rows: Sequence[Asked]) -> Floats:
            at = [np.asarray(row.at) for row in rows]
            packed = packed_reads([row.ids for row in rows], at, least)
            return self._numbers(self._packed_body.states(packed), rows)

        return self._computed(rows, numbers)

    def whole(self, row: Asked) -> Floats:
        """Numbers of one row from the logits of the model's own forward.

        Raises:
            MemoryError: It does not fit.
        """
        with self._inferring():
            return self._picked(self._own_logits(row), row.columns, row.chosen)

    @rows_apart(per_row=1)
    def _computed(
        self, rows: Sequence[Asked], numbers: Callable[[Sequence[Asked]], Floats]
    ) -> list[Floats]:
        with self._inferring():
            return split(numbers(rows), rows)

    def _padded_numbers(self, rows: Sequence[Asked]) -> Floats:
        return self._numbers(self._padded_states(rows), rows)

    def _padded_states(self, rows: Sequence[Asked]) -> "Tensor":
        torch, _ = engine()
        states: Tensor = self._body(**self._inputs(rows)).last_hidden_state
        line, at = (torch.from_numpy(a).to(states.device) for a in read_at(rows))
        return states[line, at]

    def _own_logits(self, row: Asked) -> "Tensor":
        """(positions, vocabulary) float32 logits of the model's own forward."""
        logits: Tensor = self._model(**self._inputs([row])).logits[0, list(row.at)].float()
        return logits

    def _inputs(self, rows: Sequence[Asked]) -> dict[str, Any]:
        inputs = self._padded([row.ids for row in rows], [row.types for row in rows])
        return inputs | ({"use_cache": False} if self.is_decoder else {})

    def _numbers(self, states: "Tensor", rows: Sequence[Asked]) -> Floats:
        """What a head reads of (n, hidden) states at the positions of the rows, in order."""
        raise NotImplementedError

    def _picked(self, logits: "Tensor", columns: Sequence[int], chosen: Sequence[int]) -> Floats:
        """The same of (n, all) float32 logits."""
        raise NotImplementedError

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
        self._model = self._body = self._packed_body = None
        release_memory(self.device)

    def _check_loading(self, checkpoint: Checkpoint, info: Mapping[str, Any]) -> None:
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


def _load(
    checkpoint: Checkpoint, loader: str | type[Any], dtype: str, attention: str
) -> tuple[Any, dict[str, Any]]:
    """The model, on the CPU unless it is quantised, and what transformers says of its tensors."""
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
    return model, info


def float64(tensor: "Tensor") -> Floats:
    """A tensor's numbers in this process's memory."""
    found: Floats = tensor.float().cpu().numpy().astype(np.float64)
    return found
