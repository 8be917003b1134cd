"""Policies that transformers can load: `hf:DIR`."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from rmcheck.models.checkpoint import settings as known
from rmcheck.models.engines.torch.sampler import TorchSampler
from rmcheck.models.kinds.checkpoint_model import loaded
from rmcheck.models.spec import ModelSpec, Setting, check_device
from rmcheck.policies.checkpoint_policy import CheckpointPolicy
from rmcheck.policies.policy import Decoding


class TransformersPolicy(CheckpointPolicy):
    """A folder that AutoModelForCausalLM loads.

    Responses are drawn from the softmax of the logits over the whole vocabulary. In float32 a
    response is the same in every batch; in bfloat16 and float16 rounding differs between batch
    sizes, so that a text may part from its twin (the distribution does not).
    """

    scheme: ClassVar[str] = "hf"
    settings: ClassVar[tuple[Setting, ...]] = (
        known.DTYPE,
        known.DEVICE,
        known.TEMPLATE,
        known.DATE,
        Setting("batch", ("N",), "64"),
    )

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        check_device(spec.text, self._set["device"])
        self._sampler: TorchSampler | None = None

    @property
    def positions(self) -> int | None:
        """Positions that config.json gives the model."""
        return self.checkpoint.model_length

    @property
    def sampler(self) -> TorchSampler:
        """The loaded engine."""
        return loaded(self._sampler, self.spec)

    def load(self) -> None:
        """Read tokenizer and weights. Does nothing when they are loaded.

        Raises:
            MissingDependencyError: torch or transformers is not installed.
            UsageError: There is no such device.
            ModelError: They cannot be loaded.
            ConformanceError: A tensor that the model needs is not among the weights.
        """
        if self._sampler is not None:
            return
        self._tokenizer = self._load_tokenizer()
        self._sampler = TorchSampler(
            self.checkpoint,
            dtype=self._set["dtype"],
            device=self._set["device"],
            eos_ids=self._end_ids(self._tokenizer),
        )

    def close(self) -> None:
        """Release weights and tokenizer; the policy can be loaded again."""
        if self._sampler is not None:
            self._sampler.close()
        self._sampler = None
        super().close()

    def _answers(
        self, rows: Sequence[Sequence[int]], seeds: Sequence[int], decoding: Decoding
    ) -> Iterator[list[int]]:
        for start in range(0, len(rows), self.at_once):
            yield from self.sampler.sample(
                rows[start : start + self.at_once],
                seeds[start : start + self.at_once],
                temperature=decoding.temperature,
                max_tokens=decoding.max_tokens,
            )

    def _engine_facts(self) -> dict[str, str]:
        return {"scheme": "policy:hf"}
