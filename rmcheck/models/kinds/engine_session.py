"""Sessions of models that an engine runs, in this process or behind a server."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.model import EngineFacts, Loaded, Proven, RewardModel, Session
from rmcheck.models.proof.compared import Proof
from rmcheck.models.sample import Encoded, Sample, TooLong, checked_rewards
from rmcheck.models.text.tokenization import ConversationTokenizer
from rmcheck.models.workers import Workers

ModelT = TypeVar("ModelT", bound=RewardModel, covariant=True)
ScorerT = TypeVar("ScorerT", bound=Loaded, covariant=True)
TokenizerT = TypeVar("TokenizerT", bound=ConversationTokenizer, covariant=True)


@dataclass(eq=False)
class EngineSession(Session, Generic[ModelT, ScorerT]):
    """A model with what computes its numbers.

    What is proved and what a reward is are `_proof` and `_rewards`.
    """

    model: ModelT
    scorer: ScorerT

    @property
    def alive(self) -> bool:
        return self.scorer.alive

    @property
    def described(self) -> Mapping[str, str]:
        return self.scorer.described

    @property
    def facts(self) -> EngineFacts:
        return self.scorer.facts

    def prove(self, encoded: Sequence[Encoded]) -> Proven:
        """The conformance page, and whether what texts begin with is computed once."""
        proven = self._proof(encoded).proven()
        if "prefix" not in self.model.description:
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
        return checked_rewards(self._rewards(batch, "padded"), batch, self.model.spec)

    def scoring(self, proven: Proven) -> Callable[[Sequence[Encoded]], Floats]:
        """Packed where the proof says so, and not checked."""
        return partial(self._rewards, way="packed" if proven.shares_prefixes else "padded")

    def workers(self) -> Workers:
        return self.scorer.workers()

    def close(self) -> None:
        self.scorer.close()

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


@dataclass(eq=False)
class TokensSession(EngineSession[ModelT, ScorerT], Generic[ModelT, ScorerT, TokenizerT]):
    """The same with the tokenizer that makes its token ids."""

    tokenizer: TokenizerT

    def encode(self, samples: Sequence[Sample], too_long: TooLong = "error") -> list[Encoded]:
        return self.tokenizer.encode(samples, too_long)
