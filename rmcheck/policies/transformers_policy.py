"""Policies that transformers can load: `hf:DIR`."""

from collections.abc import Sequence
from typing import ClassVar

from rmcheck.models.checkpoint import settings as known
from rmcheck.models.engines.writing import Answer
from rmcheck.models.spec import Setting
from rmcheck.policies.checkpoint_policy import CheckpointPolicy, CheckpointPolicySession
from rmcheck.policies.policy import Decoding


class TransformersPolicySession(CheckpointPolicySession):
    """One that torch runs, so many rows at once as its policy says."""

    def _answers(
        self, rows: Sequence[Sequence[int]], seeds: Sequence[int], decoding: Decoding
    ) -> list[Answer]:
        found = []
        for start in range(0, len(rows), self.policy.at_once):
            batch = slice(start, start + self.policy.at_once)
            found += super()._answers(rows[batch], seeds[batch], decoding)
        return found


class TransformersPolicy(CheckpointPolicy):
    """A folder that AutoModelForCausalLM loads.

    Responses are drawn from the softmax of the logits over the whole vocabulary. In float32 a
    response is the same in every batch; in bfloat16 and float16 rounding differs between batch
    sizes, so that a text may part from its twin (the distribution does not).
    """

    scheme: ClassVar[str] = "hf"
    session = TransformersPolicySession
    settings: ClassVar[tuple[Setting, ...]] = (
        known.BASE,
        known.DTYPE,
        known.DEVICE,
        known.TEMPLATE,
        known.DATE,
        Setting("batch", ("N",), "64"),
    )
