"""Who computes what the store does not know: one seam, behind it this process or a cluster.

`rmcheck.scoring.scorer` looks in the store, holds the lock and counts; an engine scores the rest
and keeps it. This process is one engine (`rmcheck.scoring.one_process`), and
`rmcheck.lab.cluster.ray_engine` another.
"""

from collections.abc import Mapping
from typing import Protocol, TextIO

from rmcheck.models.model import RewardModel, Sample, TooLong
from rmcheck.scoring.report import ScoringReport
from rmcheck.store.scores import Store

# Texts without a score by what to do with long ones: what each is stored under, and a sample.
Missing = Mapping[TooLong, Mapping[bytes, Sample]]


class Engine(Protocol):
    """Scores what is missing."""

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
            model: As it was opened; an engine in this process loads it, and whoever called closes
                it.
            missing: What is scored.
            store: Where the scores are kept; the lock of this model is held.
            budget: Computed tokens a batch; None chooses by the model's device.
            progress: Where to draw a progress bar; None means standard error.

        Returns:
            What was done: `scored`, `equal_inputs`, `duplicates` (texts that two modes both leave
            whole), tokens, batches, halvings.
        """
