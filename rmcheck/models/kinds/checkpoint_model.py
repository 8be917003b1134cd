"""What reward models in checkpoint folders have in common, whichever engine runs them."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self, TypeVar

from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.checkpoint.settings import Dtype, PrefixRule
from rmcheck.models.kinds.checkpoint_settings import CheckpointSettings
from rmcheck.models.kinds.engine_session import ScorerT, TokenizerT, TokensSession
from rmcheck.models.model import RewardModel
from rmcheck.models.sample import Encoded, Sample, TooLong, checked_ids
from rmcheck.models.spec import ModelSpec
from rmcheck.models.text.chat_template import ChatTemplate
from rmcheck.models.text.checkpoint_tokenizer import (
    chosen_template,
    installed_version,
    load_tokenizer,
    token_limit,
)
from rmcheck.models.text.tokenization import ConversationTokenizer

CheckpointT = TypeVar("CheckpointT", bound="CheckpointModel", covariant=True)


class CheckpointSession(TokensSession[CheckpointT, ScorerT, TokenizerT]):
    """A tokenizer, and what scores its token ids."""

    def encode(self, samples: Sequence[Sample], too_long: TooLong = "error") -> list[Encoded]:
        """Token ids of each sample; see `encode` of the tokenizer.

        Raises:
            ScoringError: A conversation is too long, or has ids that the model has no embedding
                for; all of them are named.
        """
        encoded = super().encode(samples, too_long)
        return checked_ids(encoded, self.model.vocabulary_size, self.model.spec)


class CheckpointModel(RewardModel):
    """A reward model whose weights and tokenizer are folders on this machine.

    Subclasses set `max_length`, `_template` and `fingerprint`, have the settings `dtype`,
    `template` and `date` among their own, and call `_settle` before using them.

    Args:
        spec: Where the folder is, and settings that differ from the defaults.

    Attributes:
        form: The settings as values.
        on_vllm: Whether vLLM runs it, which shares beginnings by its own cache.
        max_length: Most tokens of a conversation; None where neither spec nor folder says.

    Raises:
        UsageError: A setting is unknown or has a value that it cannot have.
    """

    form: ClassVar[type[CheckpointSettings]] = CheckpointSettings
    on_vllm: bool = False
    checkpoint: Checkpoint
    max_length: int | None
    _set: CheckpointSettings
    _template: ChatTemplate

    def __init__(self, spec: ModelSpec) -> None:
        self._set = self.form.read(spec, self.settings)
        self.on_vllm = self._set.engine == "vllm"
        self.spec = self.spec_anywhere = spec.text

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The model that a spec names, without loading it."""
        return cls(spec)

    @property
    def vocabulary_size(self) -> int | None:
        """Number of its embeddings, where the folder says it."""
        return self.checkpoint.vocabulary_size

    @property
    def dtype(self) -> Dtype:
        """Type of weights and activations; a last layer may have another."""
        return self._set.dtype or "float32"

    @property
    def prefix(self) -> PrefixRule:
        """The `prefix` setting; `off` for engines without it."""
        return self._set.prefix

    @property
    def template_source(self) -> str:
        """Where the chat template comes from."""
        return self._template.described(self._set.template)

    @property
    def _run(self) -> dict[str, str]:
        """Where and how it is run, for a description, as far as the settings say."""
        if self.on_vllm:
            return {"engine": "vllm", **self._set.versions}
        return {
            "device": self._set.device,
            "attention": self._set.attention,
            "prefix": self.prefix,
        }

    def _settle(self, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """Decide what only this machine and the folder's weights decide."""
        stated, self._set = self._set, self._set.for_weights(checkpoint)
        if not stated.dtype:
            self.spec_anywhere = spec.with_setting("dtype", self._set.dtype)

    def _fingerprint(self, checkpoint: Checkpoint, settings: Sequence[str], **facts: object) -> str:
        """Of the folder's files, the settings of these names, the template, and more facts."""
        shared: Mapping[str, object] = {
            "scheme": self.scheme,
            "max_length": self.max_length,
            **self._template.facts,
            "transformers": installed_version("transformers"),
        }
        return checkpoint.fingerprint(
            {**shared, **{name: getattr(self._set, name) for name in settings}, **facts}
        )


class ClassifierModel(CheckpointModel):
    """A sequence classification model whose logits, one or a weighted few, are the reward.

    Subclasses have the settings `head`, `max_length`, `eos`, `position` and `trust_remote_code`.

    Args:
        spec: Where the folder is, and settings that differ from the defaults.

    Raises:
        UnknownModelError: No folder, no config.json, or no weights.
        UsageError: A setting's value is impossible.
        ModelError: The weights are pickled, damaged, or an adapter.
        ConformanceError: No reward head, several logits without `head`, or no chat template.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.checkpoint = Checkpoint.of(spec, remote_code=self._set.remote_code)
        self.checkpoint.check()
        self._settle(spec, self.checkpoint)
        self.head = self.checkpoint.head(self._set.head, spec.text)
        self.max_length = token_limit(spec, self.checkpoint, self._set.max_length)
        self._template = chosen_template(
            spec, self.checkpoint, self._set.template, self._set.date, self._set.eos
        )

    @property
    def name(self) -> str:
        """The last two parts of the path, as in `rm-7b/step-4200`."""
        return self.checkpoint.short_name

    def _tokenizer(self, max_length: int | None) -> ConversationTokenizer:
        return ConversationTokenizer(
            load_tokenizer(self.checkpoint),
            template=self._template,
            eos=self._set.eos,
            max_length=max_length,
            type_ids=self.checkpoint.takes_type_ids,
        )
