"""vLLM as a language model that writes: token ids in, sampled token ids out."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rmcheck.errors import ScoringError
from rmcheck.models.checkpoint.causal import CausalCheckpoint
from rmcheck.models.engines.vllm.generation import VllmGenerator

# vLLM raises a temperature between 0 and this one to it, with a warning that nobody reads.
LEAST_TEMPERATURE = 0.01


class VllmSampler(VllmGenerator):
    """A loaded language model.

    Args:
        checkpoint: The folder, already checked.
        spec: The model as the user named it, for messages.
        end_ids: Tokens that end an answer.
        schema: JSON schema that answers are held to; None for free text.
        loading: See `VllmGenerator`.
    """

    def __init__(
        self,
        checkpoint: CausalCheckpoint,
        *,
        spec: str,
        end_ids: Collection[int],
        schema: Mapping[str, object] | None = None,
        **loading: Any,
    ) -> None:
        super().__init__(checkpoint, watched=True, name=spec, **loading)
        self._end_ids = sorted(end_ids)
        self._schema = dict(schema) if schema else None

    def sample(
        self,
        rows: Sequence[Sequence[int]],
        seeds: Sequence[int],
        *,
        temperature: float,
        max_tokens: int,
    ) -> list[list[int]]:
        """See `Sampler.sample`; fewer tokens where a row leaves fewer than `max_tokens`.

        vLLM raises temperatures between 0 and 0.01; callers refuse them.

        Raises:
            ScoringError: vLLM fails, which closes it, or logits are NaN or infinite.
            MemoryError: The device's memory does not suffice.
            UsageError: It was closed.
        """
        params = [self._params(seed, temperature, max_tokens) for seed in seeds]
        outputs = self.generate(rows, params)
        if self.answer("not_finite"):
            raise ScoringError(f"{self.name}: logits are NaN or infinite; try dtype=float32")
        found = [output.ids for output in outputs]
        return [ids[:-1] if ids and ids[-1] in self._end_ids else ids for ids in found]

    def _params(self, seed: int, temperature: float, max_tokens: int) -> dict[str, Any]:
        """Everything that vLLM would else take from the folder or its own defaults is stated."""
        return {
            "n": 1,
            "seed": seed,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "top_p": 1.0,
            "top_k": -1,
            "min_p": 0.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "repetition_penalty": 1.0,
            # The end tokens are rmcheck's; vLLM has a list of its own.
            "ignore_eos": True,
            "stop_token_ids": self._end_ids,
            "schema": self._schema,
        }
