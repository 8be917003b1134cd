"""A number of a study with its interval."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from rmcheck.metrics.rewards import Floats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Measured:
    """A number with its two-sided 95 % interval, where it has one.

    Attributes:
        value: None where it is not defined.
        lower: One end; None without an interval.
        upper: The other end.
    """

    value: float | None
    lower: float | None = None
    upper: float | None = None

    @classmethod
    def over(cls, values: Floats) -> Self:
        """The mean of (B,) values of as many test sets, and what 95 in 100 of them are."""
        if not np.isfinite(values).all():
            return cls(None)
        tail = (1 - CONFIDENCE) / 2
        lower, upper = np.quantile(values, [tail, 1 - tail])
        return cls(float(values.mean()), float(lower), float(upper))

    def __str__(self) -> str:
        if self.value is None:
            return "not defined"
        if self.lower is None or self.upper is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.lower:.3f}, {self.upper:.3f}]"
