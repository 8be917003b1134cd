"""Policies that vLLM runs: `vllm:DIR`."""

from collections.abc import Sequence
from typing import ClassVar, cast

from rmcheck.errors import ModelError, UsageError
from rmcheck.models.checkpoint import settings as known
from rmcheck.models.engines.vllm.placement import SETTINGS as PLACEMENT
from rmcheck.models.engines.vllm.sampler import LEAST_TEMPERATURE, VllmSampler
from rmcheck.models.engines.writing import Answer
from rmcheck.models.libraries import brief
from rmcheck.models.spec import Setting
from rmcheck.policies.checkpoint_policy import CheckpointPolicy, CheckpointPolicySession
from rmcheck.policies.policy import Decoding
from rmcheck.pool.pool import Prompt


class VllmPolicySession(CheckpointPolicySession):
    """One that vLLM runs."""

    def check(self, prompts: Sequence[Prompt], decoding: Decoding) -> None:
        """Refuse what vLLM would change: long prompts, and temperatures near 0.

        Raises:
            UsageError: The temperature is below 0.01, or some prompts are too long; the longest
                are named.
            ScoringError: The chat template refuses a prompt.
        """
        _check_temperature(decoding)
        super().check(prompts, decoding)

    @property
    def _positions(self) -> int:
        return cast(VllmSampler, self.writer.sampler).max_length

    def _answers(
        self, rows: Sequence[Sequence[int]], seeds: Sequence[int], decoding: Decoding
    ) -> list[Answer]:
        _check_temperature(decoding)
        try:
            return super()._answers(rows, seeds, decoding)
        except MemoryError as error:
            self.close()
            raise ModelError(f"{self.policy.spec}: vLLM cannot answer. {brief(error)}") from error


class VllmPolicy(CheckpointPolicy):
    """A folder in transformers' layout whose responses vLLM samples.

    Same checks, template, token ids and end tokens as `hf:`, another engine and another stream of
    random numbers: the distribution is the same, the texts are not. vLLM reads a prompt once for
    all its responses. In float32 a response is the same in every batch; in bfloat16 and float16
    rounding differs between batches, so that a text may part from its twin.

    `load` starts vLLM in a process of its own, which `close` ends.
    """

    scheme: ClassVar[str] = "vllm"
    session = VllmPolicySession
    settings: ClassVar[tuple[Setting, ...]] = (
        known.BASE,
        known.DTYPE,
        known.MAX_LENGTH,
        known.TEMPLATE,
        known.DATE,
        Setting("batch", ("N",), "256"),
        *PLACEMENT,
    )
    # vLLM's seeds are signed, and -1 means none.
    seed_bits = 63


def _check_temperature(decoding: Decoding) -> None:
    if decoding.temperature < LEAST_TEMPERATURE:
        raise UsageError(
            f"temperature is {decoding.temperature}; vLLM samples at {LEAST_TEMPERATURE} and more"
        )
