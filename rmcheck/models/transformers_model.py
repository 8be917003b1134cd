"""Reward models that transformers can load: `hf:DIR`."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ConformanceError, UsageError
from rmcheck.models.checkpoint import Checkpoint
from rmcheck.models.checkpoint_tokenizer import (
    chosen_template,
    installed_version,
    load_tokenizer,
    token_limit,
)
from rmcheck.models.conformance import prove
from rmcheck.models.fingerprint import fingerprint
from rmcheck.models.model import Encoded, RewardModel, Sample, TooLong, checked_rewards
from rmcheck.models.spec import ModelSpec, Setting, check_device, check_settings
from rmcheck.models.tokenization import ConversationTokenizer, EosRule
from rmcheck.models.torch_scorer import (
    PositionRule,
    TorchScorer,
)

PrefixRule = Literal["auto", "shared", "off"]


class TransformersRewardModel(RewardModel):
    """A folder that AutoModelForSequenceClassification loads, decoder or encoder.

    Opening one reads config.json and the safetensors headers and hashes the files; torch and
    transformers are imported by `load`. The settings are explained in `settings`.

    Args:
        spec: Where the folder is, and settings that differ from the defaults.

    Raises:
        UnknownModelError: No folder, no config.json, or no weights.
        UsageError: A setting's value is impossible.
        ModelError: The weights are pickled, damaged, or an adapter.
        ConformanceError: No reward head, several logits without `head`, or no chat template.
    """

    scheme: ClassVar[str] = "hf"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("dtype", ("float32", "bfloat16", "float16"), "float32", closed=True),
        Setting("device", ("auto", "cpu", "cuda", "cuda:N"), "auto"),
        Setting("head", ("NAME", "INDEX", "NAME:WEIGHT,NAME:WEIGHT")),
        Setting("max_length", ("N",)),
        Setting("template", ("FILE.jinja", "pair")),
        Setting("eos", ("keep", "append", "strip"), "keep", closed=True),
        Setting("position", ("auto", "last", "transformers"), "auto", closed=True),
        Setting("attention", ("auto", "sdpa", "eager"), "auto", closed=True),
        Setting("prefix", ("auto", "shared", "off"), "auto", closed=True),
        Setting("trust_remote_code", ("no", "yes"), "no", closed=True),
    )

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._set = check_settings(spec, self.settings)
        self.spec = spec.text
        remote_code = self._set["trust_remote_code"] == "yes"
        self.checkpoint = Checkpoint(spec.path, remote_code)
        self.checkpoint.check()
        self.head = self.checkpoint.head(self._set["head"], spec.text)
        self.max_length = token_limit(spec, self.checkpoint, self._set["max_length"])
        self._template = chosen_template(
            spec, self.checkpoint, self._set["template"], self._set["eos"]
        )
        check_device(spec.text, self._set["device"])
        self.fingerprint = self._fingerprint()
        self.shares_prefixes = self.prefix == "shared"
        self._warning = ""
        self._scorer: TorchScorer | None = None
        self._tokenizer: ConversationTokenizer | None = None

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The model that a spec names, without loading it."""
        return cls(spec)

    @property
    def name(self) -> str:
        """The last two parts of the path, as in `rm-7b/step-4200`."""
        return self.checkpoint.short_name

    @property
    def description(self) -> Mapping[str, str]:
        """Architecture, dtype, device, conventions; the device is `auto` until loaded."""
        loaded = self._scorer
        return {
            "architecture": self.checkpoint.architecture,
            "path": str(self.checkpoint.path),
            "dtype": self._set["dtype"],
            "device": str(loaded.device) if loaded else self._set["device"],
            "attention": loaded.attention if loaded else self._set["attention"],
            "prefix": "shared" if self.shares_prefixes else "off",
            "quantisation": self.checkpoint.quantisation,
            "head": str(self.head),
            "max_length": str(self.max_length or "no limit"),
            "template": self.template_source,
            "eos": self._set["eos"],
            "position": self._set["position"],
            "transformers": installed_version("transformers"),
        } | ({"warning": self._warning} if self._warning else {})

    @property
    def template_source(self) -> str:
        """Where the chat template comes from."""
        return self._set["template"] or "the tokenizer's own"

    @property
    def position(self) -> PositionRule:
        """The `position` setting."""
        return cast(PositionRule, self._set["position"])

    @property
    def prefix(self) -> PrefixRule:
        """The `prefix` setting."""
        return cast(PrefixRule, self._set["prefix"])

    @property
    def dtype(self) -> Literal["float32", "bfloat16", "float16"]:
        """Type of weights and activations; the head's last layer is float32 always."""
        return cast(Literal["float32", "bfloat16", "float16"], self._set["dtype"])

    @property
    def tokenizer(self) -> ConversationTokenizer:
        """The loaded tokenizer."""
        if self._tokenizer is None:
            raise UsageError(f"{self.spec} is not loaded; call load() first")
        return self._tokenizer

    @property
    def scorer(self) -> TorchScorer:
        """The loaded model."""
        if self._scorer is None:
            raise UsageError(f"{self.spec} is not loaded; call load() first")
        return self._scorer

    def load(self) -> None:
        """Read tokenizer and weights. Does nothing when they are loaded.

        Raises:
            MissingDependencyError: torch or transformers is not installed.
            ModelError: They cannot be loaded.
            ConformanceError: A tensor that the model needs is not among the weights.
        """
        if self._scorer is not None:
            return
        self._tokenizer = ConversationTokenizer(
            load_tokenizer(self.checkpoint),
            template=self._template,
            eos=cast(EosRule, self._set["eos"]),
            max_length=self.max_length,
            type_ids=self.checkpoint.takes_type_ids,
        )
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

    def encode(self, samples: Sequence[Sample], too_long: TooLong = "error") -> list[Encoded]:
        """Token ids of each sample; see `ConversationTokenizer.encode`."""
        return self.tokenizer.encode(samples, too_long)

    def prove(self, encoded: Sequence[Encoded]) -> None:
        """Fill the conformance page; with `prefix=auto` it decides whether prompts are shared.

        See `rmcheck.models.conformance`.
        """
        proven = prove(self, encoded)
        self.conformance, self._warning = proven.items, proven.warning
        if self.prefix == "auto":
            self.shares_prefixes = proven.shares_prefixes

    def score(self, batch: Sequence[Encoded]) -> NDArray[np.float64]:
        """(len(batch),) raw logits, from one padded batch or with shared prompts.

        Both agree to rounding; `shares_prefixes` says which it is.

        Raises:
            ScoringError: A reward is NaN or infinite.
            MemoryError: The batch does not fit.
        """
        if not batch:
            return np.zeros(0)
        rows = [e.ids for e in batch]
        if self.shares_prefixes:
            rewards = self.scorer.packed_rewards(rows)
        else:
            rewards = self.scorer.rewards(rows, [e.type_ids for e in batch])
        return checked_rewards(rewards, batch, self.spec)

    def close(self) -> None:
        """Release weights and tokenizer; the model can be loaded again."""
        if self._scorer is not None:
            self._scorer.close()
        self._scorer = None
        self._tokenizer = None

    def _fingerprint(self) -> str:
        facts: dict[str, object] = {
            "scheme": self.scheme,
            "head": self.head.key,
            "max_length": self.max_length,
            "template": self._template,
            "transformers": installed_version("transformers"),
        }
        facts |= {name: self._set[name] for name in ("dtype", "eos", "position", "attention")}
        files = [*self.checkpoint.weight_files, *self.checkpoint.read_files]
        return fingerprint(facts, files, root=self.checkpoint.path)
