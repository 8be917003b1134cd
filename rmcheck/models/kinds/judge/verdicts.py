"""What a judge's answers are worth, and what it must prove before they count."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

import numpy as np

from rmcheck.models.checkpoint.settings import PrefixRule
from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.engines.http.asking import Replies
from rmcheck.models.kinds.judge.engine import JudgeEngine, JudgeSession
from rmcheck.models.model import Combined, ConformanceItem, Encoded, Sample
from rmcheck.models.proof.compared import Proof
from rmcheck.models.proof.conformance import Status

SessionT = TypeVar("SessionT", bound=JudgeSession)


class Verdicts(ABC, Generic[SessionT]):
    """One way to read a judge.

    Args:
        spec: The model as the user named it.
    """

    def __init__(self, spec: str) -> None:
        self.spec = spec

    @abstractmethod
    def load(self, engine: JudgeEngine) -> SessionT:
        """The engine, ready to be asked in the way that this needs."""

    @abstractmethod
    def rewards(self, session: SessionT, batch: Sequence[Encoded], way: Way) -> Replies[float]:
        """The reward of each text, or why it has none.

        Raises:
            ScoringError: Too many texts have a reward that only stands in for one.
            MemoryError: The batch does not fit.
        """

    @abstractmethod
    def combined(self, rewards: Floats, samples: Sequence[Sample]) -> Combined:
        """The rewards of a pool as they are, and what to say of them.

        Raises:
            ScoringError: Different responses all have the same reward, or too many have one that
                only stands in.
        """

    @abstractmethod
    def proof(
        self, session: SessionT, formula: str, encoded: Sequence[Encoded], prefix: PrefixRule
    ) -> Proof:
        """The page that this has to fill.

        Args:
            session: Loaded.
            formula: The reward as a person writes it.
            encoded: Samples of the run.
            prefix: Whether what questions begin with is computed once, as the user says.
        """

    def _alike(self, rewards: Floats, samples: Sequence[Sample]) -> str:
        """What to say where different responses all have one reward; else empty."""
        if len({sample.response for sample in samples}) < 2 or np.ptp(rewards):
            return ""
        return (
            f"all {len(samples)} texts have the reward {rewards[0]:g}; does the judge read the "
            "response?"
        )


class JudgeProof(Proof, Generic[SessionT]):
    """The checks that judges share.

    Args:
        spec: The model as the user named it.
        session: Loaded.
        formula: The reward as a person writes it.
        encoded: Samples of the run; at most 8 of different lengths are judged, twice.
        share: Largest change by rounding, as a share of how far rewards lie apart.
    """

    texts: ClassVar[str] = "texts"
    warns: ClassVar[str] = "warning"

    def __init__(
        self,
        spec: str,
        session: SessionT,
        formula: str,
        encoded: Sequence[Encoded],
        share: float = 0.0,
    ) -> None:
        self._session = session
        self._formula = formula
        super().__init__(spec, encoded, share=share)

    def reward(self) -> ConformanceItem:
        """The formula."""
        return ConformanceItem("reward", "note", self._formula)

    def engine(self) -> tuple[ConformanceItem, ...]:
        """What the engine has to prove or to say."""
        return self._session.items(self._samples)

    def _depends(self, otherwise: Status) -> ConformanceItem:
        """Whether different responses get different rewards."""
        # Those of texts without a parsed answer, which are refused, are NaN.
        rewards = self._alone[~np.isnan(self._alone)]
        if not rewards.size:
            return ConformanceItem("depends_on_response", "note", "no text has a reward")
        detail = (
            f"rewards from {rewards.min():.3g} to {rewards.max():.3g} over {len(rewards)} texts"
        )
        if len({sample.sample.response for sample in self._samples}) < 2:
            return ConformanceItem("depends_on_response", "note", f"{detail}: one response only")
        if float(np.ptp(rewards)) > 0:
            return ConformanceItem("depends_on_response", "pass", detail)
        detail = f"{detail}: different responses, one reward. Does the judge read the response?"
        return ConformanceItem("depends_on_response", otherwise, detail)
