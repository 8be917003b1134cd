"""What every model must score, over all suites, before the first of them is loaded."""

from collections.abc import Sequence
from typing import TextIO

from rmcheck.models.model import RewardModel, Sample, TooLong
from rmcheck.models.registry import open_model
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.request import Request, read_scores
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.scores import MemoryStore, Store
from rmcheck.store.table import Found


class ScoringPlan:
    """Collects requests, then scores model after model, each loaded once at most.

    Models with one fingerprint are one model, whatever they are called.

    Args:
        store: Where scores are kept between sessions.
        session_store: Where the scores of models go that are not `kept`: this process' memory by
            default, a folder of the session where several processes share them.
    """

    def __init__(self, store: Store, session_store: Store | None = None) -> None:
        self.store = store
        self.session_store = session_store or MemoryStore()
        self._requests: dict[str, list[Request]] = {}
        self._opened: dict[str, RewardModel] = {}

    def __repr__(self) -> str:
        samples = sum(len(r.samples) for requests in self._requests.values() for r in requests)
        return f"<ScoringPlan of {len(self._requests)} models, {samples} samples>"

    def add(
        self, model: RewardModel | str, samples: Sequence[Sample], too_long: TooLong = "error"
    ) -> Request:
        """Note what must be scored; nothing is scored yet.

        Args:
            model: An opened model, or a spec relative to the current directory.
            samples: In the order in which the scores will be wanted.
            too_long: What to do with conversations longer than the model takes.

        Returns:
            What `scores` takes once the plan is filled.

        Raises:
            UnknownModelError, UsageError: The spec is wrong (see `open_model`).
        """
        if isinstance(model, str):
            if model not in self._opened:
                self._opened[model] = open_model(model)
            model = self._opened[model]
        request = Request(model, tuple(samples), too_long)
        self._requests.setdefault(model.fingerprint, []).append(request)
        return request

    def fill(
        self, *, budget: int | None = None, progress: TextIO | None = None
    ) -> tuple[ScoringReport, ...]:
        """Score what the stores do not know, one model after another.

        Args:
            budget: Padded tokens a batch; None chooses by each model's device.
            progress: Where to draw a progress bar; None means standard error.

        Returns:
            One report a model, in the order in which models were added.

        Raises:
            ScoringError, ConformanceError, StoreError: See `fill_requests`; models before the one
                that failed are complete.
        """
        return tuple(
            fill_requests(
                requests, self.store_of(requests[0].model), budget=budget, progress=progress
            )
            for requests in self._requests.values()
        )

    def scores(self, request: Request) -> Found:
        """Scores, lengths and cuts of a request, in the order of its samples.

        Raises:
            StoreError: The plan was not filled, or the store cannot be read.
        """
        return read_scores(request, self.store_of(request.model))

    def store_of(self, model: RewardModel) -> Store:
        """Where the scores of this model are kept."""
        return self.store if model.kept else self.session_store
