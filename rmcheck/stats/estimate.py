"""What a metric returns: a value with its uncertainty, never a bare float."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=False)
class Estimate:
    """A quantity with its interval.

    It has no ordering and no `float()`: a test says which end decides,
    as in `assert accuracy.lower >= 0.70`.

    Attributes:
        value: The point estimate, in the metric's own units.
        lower: One-sided lower confidence bound at `confidence`.
        upper: One-sided upper confidence bound at `confidence`.
            Both bounds together are an interval of level 2 * confidence - 1.
        n: Number of independent units (clusters of prompts) that the value rests on.
        confidence: Level of each bound, in (0.5, 1).
        concerns: Reasons not to decide anything on this estimate (too few prompts, undefined on
            many prompts, golden gain near zero). Empty when it can be trusted.
    """

    value: float
    lower: float
    upper: float
    n: int
    confidence: float = 0.95
    concerns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.lower:.3f}, {self.upper:.3f}]"

    def __repr__(self) -> str:
        level = f"{100 * self.confidence:g}%"
        return (
            f"Estimate({self.value:.3f}, {level} bounds [{self.lower:.3f}, {self.upper:.3f}], "
            f"n={self.n})"
        )
