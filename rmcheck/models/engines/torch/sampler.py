"""A causal language model in memory: token ids in, sampled token ids out.

transformers' `generate` runs the model and its cache. The draw itself is made here, from one
stream of uniform numbers a response, because `generate` has one random state for a whole batch.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rmcheck.errors import ConformanceError, ModelError
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.engines.torch.device import memory_errors
from rmcheck.models.engines.torch.weights import TorchWeights
from rmcheck.models.libraries import engine, quiet_transformers

if TYPE_CHECKING:
    from torch import Tensor

_UNFIT = ("missing_keys", "mismatched_keys")


class TorchSampler(TorchWeights):
    """A loaded language model; see `TorchWeights`."""

    def __init__(
        self, checkpoint: Checkpoint, *, dtype: str, device: str, eos_ids: Collection[int]
    ) -> None:
        super().__init__(checkpoint, "AutoModelForCausalLM", dtype=dtype, device=device)
        _, transformers = engine()
        self.eos_ids = frozenset(eos_ids)
        # Masked: which one it is does not matter to a causal model.
        self._filler = min(self.eos_ids, default=0)
        self._name = checkpoint.path.name
        # `generate` fills what a call leaves open from here: a checkpoint may ask for top-k 50 or
        # a repetition penalty.
        self._model.generation_config = transformers.GenerationConfig()

    def sample(
        self,
        rows: Sequence[Sequence[int]],
        seeds: Sequence[int],
        *,
        temperature: float,
        max_tokens: int,
    ) -> list[list[int]]:
        """See `rmcheck.models.engines.writing.Sampler.sample`."""
        torch, transformers = engine()
        found: dict[int, list[int]] = {}
        with memory_errors(), quiet_transformers(), torch.inference_mode():
            for group in self.rope.apart([len(row) for row in rows], grow=True):
                uniforms = _uniforms([seeds[i] for i in group], max_tokens)
                inputs = self._padded([rows[i] for i in group], side="left")
                out = self._model.generate(
                    **inputs,
                    generation_config=self._greedy(max_tokens),
                    logits_processor=transformers.LogitsProcessorList(
                        [_Draw(uniforms, temperature, self._name)]
                    ),
                )
                drawn = out[:, inputs["input_ids"].shape[1] :].tolist()
                found.update(zip(group, map(self._until_eos, drawn), strict=True))
        return [found[i] for i in range(len(rows))]

    def _check_loading(self, checkpoint: Checkpoint, info: Mapping[str, Any]) -> None:
        # Tensors that it does not read, such as a value head, change no response.
        absent = sorted({str(key) for kind in _UNFIT for key in info.get(kind, ())})
        if absent:
            raise ConformanceError(
                f"{checkpoint.path} does not fit {checkpoint.architecture}; these tensors would be "
                f"random: {', '.join(absent[:6])}"
            )

    def _greedy(self, max_tokens: int) -> Any:
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
