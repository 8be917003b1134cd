"""What reward models in checkpoint folders have in common, whichever engine runs them."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from rmcheck.errors import UsageError
from rmcheck.models.asked import Way
from rmcheck.models.chat_template import ChatTemplate
from rmcheck.models.checkpoint import Checkpoint
from rmcheck.models.checkpoint_settings import Dtype, PrefixRule, chosen_dtype
from rmcheck.models.checkpoint_tokenizer import (
    chosen_template,
    installed_version,
    load_tokenizer,
    token_limit,
)
from rmcheck.models.conformance import Proven
from rmcheck.models.last_token import PositionRule
from rmcheck.models.model import Encoded, RewardModel, Sample, TooLong
from rmcheck.models.spec import ModelSpec, check_settings
from rmcheck.models.tokenization import ConversationTokenizer, EosRule

if TYPE_CHECKING:
    from rmcheck.models.torch_scorer import TorchScorer
    from rmcheck.models.vllm.pooling import VllmPooling

_T = TypeVar("_T")
TokenizerT = TypeVar("TokenizerT", bound=ConversationTokenizer)


def loaded(found: _T | None, spec: str) -> _T:
    """What `load` made.

    Raises:
        UsageError: It was not called, or `close` was since.
    """
    if found is None:
        raise UsageError(f"{spec} is not loaded; call load() first")
    return found


class CheckpointModel(RewardModel, Generic[TokenizerT]):
    """A reward model whose weights and tokenizer are folders on this machine.

    Subclasses set `_limit`, `_template` and `fingerprint`, make the tokenizer in `load`, have the
    settings `dtype`, `template` and `date` among their own, and call `_settle` before using them.

    Args:
        spec: Where the folder is, and settings that differ from the defaults.

    Raises:
        UsageError: A setting is unknown or has a value that it cannot have.
    """

    _limit: int | None
    _template: ChatTemplate

    def __init__(self, spec: ModelSpec) -> None:
        self._set = check_settings(spec, self.settings)
        self.spec = self.spec_anywhere = spec.text
        self.shares_prefixes = self.prefix == "shared"
        self._warning = ""
        self._tokenizer: TokenizerT | None = None

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The model that a spec names, without loading it."""
        return cls(spec)

    @property
    def dtype(self) -> Dtype:
        """Type of weights and activations; a last layer may have another."""
        return cast(Dtype, self._set["dtype"])

    @property
    def max_length(self) -> int | None:
        """Most tokens of a conversation; None when neither spec nor folder says."""
        return self._limit

    @property
    def prefix(self) -> PrefixRule:
        """The `prefix` setting; `off` for engines without it."""
        return cast(PrefixRule, self._set.get("prefix", "off"))

    @property
    def prefix_in_use(self) -> PrefixRule:
        """Whether prompts are shared; `auto` until the proof has decided."""
        if self.shares_prefixes:
            return "shared"
        return "off" if self.conformance else self.prefix

    @property
    def way(self) -> Way:
        """How batches are computed."""
        return "packed" if self.shares_prefixes else "padded"

    @property
    def template_source(self) -> str:
        """Where the chat template comes from."""
        return self._template.described(self._set["template"])

    @property
    def tokenizer(self) -> TokenizerT:
        """The loaded tokenizer."""
        return loaded(self._tokenizer, self.spec)

    def encode(self, samples: Sequence[Sample], too_long: TooLong = "error") -> list[Encoded]:
        """Token ids of each sample; see `encode` of the tokenizer."""
        return self.tokenizer.encode(samples, too_long)

    def close(self) -> None:
        """Release weights and tokenizer; the model can be loaded again."""
        self._tokenizer = None

    def _settle(self, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """Decide what only this machine and the folder's weights decide."""
        if not self._set["dtype"]:
            self._set["dtype"] = chosen_dtype(self._set, checkpoint)
            self.spec_anywhere = spec.with_setting("dtype", self._set["dtype"])

    def _accept(self, proven: Proven) -> None:
        """Fill the conformance page; with `prefix=auto` it decides whether prompts are shared."""
        self.conformance, self._warning = proven.items, proven.warning
        if self.prefix == "auto":
            self.shares_prefixes = proven.shares_prefixes

    def _fingerprint(self, checkpoint: Checkpoint, settings: Sequence[str], **facts: object) -> str:
        """Of the folder's files, the settings of these names, the template, and more facts."""
        shared: Mapping[str, object] = {
            "scheme": self.scheme,
            "max_length": self._limit,
            **self._template.facts,
            "transformers": installed_version("transformers"),
        }
        return checkpoint.fingerprint(
            {**shared, **{name: self._set[name] for name in settings}, **facts}
        )


class ClassifierModel(CheckpointModel[ConversationTokenizer]):
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
        self.checkpoint = Checkpoint(spec.path, self._set["trust_remote_code"] == "yes")
        self.checkpoint.check()
        self._settle(spec, self.checkpoint)
        self.head = self.checkpoint.head(self._set["head"], spec.text)
        self._limit = token_limit(spec, self.checkpoint, self._set["max_length"])
        self._template = chosen_template(
            spec, self.checkpoint, self._set["template"], self._set["eos"], self._set["date"]
        )

    @property
    def name(self) -> str:
        """The last two parts of the path, as in `rm-7b/step-4200`."""
        return self.checkpoint.short_name

    @property
    def position(self) -> PositionRule:
        """The `position` setting."""
        return cast(PositionRule, self._set["position"])

    @property
    @abstractmethod
    def scorer(self) -> "TorchScorer | VllmPooling":
        """The loaded model."""

    def _opened_tokenizer(self) -> ConversationTokenizer:
        return ConversationTokenizer(
            load_tokenizer(self.checkpoint),
            template=self._template,
            eos=cast(EosRule, self._set["eos"]),
            max_length=self.max_length,
            type_ids=self.checkpoint.takes_type_ids,
        )
