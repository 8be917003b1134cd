"""Metrics whose plain value depends on N, and which can be put on a scale that does not."""

from dataclasses import dataclass

import numpy as np

from rmcheck.metrics.ratio import PromptMeanMetric
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
    def attainable(self) -> tuple[float, float]:
        """`range`, but −1 where it has no lower end: the value of a reversed order of two."""
        low, high = self.range
        return (low if np.isfinite(low) else -1.0, high)

    @property
    def depends_on_n(self) -> bool:
        """True unless normalised."""
        return not self.normalized
