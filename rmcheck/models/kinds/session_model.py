"""Reward models that are opened without weights and loaded to score: what is the same of all."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Generic, Protocol, TypeVar

import numpy as np

from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.model import (
    Encoded,
    EngineFacts,
    Proven,
    RewardModel,
    Sample,
    TooLong,
    checked_rewards,
    loaded,
)
from rmcheck.models.proof.compared import Proof
from rmcheck.models.workers import Workers


class Weights(Protocol):
    """Weights in memory, whatever is read from them."""

    @property
    def loaded(self) -> bool:
        """False once their engine has died."""
        ...

    @property
    def facts(self) -> EngineFacts:
        """See `RewardModel.facts`."""
        ...

    def workers(self) -> Workers:
        """See `RewardModel.workers`."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class ModelSession(Weights, Protocol):
    """A model that is loaded: nothing in it is missing."""

    def encode(self, samples: Sequence[Sample], too_long: TooLong) -> list[Encoded]:
        """See `RewardModel.encode`."""
        ...


SessionT = TypeVar("SessionT", bound=ModelSession)


class SessionModel(RewardModel, Generic[SessionT]):
    """A reward model with nothing open, or with a session.

    What loading gives, what is proved and what a reward is are `_opened`, `_proof` and `_rewards`.
    """

    _session: SessionT | None = None

    @property
    def session(self) -> SessionT:
        """What is loaded.

        Raises:
            UsageError: Nothing is.
        """
        return loaded(self._session, self.spec)

    @property
    def facts(self) -> EngineFacts:
        """The facts of the engine."""
        return self.session.facts

    def load(self) -> None:
        """Open a session. Does nothing while there is one whose engine lives.

        Raises:
            MissingDependencyError: The engine's package is not installed.
            ModelError: Tokenizer or weights cannot be loaded.
            ConformanceError: What the model needs, or is asked for, is not there.
        """
        if self._session is None or not self._session.loaded:
            self._session = self._opened()

    def encode(self, samples: Sequence[Sample], too_long: TooLong = "error") -> list[Encoded]:
        """What the session reads of each sample."""
        return self.session.encode(samples, too_long)

    def prove(self, encoded: Sequence[Encoded]) -> Proven:
        """The conformance page, and whether what texts begin with is computed once."""
        proven = self._proof(encoded).proven()
        if "prefix" not in self.description:
            return proven
        used = {"prefix": "shared" if proven.shares_prefixes else "off"}
        return replace(proven, described={**used, **proven.described})

    def score(self, batch: Sequence[Encoded]) -> Floats:
        """(len(batch),) raw rewards, higher is better.

        Raises:
            ScoringError: A reward is NaN, infinite, or missing.
            MemoryError: The batch does not fit.
        """
        if not batch:
            return np.zeros(0)
        return checked_rewards(self._rewards(batch, "padded"), batch, self.spec)

    def scoring(self, proven: Proven) -> Callable[[Sequence[Encoded]], Floats]:
        """Packed where the proof says so, and not checked."""
        return partial(self._rewards, way="packed" if proven.shares_prefixes else "padded")

    def workers(self) -> Workers:
        """The threads of the engine."""
        return self.session.workers()

    def close(self) -> None:
        """End the session; the model can be loaded again."""
        if self._session is not None:
            self._session.close()
        self._session = None

    @abstractmethod
    def _opened(self) -> SessionT:
        """Everything read."""

    @abstractmethod
    def _proof(self, encoded: Sequence[Encoded]) -> Proof:
        """What it has to prove, on samples of the run."""

    @abstractmethod
    def _rewards(self, batch: Sequence[Encoded], way: Way) -> Floats:
        """(len(batch),) rewards of one sample or more, finite or not.

        Args:
            batch: The samples.
            way: How they are computed, where there is a choice.
        """
