"""What runs in each process of a cluster: a model that is opened, proved and loaded once.

Nothing here imports Ray: the driver makes actors of this class (`rmcheck.lab.cluster.ray_actors`).
"""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rmcheck.errors import RmcheckError, ScoringError, StoreError
from rmcheck.models.model import RewardModel
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample, TooLong
from rmcheck.models.trust import trusting
from rmcheck.scoring.one_process import BlockScorer
from rmcheck.scoring.progress import progress_of
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.request import Request
from rmcheck.store.scores import FolderModelScores

T = TypeVar("T")


@dataclass(frozen=True)
class Assignment:
    """What an actor is to score with, and where to.

    Attributes:
        spec: The model, as the user named it, with what the driver's machine decided.
        base: Folder that its relative paths are relative to.
        given: Whether the user named it, not a file.
        fingerprint: What the model must be.
        store: The `.rmcheck` folder.
        token: A file that the driver wrote beside the scores.
        token_text: What stands in it.
        driver: Name of the driver's machine.
        budget: Computed tokens a batch; None chooses by the actor's device.
    """

    spec: str
    base: Path
    given: bool
    fingerprint: str
    store: Path
    token: Path
    token_text: str
    driver: str
    budget: int | None


@dataclass(frozen=True)
class SentError:
    """An error of rmcheck's own, as it travels to the driver.

    Attributes:
        kind: Name of its class in `rmcheck.errors`.
        message: Its text, with the place.
    """

    kind: str
    message: str


class ScoringActor:
    """One process that scores blocks of texts and writes each batch into the store itself.

    It reads nothing from the store, so its memory does not grow with what was scored before; it
    remembers the rows that it wrote itself.
    """

    def place(self) -> str:
        """The machine and process it runs in."""
        return f"node {socket.gethostname()}, process {os.getpid()}"

    def open(self, assignment: Assignment) -> str | SentError:
        """Open and load the model, once that and the store are seen to be the driver's.

        Returns:
            The machine and process, or what is wrong there.
        """

        def work() -> str:
            self._check_store(assignment)
            self._model = self._opened(assignment)
            scores = FolderModelScores(assignment.store, assignment.fingerprint)
            scores.check_writable()
            self._scorer = BlockScorer(
                self._model.load(), scores, budget=assignment.budget, durable=True
            )
            return self.place()

        return self._told(work)

    def score(self, samples: Sequence[Sample], too_long: TooLong) -> ScoringReport | SentError:
        """Score a block; every batch of it is stored as soon as it is scored.

        Returns:
            What was done, or the error that stopped it; batches before the error are kept.
        """

        def work() -> ScoringReport:
            keys = Request(self._model, tuple(samples), too_long).keys.tolist()
            texts = self._scorer.encoded({too_long: dict(zip(keys, samples, strict=True))})
            groups = self._scorer.without_stored_inputs(texts)
            self._scorer.prove(groups)
            with progress_of(self._model.spec, 0, 0) as bar:
                report = self._scorer.forward(groups, bar).run()
            return report.plus(
                ScoringReport(self._model.spec, equal_inputs=len(texts) - len(groups))
            )

        return self._told(work)

    def _check_store(self, assignment: Assignment) -> None:
        try:
            found = assignment.token.read_text(encoding="ascii")
        except OSError:
            found = ""
        if found != assignment.token_text:
            raise StoreError(
                f"{assignment.store}: is not the folder of that name on {assignment.driver}, "
                "where the run was started. Put the store on a file system that all nodes share "
                "(--store DIR)."
            )

    def _opened(self, assignment: Assignment) -> RewardModel:
        # Where the run was started it was opened already, as far as its files are trusted.
        with trusting(True):
            model = open_model(assignment.spec, base=assignment.base, given=assignment.given)
        if model.fingerprint != assignment.fingerprint:
            raise ScoringError(
                f"{assignment.spec}: is another model here (fingerprint {model.fingerprint[:16]}) "
                f"than on {assignment.driver} ({assignment.fingerprint[:16]}). Copy the same files "
                "to all nodes, or put them on a file system that they share."
            )
        return model

    def _told(self, work: Callable[[], T]) -> T | SentError:
        try:
            return work()
        except RmcheckError as error:
            return SentError(_told_class(error), f"{self.place()}: {error}")


def _told_class(error: RmcheckError) -> str:
    """The class that the driver can raise with a text alone."""
    import rmcheck.errors

    plain = ("ConformanceError", "StoreError", "UnknownModelError", "MissingDependencyError")
    for name in (*plain, "UsageError"):
        if isinstance(error, getattr(rmcheck.errors, name)):
            return name
    return "ScoringError"
