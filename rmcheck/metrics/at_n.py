"""Metrics at one number of responses."""

from dataclasses import dataclass
from typing import ClassVar

from rmcheck.metrics.metric import Metric
from rmcheck.metrics.settings import require_whole_number


@dataclass(frozen=True)
class AtN(Metric):
    """A metric of the n of a prompt's responses that are drawn.

    Args:
        n: Responses drawn; prompts with fewer are left out. None draws all of them, and then
            every prompt must have the same N.
    """

    least_n: ClassVar[int] = 2

    n: int | None = None

    def __post_init__(self) -> None:
        if self.n is not None:
            require_whole_number("n", self.n, self.least_n)

    @property
    def min_responses(self) -> int:
        """The n that is drawn; the least that it can be where all are."""
        return self.n or self.least_n

    @property
    def depends_on_n(self) -> bool:
        """True where n follows the number of responses."""
        return self.n is None
