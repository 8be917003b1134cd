"""What every judge must prove before its answers count."""

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from rmcheck.models.kinds.judge.engine import JudgeSession
from rmcheck.models.kinds.judge.model import ReadingSession
from rmcheck.models.model import ConformanceItem
from rmcheck.models.proof.compared import Proof
from rmcheck.models.proof.conformance import Status
from rmcheck.models.sample import Encoded

SessionT = TypeVar("SessionT", bound=ReadingSession[Any, Any])


class JudgeProof(Proof, Generic[SessionT]):
    """The checks that judges share.

    Args:
        session: The judge, loaded.
        encoded: Samples of the run; at most 8 of different lengths are judged, twice.
        share: Largest change by rounding, as a share of how far rewards lie apart.
    """

    texts: ClassVar[str] = "texts"
    warns: ClassVar[str] = "warning"

    def __init__(self, session: SessionT, encoded: Sequence[Encoded], share: float = 0.0) -> None:
        self._session = session
        super().__init__(session.model.spec, encoded, share=share)

    def reward(self) -> ConformanceItem:
        """The formula."""
        return ConformanceItem("reward", "note", self._session.model.read.formula)

    def engine(self) -> tuple[ConformanceItem, ...]:
        """What the engine has to prove or to say."""
        asked: JudgeSession = self._session.asked
        return asked.items(self._samples)

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
