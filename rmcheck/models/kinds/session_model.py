"""Reward models that are opened without weights and loaded to score: what is the same of all."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np

from rmcheck.models.engines.asked import Floats
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
from rmcheck.models.workers import Workers


class ModelSession(Protocol):
    """A model that is loaded: nothing in it is missing."""

    @property
    def loaded(self) -> bool:
        """False once its engine has died."""
        ...

    @property
    def facts(self) -> EngineFacts:
        """See `RewardModel.facts`."""
        ...

    def encode(self, samples: Sequence[Sample], too_long: TooLong) -> list[Encoded]:
        """See `RewardModel.encode`."""
        ...

    def workers(self) -> Workers:
        """See `RewardModel.workers`."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


SessionT = TypeVar("SessionT", bound=ModelSession)


class SessionModel(RewardModel, Generic[SessionT]):
    """A reward model with nothing open, or with a session.

    What loading gives, what is proved and what a reward is are `_opened`, `_proof` and `_rewards`.
    """

    _session: SessionT | None = None
    _warning: str = ""

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

    def prove(self, encoded: Sequence[Encoded]) -> None:
        """Fill the conformance page; it may decide how the rest is scored."""
        proven = self._proof(encoded).proven()
        self.conformance, self._warning = proven.items, proven.warning
        self._decide(proven.shares_prefixes)

    def score(self, batch: Sequence[Encoded]) -> Floats:
        """(len(batch),) raw rewards, higher is better.

        Raises:
            ScoringError: A reward is NaN, infinite, or missing.
            MemoryError: The batch does not fit.
        """
        if not batch:
            return np.zeros(0)
        return checked_rewards(self._rewards(batch), batch, self.spec)

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
    def _rewards(self, batch: Sequence[Encoded]) -> Floats:
        """(len(batch),) rewards of one sample or more, finite or not."""

    def _decide(self, shares_prefixes: bool) -> None:
        """Whether beginnings are computed once, as the proof says."""
        self.shares_prefixes = shares_prefixes

    @property
    def _warnings(self) -> dict[str, str]:
        """What the page warns of, for the end of a description."""
        return {"warning": self._warning} if self._warning else {}
