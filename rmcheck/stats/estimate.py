"""What a metric returns: a value with its uncertainty, never a bare float."""

from dataclasses import dataclass
from typing import Never


class Unordered:
    """An interval has no order: where it straddles a number, it is neither above nor below.

    `accuracy > 0.7` would have to pass or fail there, so it is a TypeError that says what to write.
    """

    __slots__ = ()

    @property
    def _written(self) -> str:
        """How a test names it."""
        return "estimate"

    def __lt__(self, other: object) -> Never:
        __tracebackhide__ = True
        raise TypeError(_which_end(self._written, "<", other))

    def __le__(self, other: object) -> Never:
        __tracebackhide__ = True
        raise TypeError(_which_end(self._written, "<=", other))

    def __gt__(self, other: object) -> Never:
        __tracebackhide__ = True
        raise TypeError(_which_end(self._written, ">", other))

    def __ge__(self, other: object) -> Never:
        __tracebackhide__ = True
        raise TypeError(_which_end(self._written, ">=", other))


def _which_end(name: str, operator: str, other: object) -> str:
    end = "lower" if operator.startswith(">") else "upper"
    number = f"{other:g}" if isinstance(other, int | float) else "…"
    return (
        f"{name} is an interval, which has no order. Say which end decides: "
        f"{name}.{end} {operator} {number}"
    )


@dataclass(frozen=True, slots=True, order=False)
class Estimate(Unordered):
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
        return f"{self.value:z.3f} [{self.lower:z.3f}, {self.upper:z.3f}]"

    def __repr__(self) -> str:
        level = f"{100 * self.confidence:g}%"
        return (
            f"Estimate({self.value:.3f}, {level} bounds [{self.lower:.3f}, {self.upper:.3f}], "
            f"n={self.n})"
        )
