"""What reward models in checkpoint folders have in common, whichever engine runs them."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, Self, TypeVar, cast

import numpy as np

from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.checkpoint.settings import Dtype, PrefixRule
from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.engines.last_token import PositionRule
from rmcheck.models.kinds.checkpoint_settings import CheckpointSettings
from rmcheck.models.model import (
    Encoded,
    EngineFacts,
    RewardModel,
    Sample,
    TooLong,
    checked_rewards,
    loaded,
)
from rmcheck.models.proof.conformance import Proof
from rmcheck.models.spec import ModelSpec
from rmcheck.models.text.chat_template import ChatTemplate
from rmcheck.models.text.checkpoint_tokenizer import (
    chosen_template,
    installed_version,
    load_tokenizer,
    token_limit,
)
from rmcheck.models.text.tokenization import ConversationTokenizer
from rmcheck.models.workers import Workers

if TYPE_CHECKING:
    from rmcheck.models.engines.torch.model import TorchModel

TokenizerT = TypeVar("TokenizerT", bound=ConversationTokenizer)
ScorerT = TypeVar("ScorerT", bound="Weights")


class Weights(Protocol):
    """Weights in memory, whatever is read from them."""

    @property
    def facts(self) -> EngineFacts:
        """See `RewardModel.facts`."""
        ...

    def workers(self) -> Workers:
        """See `RewardModel.workers`."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


@dataclass(frozen=True)
class Session(Generic[TokenizerT, ScorerT]):
    """What loading a model gives."""

    tokenizer: TokenizerT
    scorer: ScorerT


class CheckpointModel(RewardModel, Generic[TokenizerT, ScorerT]):
    """A reward model whose weights and tokenizer are folders on this machine.

    Subclasses set `_limit`, `_template` and `fingerprint`, have the settings `dtype`, `template`
    and `date` among their own, and call `_settle` before using them. What loading gives, what is
    proved and what a reward is are `_opened`, `_proof` and `_rewards`.

    Args:
        spec: Where the folder is, and settings that differ from the defaults.

    Attributes:
        form: The settings as values.
        on_vllm: Whether vLLM runs it, which shares beginnings by its own cache.

    Raises:
        UsageError: A setting is unknown or has a value that it cannot have.
    """

    form: ClassVar[type[CheckpointSettings]] = CheckpointSettings
    on_vllm: bool = False
    _limit: int | None
    _set: CheckpointSettings
    _template: ChatTemplate

    def __init__(self, spec: ModelSpec) -> None:
        self._set = self.form.read(spec, self.settings)
        self.on_vllm = self._set.engine == "vllm"
        self.spec = self.spec_anywhere = spec.text
        self.shares_prefixes = self.prefix == "shared"
        self._warning = ""
        self._session: Session[TokenizerT, ScorerT] | None = None

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The model that a spec names, without loading it."""
        return cls(spec)

    @property
    def dtype(self) -> Dtype:
        """Type of weights and activations; a last layer may have another."""
        return self._set.dtype or "float32"

    @property
    def max_length(self) -> int | None:
        """Most tokens of a conversation; None when neither spec nor folder says."""
        return self._limit

    @property
    def prefix(self) -> PrefixRule:
        """The `prefix` setting; `off` for engines without it."""
        return self._set.prefix

    @property
    def prefix_in_use(self) -> PrefixRule:
        """Whether prompts are shared; `auto` until the proof has decided."""
        if self.shares_prefixes:
            return "shared"
        return "off" if self.conformance else self.prefix

    @property
    def way(self) -> Way:
        """How batches are computed."""
        return "packed" if self.shares_prefixes and not self.on_vllm else "padded"

    @property
    def template_source(self) -> str:
        """Where the chat template comes from."""
        return self._template.described(self._set.template)

    @property
    def tokenizer(self) -> TokenizerT:
        """The loaded tokenizer."""
        return loaded(self._session, self.spec).tokenizer

    @property
    def scorer(self) -> ScorerT:
        """The loaded weights."""
        return loaded(self._session, self.spec).scorer

    @property
    def facts(self) -> EngineFacts:
        """The facts of the engine."""
        return self.scorer.facts

    def load(self) -> None:
        """Read tokenizer and weights. Does nothing when they are loaded.

        Raises:
            MissingDependencyError: The engine's package is not installed.
            ModelError: They cannot be loaded.
            ConformanceError: A tensor that the model needs is not among the weights, or what the
                model is asked for cannot be read from it.
        """
        if self._session is None:
            self._session = self._opened()

    def encode(self, samples: Sequence[Sample], too_long: TooLong = "error") -> list[Encoded]:
        """Token ids of each sample; see `encode` of the tokenizer."""
        return self.tokenizer.encode(samples, too_long)

    def prove(self, encoded: Sequence[Encoded]) -> None:
        """Fill the conformance page; with `prefix=auto` it decides whether prompts are shared."""
        proven = self._proof(encoded).proven()
        self.conformance, self._warning = proven.items, proven.warning
        if self.prefix == "auto":
            self.shares_prefixes = proven.shares_prefixes

    def score(self, batch: Sequence[Encoded]) -> Floats:
        """(len(batch),) raw rewards.

        Raises:
            ScoringError: A reward is NaN or infinite.
            MemoryError: The batch does not fit.
        """
        if not batch:
            return np.zeros(0)
        return checked_rewards(self._rewards(batch), batch, self.spec)

    def workers(self) -> Workers:
        """The threads of the engine: on a CPU a thread for each core, while memory allows."""
        return self.scorer.workers()

    def close(self) -> None:
        """Release weights and tokenizer; the model can be loaded again."""
        if self._session is not None:
            self._session.scorer.close()
        self._session = None

    @abstractmethod
    def _opened(self) -> Session[TokenizerT, ScorerT]:
        """Tokenizer and weights, read."""

    @abstractmethod
    def _proof(self, encoded: Sequence[Encoded]) -> Proof:
        """What it has to prove, on samples of the run."""

    @abstractmethod
    def _rewards(self, batch: Sequence[Encoded]) -> Floats:
        """(len(batch),) rewards of one sample or more, finite or not."""

    def _described(self, engine: object) -> dict[str, str]:
        """Where and how it is run, for a description; the settings until it is loaded."""
        if self.on_vllm:
            return {"engine": "vllm", **self._set.versions}
        found = cast("TorchModel | None", engine)
        return {
            "device": str(found.device) if found else self._set.device,
            **(found.devices if found else {}),
            "attention": found.attention if found else self._set.attention,
            "prefix": self.prefix_in_use,
        }

    @property
    def _warnings(self) -> dict[str, str]:
        """For the end of a description."""
        return {"warning": self._warning} if self._warning else {}

    def _settle(self, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """Decide what only this machine and the folder's weights decide."""
        stated, self._set = self._set, self._set.for_weights(checkpoint)
        if not stated.dtype:
            self.spec_anywhere = spec.with_setting("dtype", self._set.dtype)

    def _fingerprint(self, checkpoint: Checkpoint, settings: Sequence[str], **facts: object) -> str:
        """Of the folder's files, the settings of these names, the template, and more facts."""
        shared: Mapping[str, object] = {
            "scheme": self.scheme,
            "max_length": self._limit,
            **self._template.facts,
            "transformers": installed_version("transformers"),
        }
        return checkpoint.fingerprint(
            {**shared, **{name: getattr(self._set, name) for name in settings}, **facts}
        )


class ClassifierModel(CheckpointModel[ConversationTokenizer, ScorerT]):
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
        self.checkpoint = Checkpoint(spec.path, self._set.remote_code)
        self.checkpoint.check()
        self._settle(spec, self.checkpoint)
        self.head = self.checkpoint.head(self._set.head, spec.text)
        self._limit = token_limit(spec, self.checkpoint, self._set.max_length)
        self._template = chosen_template(
            spec, self.checkpoint, self._set.template, self._set.eos, self._set.date
        )

    @property
    def name(self) -> str:
        """The last two parts of the path, as in `rm-7b/step-4200`."""
        return self.checkpoint.short_name

    @property
    def position(self) -> PositionRule:
        """The `position` setting."""
        return self._set.position

    def _opened_tokenizer(self, max_length: int | None) -> ConversationTokenizer:
        return ConversationTokenizer(
            load_tokenizer(self.checkpoint),
            template=self._template,
            eos=self._set.eos,
            max_length=max_length,
            type_ids=self.checkpoint.takes_type_ids,
        )
