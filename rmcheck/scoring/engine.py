"""Who computes what the store does not know: one seam, behind it this process or a cluster.

`rmcheck.scoring.scorer` looks in the store, holds the lock and counts; an engine scores the rest
and keeps it. This process is one engine (`rmcheck.scoring.one_process`), and
`rmcheck.lab.cluster.ray_engine` another.
"""

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TextIO

from rmcheck.models.model import RewardModel, Session
from rmcheck.models.sample import Sample, TooLong
from rmcheck.scoring.report import ScoringReport
from rmcheck.store.scores import Store

# Texts without a score by what to do with long ones: what each is stored under, and a sample.
Missing = Mapping[TooLong, Mapping[bytes, Sample]]


class Engine(AbstractContextManager["Engine"]):
    """Scores what is missing. Who made one closes it; it is a context manager.

    A model that it loads in this process stays loaded until another is asked for: two need not fit
    into memory together.

    Args:
        session: A model that is loaded already, which is closed as if it were loaded here.
    """

    def __init__(self, session: Session | None = None) -> None:
        self._session = session

    @abstractmethod
    def score(
        self,
        model: RewardModel,
        missing: Missing,
        store: Store,
        *,
        budget: int | None,
        progress: TextIO | None,
    ) -> ScoringReport:
        """Score all of it and keep it in the store, each batch as soon as it is scored.

        Args:
            model: As it was opened.
            missing: What is scored.
            store: Where the scores are kept; the lock of this model is held.
            budget: Computed tokens a batch; None chooses by the model's device.
            progress: Where to draw a progress bar; None means standard error.

        Returns:
            What was done: `scored`, `equal_inputs`, `duplicates` (texts that two modes both leave
            whole), tokens, batches, halvings.
        """

    def holds(self, model: RewardModel) -> bool:
        """Whether a model is loaded here, and its engine lives."""
        session = self._session
        return session is not None and session.model is model and session.alive

    def session(self, model: RewardModel) -> Session:
        """A model that is loaded; the one before is released."""
        if self._session is None or not self.holds(model):
            Engine.close(self)
            self._session = model.load()
        return self._session

    def close(self) -> None:
        """Release the model that is loaded."""
        if self._session is not None:
            self._session.close()
        self._session = None

    def __exit__(self, *_: object) -> None:
        self.close()
