"""The one protocol behind which every reward model stands.

A model is found by `scheme:location?setting=value` (see `rmcheck.models.registry`). Opening one
is cheap: it reads the fingerprint and never the weights, and nothing changes it afterwards. `load`
reads the weights and gives a session, which scores.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UsageError
from rmcheck.models.sample import Encoded, Sample, TooLong
from rmcheck.models.spec import ModelSpec, Setting
from rmcheck.models.workers import Workers
from rmcheck.pool.asked import AskedColumns
from rmcheck.pool.keys import NamedResponses

_NOTHING = AskedColumns()
_NONE: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class ConformanceItem:
    """One line of the conformance page.

    Attributes:
        name: What was checked, such as `batch_invariance`.
        status: `pass`, `fail` (stops the run), or `note` (a convention that is recorded).
        detail: What was found, with the values.
    """

    name: str
    status: Literal["pass", "fail", "note"]
    detail: str


@dataclass(frozen=True)
class Proven:
    """What a proof found; whoever asked for it holds it, and the model stays as it was.

    Attributes:
        items: The conformance page; empty for models that have nothing to prove.
        shares_prefixes: Whether rewards are the same where tokens that samples of a batch begin
            with are computed once. Batches are then made of samples that begin alike.
        prefix_block: Tokens that such a beginning is shared in whole multiples of.
        described: Facts for the report that only the proof could tell, and its warning.
        samples: Number of samples that it rests on.
    """

    items: tuple[ConformanceItem, ...] = ()
    shares_prefixes: bool = False
    prefix_block: int = 1
    described: Mapping[str, str] = field(default_factory=lambda: _NONE)
    samples: int = 0


@dataclass(frozen=True)
class Combined:
    """Rewards of a model, made from the scores of its members.

    Attributes:
        rewards: (M,) rewards, higher is better.
        columns: Name to (M,) further numbers a response, for metrics that ask for them.
        warning: What a reader of these rewards must know; empty if nothing.
    """

    rewards: NDArray[np.float64]
    columns: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    warning: str = ""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What the size of a batch hangs on.

    Attributes:
        device: Kind of device that computes, as torch names it (`cpu`, `cuda`); `server` where
            another machine does; empty where the engine makes its own batches, or computes nothing.
        fits: Tokens of a batch that fit in the device's free memory; None where nothing says.
    """

    device: str = ""
    fits: int | None = None


class Loaded(AbstractContextManager["Loaded"]):
    """What is in memory, or behind a server. Who loaded it closes it; it is a context manager."""

    @property
    def alive(self) -> bool:
        """False once its engine has died."""
        return True

    @property
    def described(self) -> Mapping[str, str]:
        """What only loading could tell, such as the device, for the report."""
        return {}

    @property
    def facts(self) -> EngineFacts:
        """What batches are sized by."""
        return EngineFacts()

    def workers(self) -> Workers:
        """The threads that may ask at the same time: the caller's own, or several.

        The caller shuts them down before it closes this.
        """
        return Workers()

    def close(self) -> None:
        """Release everything."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Session(Loaded):
    """A model that is loaded, ready to score.

    Attributes:
        model: What was loaded.
    """

    model: "RewardModel"

    @property
    def description(self) -> Mapping[str, str]:
        """Facts for the report: those of the model, and what only loading could tell."""
        return {**self.model.description, **self.described}

    def encode(self, samples: Sequence[Sample], too_long: TooLong = "error") -> list[Encoded]:
        """What the model will read for each sample.

        Raises:
            ScoringError: A conversation is too long and `too_long` is `error`; all are named.
        """
        return [Encoded(s.text_key, max(1, len(s.response) // 4), (), (), 0, s) for s in samples]

    def prove(self, encoded: Sequence[Encoded]) -> Proven:
        """What scoring some of these samples in several ways shows; nothing for models of text.

        Raises:
            ConformanceError: A check failed; the message holds the whole page.
            MemoryError: The samples do not fit together; the caller tries fewer.
        """
        return Proven()

    @abstractmethod
    def score(self, batch: Sequence[Encoded]) -> NDArray[np.float64]:
        """(len(batch),) raw rewards, higher is better. Never squashed, never truncated.

        Raises:
            MemoryError: The batch does not fit; the caller halves it and goes on.
        """

    def scoring(self, proven: Proven) -> Callable[[Sequence[Encoded]], NDArray[np.float64]]:
        """`score` for one sample or more, in the way that was proven.

        Whoever calls it makes sure that rewards are finite (`checked_rewards`).
        """
        return self.score

    def look_up(self, rows: NamedResponses) -> NDArray[np.float64]:
        """(n,) raw rewards that were computed elsewhere, where the model is `precomputed`.

        Raises:
            ScoringError: A response has none; prompts are named.
        """
        return self.score(self.encode(Sample.without_texts(rows)))


class RewardModel(ABC):
    """Anything that turns a prompt with a response into a reward, opened and not loaded.

    Subclasses set the attributes in `__init__` without reading weights.

    Attributes:
        scheme: What stands before the colon in a spec.
        settings: What may stand after the question mark in a spec.
        spec: The model as the user named it.
        spec_anywhere: The same with what this machine decided, so that others decide alike.
        fingerprint: 64 hex digits that change whenever a reward could change (weights, config,
            tokenizer, template, scoring settings).
        kept: Whether scores are worth keeping between sessions; False where the fingerprint cannot
            see everything that a reward depends on (`python:` without a version), or where
            scoring costs nothing.
        precomputed: True where rewards were computed elsewhere and `look_up` finds them: each row
            of a pool has its own, also where texts are equal, and no store keeps them again.
        reads_golden: True for fakes that need the golden reward of a sample.
        compares: Whether a reward hangs on the other responses of its prompt: `questions` are
            scored in the place of samples, and `combined` makes rewards of them.
        components: What its rewards add up, and the weight of each; `combined` has a column of
            each (`component_column`).
        largest_batch: Most samples of one call of `score`; None for as many as their tokens allow.
        gpus: How many GPUs it takes at the same time, where it runs on GPUs.
        given: Whether the user named it; False where a file does, such as a suite.
    """

    scheme: ClassVar[str]
    settings: ClassVar[tuple[Setting, ...]] = ()
    spec: str
    spec_anywhere: str = ""
    fingerprint: str
    kept: bool = True
    precomputed: bool = False
    reads_golden: bool = False
    compares: bool = False
    components: Mapping[str, float] = _NONE
    largest_batch: int | None = None
    gpus: int = 1
    given: bool = True

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The model that a spec names, without loading it. The settings' names are checked.

        Raises:
            UsageError: This class cannot be opened by a spec, or a value is wrong.
        """
        raise UsageError(f"{spec.text}: {cls.__name__} cannot be opened by name")

    @property
    def name(self) -> str:
        """Short name for tables."""
        return self.spec

    @property
    def description(self) -> Mapping[str, str]:
        """Facts for the report: dtype, device, architecture, conventions."""
        return {}

    @property
    def identity(self) -> str:
        """Fingerprint of the model that computed the rewards; another's for a bundle of scores."""
        return self.fingerprint

    @property
    def members(self) -> tuple["RewardModel", ...]:
        """The models that are scored for this one: itself, or those of its `parts`."""
        return tuple(member for part in self.parts for member in part.members) or (self,)

    @property
    def parts(self) -> tuple["RewardModel", ...]:
        """The models that its rewards are made of, which may have parts too; none for most."""
        return ()

    @property
    def is_ensemble(self) -> bool:
        """Whether other models are scored for this one."""
        return bool(self.parts)

    def combined(self, scores: NDArray[np.float64], samples: Sequence[Sample]) -> Combined:
        """The rewards from what was scored.

        Args:
            scores: (M,) raw rewards; of a model that compares (Q,) numbers, one for each of its
                `questions`.
            samples: The M samples.
        """
        return Combined(scores)

    def together(self, parts: Sequence[Combined], samples: Sequence[Sample]) -> Combined:
        """The rewards from those of the `parts`.

        Args:
            parts: What each gives for the M samples.
            samples: The M samples, perhaps without their texts.
        """
        raise UsageError(f"{self.spec} is made of no other models")

    @property
    def asked(self) -> AskedColumns:
        """Columns of the pool that rewards depend on beside the text; none for most."""
        return _NOTHING

    def questions(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """What must be scored for these samples: they themselves, unless the model `compares`.

        Args:
            samples: Those with one `prompt_id` are the responses of a prompt.
        """
        return samples

    @abstractmethod
    def load(self) -> Session:
        """Read the weights. Each call gives a session of its own.

        Raises:
            ConformanceError: The checkpoint cannot be trusted.
            ModelError: Tokenizer or weights cannot be loaded.
            MissingDependencyError: An engine package is not installed.
        """

    def __repr__(self) -> str:
        return f"<RewardModel {self.name}, {self.fingerprint[:8]}>"


class ReadyModel(RewardModel, Session):
    """A model that has nothing to load, and is its own session. A kind of it writes `score`."""

    @property
    def model(self) -> RewardModel:  # type: ignore[override] # of a session it is what it is given
        """Itself."""
        return self

    def load(self) -> Session:
        """Itself."""
        return self


class MembersModel(RewardModel):
    """A model whose rewards are made of those of its `parts`, each scored as it reads the texts."""

    @property
    @abstractmethod
    def parts(self) -> tuple[RewardModel, ...]:
        """The models that its rewards are made of, which may have parts too."""

    @abstractmethod
    def together(self, parts: Sequence[Combined], samples: Sequence[Sample]) -> Combined:
        """The rewards from those of the `parts`."""

    def load(self) -> Session:
        """Never called: its members are loaded, one after another.

        Raises:
            UsageError: Always.
        """
        raise UsageError(f"{self.spec} is scored member by member; see rmcheck.scoring.members")

    def warnings(self, parts: Sequence[Combined]) -> list[str]:
        """What must be known about parts, each by its name."""
        pairs = zip(self.parts, parts, strict=True)
        return [f"{part.name}: {each.warning}" for part, each in pairs if each.warning]
