"""Reward models that transformers can load: `hf:DIR`."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ConformanceError
from rmcheck.models import checkpoint_settings as known
from rmcheck.models.checkpoint_model import ClassifierModel, loaded
from rmcheck.models.checkpoint_tokenizer import installed_version
from rmcheck.models.model import Encoded, checked_rewards
from rmcheck.models.spec import ModelSpec, Setting, check_device
from rmcheck.models.torch_scorer import TorchScorer
from rmcheck.models.transformers_conformance import TransformersProof
from rmcheck.models.workers import Workers


class TransformersRewardModel(ClassifierModel):
    """A folder that AutoModelForSequenceClassification loads, decoder or encoder.

    Opening one reads config.json and the safetensors headers and hashes the files; torch and
    transformers are imported by `load`. The settings are explained in `settings`. What it raises:
    see `ClassifierModel`.
    """

    scheme: ClassVar[str] = "hf"
    settings: ClassVar[tuple[Setting, ...]] = (
        known.DTYPE,
        known.DEVICE,
        known.HEAD,
        known.MAX_LENGTH,
        known.TEMPLATE_OR_PAIR,
        known.DATE,
        known.EOS,
        known.POSITION,
        known.ATTENTION,
        known.PREFIX,
        known.TRUST_REMOTE_CODE,
    )

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        check_device(spec.text, self._set["device"])
        self.fingerprint = self._fingerprint(
            self.checkpoint,
            ("dtype", "eos", "position", "attention"),
            head=self.head.key,
        )
        self._scorer: TorchScorer | None = None

    @property
    def description(self) -> Mapping[str, str]:
        """Architecture, dtype, device, conventions; the device is `auto` until loaded."""
        scorer = self._scorer
        return {
            "architecture": self.checkpoint.architecture,
            "path": str(self.checkpoint.path),
            "dtype": self._set["dtype"],
            "device": str(scorer.device) if scorer else self._set["device"],
            "attention": scorer.attention if scorer else self._set["attention"],
            "prefix": self.prefix_in_use,
            "quantisation": self.checkpoint.quantisation,
            "head": str(self.head),
            "max_length": str(self.max_length or "no limit"),
            "template": self.template_source,
            "eos": self._set["eos"],
            "position": self._set["position"],
            "transformers": installed_version("transformers"),
        } | ({"warning": self._warning} if self._warning else {})

    @property
    def scorer(self) -> TorchScorer:
        """The loaded model."""
        return loaded(self._scorer, self.spec)

    def load(self) -> None:
        """Read tokenizer and weights. Does nothing when they are loaded.

        Raises:
            MissingDependencyError: torch or transformers is not installed.
            ModelError: They cannot be loaded.
            ConformanceError: A tensor that the model needs is not among the weights.
        """
        if self._scorer is not None:
            return
        self._tokenizer = self._opened_tokenizer()
        self._scorer = TorchScorer(
            self.checkpoint,
            dtype=self.dtype,
            device=self._set["device"],
            attention=self._set["attention"],
            head=self.head,
            position=self.position,
        )
        if self.prefix == "shared" and not self._scorer.reads_last_token:
            self.close()
            raise ConformanceError(
                f"{self.spec}: {self.checkpoint.architecture} does not read its reward at the last "
                "token of a causal model, so responses cannot share their prompt; remove "
                "prefix=shared"
            )

    def prove(self, encoded: Sequence[Encoded]) -> None:
        """Fill the conformance page; with `prefix=auto` it decides whether prompts are shared.

        See `rmcheck.models.transformers_conformance`.
        """
        self._accept(TransformersProof(self, encoded).proven())

    def score(self, batch: Sequence[Encoded]) -> NDArray[np.float64]:
        """(len(batch),) raw logits, from one padded batch or with shared prompts.

        Both agree to rounding; `shares_prefixes` says which it is.

        Raises:
            ScoringError: A reward is NaN or infinite.
            MemoryError: The batch does not fit.
        """
        if not batch:
            return np.zeros(0)
        rows, types = [e.ids for e in batch], [e.type_ids for e in batch]
        return checked_rewards(self.scorer.rewards(rows, types, self.way), batch, self.spec)

    def workers(self) -> Workers:
        """On a CPU a thread for each core, while memory allows."""
        return self.scorer.workers()

    def close(self) -> None:
        """Release weights and tokenizer; the model can be loaded again."""
        if self._scorer is not None:
            self._scorer.close()
        self._scorer = None
        super().close()
