"""The log-odds of a response's steps, whichever engine runs the model: two answers at each tag."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from rmcheck.models.engines.asked import Asked, Floats, ModelEngine, Way
from rmcheck.models.kinds.process.checkpoint import ProcessCheckpoint
from rmcheck.models.kinds.process.tokenizer import TAG


class StepOdds(ModelEngine):
    """Says which numbers a step's log-odds are made of.

    Attributes:
        checkpoint: The folder that the model was read from.
        answers: Labels or tokens that say that a step is right, and that it is wrong.
    """

    checkpoint: ProcessCheckpoint
    answers: tuple[int, int]

    def log_odds(
        self,
        rows: Sequence[Sequence[int]],
        marks: Sequence[Sequence[int]],
        way: Way = "padded",
        **how: int,
    ) -> list[Floats]:
        """(K,) log-odds of each row's steps: what softmax over both answers is the odds of.

        Args:
            rows: Token ids.
            marks: `TAG` at each token of a row where a step is read.
            way: How the engine computes them.
            how: Further arguments of the way, such as `least` of `packed`.

        Raises:
            MemoryError: The rows do not fit.
        """
        asked = [self.asked(row, marked) for row, marked in zip(rows, marks, strict=True)]
        return [odds(numbers) for numbers in self.numbers(asked, way, **how)]

    @abstractmethod
    def answer_mass(self, row: Asked) -> Floats:
        """(K,) probability of both answers together at one row's tags, among all that there are."""

    def asked(self, row: Sequence[int], marks: Sequence[int]) -> Asked:
        """Both answers at each tag of a row."""
        tags = np.flatnonzero(np.asarray(marks) == TAG).tolist()
        return Asked(tuple(row), tuple(tags), columns=self.answers)


def odds(numbers: Floats) -> Floats:
    """(K,) log-odds of (K, 2) numbers of both answers, of which a constant each makes no odds."""
    found: Floats = numbers[:, 0] - numbers[:, 1]
    return found
