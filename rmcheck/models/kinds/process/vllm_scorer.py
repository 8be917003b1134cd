"""A process reward model that vLLM runs: token ids in, log-probabilities of both answers out."""

from typing import Any

import numpy as np

from rmcheck.models.engines.asked import Asked, Floats
from rmcheck.models.engines.vllm.generation import VllmGenerator
from rmcheck.models.kinds.process.checkpoint import ProcessCheckpoint
from rmcheck.models.kinds.process.step_odds import StepOdds


class VllmSteps(VllmGenerator, StepOdds):
    """A loaded language model that answers behind each step; see `VllmGenerator`."""

    checkpoint: ProcessCheckpoint

    def __init__(
        self, checkpoint: ProcessCheckpoint, *, answers: tuple[int, int], **options: Any
    ) -> None:
        super().__init__(checkpoint, **options)
        self.answers = answers

    def answer_mass(self, row: Asked) -> Floats:
        (numbers,) = self.numbers([row])
        return np.asarray(np.exp(numbers).sum(axis=1))
