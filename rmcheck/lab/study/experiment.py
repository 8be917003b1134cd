"""A family of models with what optimising each of them kept: what the designs are asked about."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rmcheck.lab.study.draws import Draws, drawn
from rmcheck.lab.study.family import RmFamily
from rmcheck.lab.study.outcomes import KeptGain
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.pairwise import Accuracy
from rmcheck.metrics.rewards import Floats

# Responses a prompt on which the paper compares metrics.
TEST_RESPONSES = 5


@dataclass(frozen=True, eq=False)
class Experiment:
    """What every design works on.

    Attributes:
        tested: The half of the responses that metrics see.
        optimised: The other half, on which policies were optimised.
        outcomes: What each optimiser kept of golden's gain.
        n: Of best-of-n.
        responses: Responses a prompt in a test set, where a design does not vary it.
        sets: Test sets that are drawn for each number.
        seed: Of all random choices.
    """

    tested: RmFamily
    optimised: RmFamily
    outcomes: Sequence[KeptGain]
    n: int
    responses: int = TEST_RESPONSES
    sets: int = 100
    seed: int = 0

    def draws(self, design: int, responses: int, prompts: int | None = None) -> Draws:
        """Test sets of one design, with random choices of their own."""
        return drawn(
            self.tested,
            responses,
            sets=self.sets,
            seed=(self.seed, design, responses),
            prompts=prompts,
        )

    @property
    def every_response(self) -> int:
        """Responses a prompt that metrics can see."""
        return self.tested.responses

    @cached_property
    def accuracy(self) -> Floats:
        """(B, Q) accuracy on all tested responses, prompts drawn with replacement."""
        return self.draws(1, self.every_response).values(Accuracy())[0]


def turned(metric: Metric, values: Floats) -> Floats:
    """The values so that a higher one is better."""
    return values if metric.direction == "higher" else -values


def mean(values: Floats) -> Floats:
    """(Q,) mean over test sets; NaN where one is undefined."""
    return np.asarray(values.mean(axis=0))
