"""A causal language model in memory: token ids in, sampled token ids out.

transformers' `generate` runs the model and its cache. The draw itself is made here, from one
stream of uniform numbers a response, because `generate` has one random state for a whole batch.
"""

import gc
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rmcheck.errors import ConformanceError, ModelError
from rmcheck.models.checkpoint import Checkpoint
from rmcheck.models.torch_scorer import (
    brief,
    chosen_device,
    engine,
    memory_errors,
    quiet_transformers,
)

if TYPE_CHECKING:
    from torch import Tensor


class TorchSampler:
    """A loaded checkpoint.

    Args:
        checkpoint: The folder, already checked.
        dtype: Name of the type of weights and activations: `float32`, `bfloat16`, `float16`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        eos_ids: Tokens that end a response.

    Raises:
        MissingDependencyError: torch or transformers is not installed.
        UsageError: There is no such device.
        ModelError: transformers cannot load the folder.
        ConformanceError: A tensor that the model needs is not among the weights.
    """

    def __init__(
        self, checkpoint: Checkpoint, *, dtype: str, device: str, eos_ids: Collection[int]
    ) -> None:
        torch, _ = engine()
        self.device = chosen_device(device)
        self.eos_ids = frozenset(eos_ids)
        self._path = checkpoint.path
        self._model: Any = _load(checkpoint, getattr(torch, dtype))
        if checkpoint.quantisation == "none":
            self._model.to(self.device)
        self._model.eval()

    def sample(
        self,
        rows: Sequence[Sequence[int]],
        seeds: Sequence[int],
        *,
        temperature: float,
        max_tokens: int,
    ) -> list[list[int]]:
        """Sampled token ids after each row, without the one that ended it.

        A row's tokens depend on its ids and seed; on the rest of the batch by rounding alone.
        A row with `max_tokens` ids was cut.

        Args:
            rows: Token ids, none empty.
            seeds: One a row.
            temperature: What logits are divided by; 0 takes the likeliest token.
            max_tokens: Most tokens after each row.

        Raises:
            MemoryError: The batch does not fit.
            ModelError: Logits are not finite.
        """
        torch, transformers = engine()
        longest = max(map(len, rows))
        # Filler on the left, masked: which id it has does not matter to a causal model.
        ids = np.full((len(rows), longest), self._filler, dtype=np.int64)
        mask = np.zeros_like(ids)
        for line, row in enumerate(rows):
            ids[line, longest - len(row) :] = row
            mask[line, longest - len(row) :] = 1
        draw = _Draw(_uniforms(seeds, max_tokens), temperature, self._path.name)
        with memory_errors(), quiet_transformers(), torch.inference_mode():
            out = self._model.generate(
                torch.from_numpy(ids).to(self.device),
                attention_mask=torch.from_numpy(mask).to(self.device),
                generation_config=self._config(max_tokens),
                logits_processor=transformers.LogitsProcessorList([draw]),
            )
        return [self._until_eos(row) for row in out[:, longest:].tolist()]

    def close(self) -> None:
        """Give the memory back."""
        torch, _ = engine()
        self._model = None
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def _filler(self) -> int:
        return min(self.eos_ids, default=0)

    def _config(self, max_tokens: int) -> Any:
        """Greedy over scores of which `_Draw` has left one: the model's own config never counts."""
        _, transformers = engine()
        return transformers.GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=max_tokens,
            eos_token_id=sorted(self.eos_ids) or None,
            pad_token_id=self._filler,
        )

    def _until_eos(self, row: list[int]) -> list[int]:
        ends = (at for at, token in enumerate(row) if token in self.eos_ids)
        return row[: next(ends, len(row))]


class _Draw:
    """A logits processor that draws each row's next token from the softmax of its logits.

    The draw inverts the distribution function at the row's next uniform number, in float64, so
    that rounding of the logits almost never changes a token.
    """

    def __init__(self, uniforms: np.ndarray, temperature: float, name: str) -> None:
        self._uniforms = uniforms
        self._temperature = temperature
        self._name = name
        self._step = 0

    def __call__(self, input_ids: "Tensor", scores: "Tensor") -> "Tensor":
        torch, _ = engine()
        if not torch.isfinite(scores.logsumexp(dim=-1)).all():
            raise ModelError(f"{self._name}: logits are NaN or infinite; try dtype=float32")
        token = self._token(scores)
        self._step += 1
        drawn: Tensor = torch.full_like(scores, float("-inf"))
        drawn.scatter_(1, token.clamp_(max=scores.shape[1] - 1), 0.0)
        return drawn

    def _token(self, scores: "Tensor") -> "Tensor":
        """(rows, 1) ids of the next tokens."""
        torch, _ = engine()
        if self._temperature == 0:
            likeliest: Tensor = scores.argmax(dim=-1, keepdim=True)
            return likeliest
        mass = torch.softmax(scores.double() / self._temperature, dim=-1).cumsum(dim=-1)
        at = torch.from_numpy(self._uniforms[:, self._step, None].copy()).to(mass.device)
        token: Tensor = torch.searchsorted(mass, at * mass[:, -1:], right=True)
        return token


def _uniforms(seeds: Sequence[int], steps: int) -> np.ndarray:
    """(len(seeds), steps) numbers in [0, 1), one stream a seed; fewer steps are a prefix."""
    return np.stack([np.random.Generator(np.random.Philox(s)).random(steps) for s in seeds])


def _load(checkpoint: Checkpoint, dtype: Any) -> Any:
    _, transformers = engine()
    # sdpa silently leaves soft-capping out.
    extra = {"attn_implementation": "eager"} if checkpoint.soft_caps_attention else {}
    try:
        with quiet_transformers():
            model, info = transformers.AutoModelForCausalLM.from_pretrained(
                checkpoint.path,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **extra,
            )
    # transformers raises OSError, ValueError, RuntimeError, ImportError and the errors of what it
    # is built on; all of them mean the same here.
    except Exception as error:
        raise ModelError(
            f"{checkpoint.path}: transformers cannot load it. {brief(error)}"
        ) from error
    absent = sorted({str(key) for kind in _UNFIT for key in info.get(kind, ())})
    if absent:
        raise ConformanceError(
            f"{checkpoint.path} does not fit {checkpoint.architecture}; these tensors would be "
            f"random: {', '.join(absent[:6])}"
        )
    # `generate` fills what a call leaves open from here: a checkpoint may ask for top-k 50 or a
    # repetition penalty.
    model.generation_config = transformers.GenerationConfig()
    return model


_UNFIT = ("missing_keys", "mismatched_keys")
