"""Metrics whose plain value depends on N, and which can be put on a scale that does not."""

from dataclasses import dataclass

from rmcheck.metrics.metric import PromptMeanMetric
from rmcheck.metrics.settings import require_flag


@dataclass(frozen=True)
class NormalizableMetric(PromptMeanMetric):
    """A mean over prompts that may only be taken over prompts of like N, unless normalised.

    Args:
        normalized: Put the value of each prompt on a scale that is the same at any N.
    """

    normalized: bool = False

    def __post_init__(self) -> None:
        require_flag("normalized", self.normalized)

    @property
    def depends_on_n(self) -> bool:
        """True unless normalised."""
        return not self.normalized
