"""A policy and its reference in memory: token ids in, implicit rewards out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmcheck.models.causal_scorer import CausalScorer
from rmcheck.models.packing import LEAST_PREFIX
from rmcheck.models.workers import Workers

Floats = NDArray[np.float64]
Rows = Sequence[Sequence[int]]


@dataclass(frozen=True)
class ImplicitScorer:
    """Two loaded language models, and how their log-probabilities become rewards.

    Attributes:
        policy: The model that was trained.
        reference: The model that it was trained from.
        beta: That of the training; rewards are in units of beta nats.
        length_normalised: Whether a reward is divided by the number of tokens that count.
    """

    policy: CausalScorer
    reference: CausalScorer
    beta: float
    length_normalised: bool

    @property
    def models(self) -> tuple[CausalScorer, CausalScorer]:
        """Policy and reference."""
        return self.policy, self.reference

    def padded_rewards(self, rows: Rows, marks: Rows) -> Floats:
        """(len(rows),) rewards, every row with its whole prompt.

        Args:
            rows: Token ids.
            marks: 1 at each token of a row that counts, else 0.

        Raises:
            MemoryError: The batch does not fit.
        """
        policy, reference = (one.log_probabilities(rows, marks) for one in self.models)
        return self._rewards(policy, reference, marks)

    def packed_rewards(self, rows: Rows, marks: Rows, least: int = LEAST_PREFIX) -> Floats:
        """As `padded_rewards`, without padding and common beginnings once.

        Args:
            rows: Token ids.
            marks: See `padded_rewards`.
            least: Tokens below which a common beginning is not shared.
        """
        policy, reference = (
            one.packed_log_probabilities(rows, marks, least) for one in self.models
        )
        return self._rewards(policy, reference, marks)

    def workers(self) -> Workers:
        """On a CPU a thread for each core, while memory allows."""
        return self.policy.workers() if self.reference.for_threads else Workers()

    def close(self) -> None:
        """Give the memory back."""
        for one in self.models:
            one.close()

    def _rewards(self, policy: Floats, reference: Floats, marks: Rows) -> Floats:
        rewards = self.beta * (policy - reference)
        return rewards / [sum(row) for row in marks] if self.length_normalised else rewards
