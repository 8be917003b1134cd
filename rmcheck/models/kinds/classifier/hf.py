"""Reward models that transformers can load: `hf:DIR`."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rmcheck.errors import ConformanceError, UsageError
from rmcheck.models.checkpoint import settings as known
from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.engines.torch.classifier import TorchScorer
from rmcheck.models.engines.torch.spread import SETTINGS as SPREAD
from rmcheck.models.kinds.checkpoint_model import CheckpointSession, ClassifierModel
from rmcheck.models.kinds.classifier.hf_conformance import TransformersProof
from rmcheck.models.sample import Encoded
from rmcheck.models.spec import ModelSpec, Setting
from rmcheck.models.text.checkpoint_tokenizer import installed_version
from rmcheck.models.text.tokenization import ConversationTokenizer


class TransformersSession(
    CheckpointSession["TransformersRewardModel", TorchScorer, ConversationTokenizer]
):
    """A classifier that torch runs."""

    def _proof(self, encoded: Sequence[Encoded]) -> TransformersProof:
        return TransformersProof(self, encoded)

    def _rewards(self, batch: Sequence[Encoded], way: Way) -> Floats:
        return self.scorer.rewards([e.ids for e in batch], [e.type_ids for e in batch], way)


class TransformersRewardModel(ClassifierModel):
    """A folder that AutoModelForSequenceClassification loads, decoder or encoder.

    Opening one reads config.json and the safetensors headers and hashes the files; torch and
    transformers are imported by `load`. What it raises: see `ClassifierModel`.

    Attributes:
        engine: What runs it.
    """

    scheme: ClassVar[str] = "hf"
    engine: ClassVar[type[TorchScorer]] = TorchScorer
    settings: ClassVar[tuple[Setting, ...]] = (
        known.BASE,
        known.DTYPE,
        known.DEVICE,
        *SPREAD,
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
        if self._set.spread and self.checkpoint.adapter:
            raise UsageError(
                f"{self.spec}: an adapter is merged on one device; remove device_map, or merge it "
                "(merge_and_unload) and save the whole model"
            )
        self.fingerprint = self._fingerprint(
            self.checkpoint,
            ("dtype", "eos", "position", "attention"),
            head=self.head.key,
        )

    @property
    def description(self) -> Mapping[str, str]:
        """Architecture, dtype, device, conventions."""
        return {
            "architecture": self.checkpoint.architecture,
            **self.checkpoint.described,
            "dtype": self._set.dtype,
            **self._run,
            "quantisation": self.checkpoint.quantisation,
            "head": str(self.head),
            "max_length": str(self.max_length or "no limit"),
            "template": self.template_source,
            "eos": self._set.eos,
            "position": self._set.position,
            "transformers": installed_version("transformers"),
        }

    def load(self) -> TransformersSession:
        tokenizer = self._tokenizer(self.max_length)
        scorer = self.engine(
            self.checkpoint,
            dtype=self.dtype,
            device=self._set.device,
            attention=self._set.attention,
            head=self.head,
            position=self._set.position,
            spread=self._set.spread,
        )
        if self.prefix == "shared" and not scorer.reads_last_token:
            scorer.close()
            raise ConformanceError(
                f"{self.spec}: {self.checkpoint.architecture} does not read its reward at the last "
                "token of a causal model, so responses cannot share their prompt; remove "
                "prefix=shared"
            )
        return TransformersSession(self, scorer, tokenizer)
