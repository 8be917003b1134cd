"""The worst slice as one number that a criterion can be put to."""

from collections.abc import Mapping
from dataclasses import dataclass

from rmcheck.checks.measurement import Measurement
from rmcheck.metrics.metric import Direction
from rmcheck.stats.bootstrap import Distribution
from rmcheck.stats.estimate import Estimate


@dataclass(frozen=True)
class WorstOf(Distribution):
    """The smallest (or largest) of several values, bounds corrected for looking at all.

    Each bound is taken at a level corrected by Bonferroni for the number of slices, so the lower
    bound holds for the smallest value whichever slice it turns out to be.
    """

    parts: tuple[Distribution, ...]
    smallest: bool

    def bound(self, level: float) -> float:
        """The extreme of the slices' bounds at a corrected level."""
        k = len(self.parts)
        each = level / k if level < 0.5 else 1 - (1 - level) / k
        bounds = [part.bound(each) for part in self.parts]
        return min(bounds) if self.smallest else max(bounds)

    def level(self, at: float) -> float:
        """`bound` solved for its level; never more certain than the correction allows."""
        k = len(self.parts)
        levels = [part.level(at) for part in self.parts]
        extreme = max(levels) if self.smallest else min(levels)
        return 1 - min(0.5, k * (1 - extreme)) if extreme > 0.5 else min(0.5, k * extreme)


def worst_slice(
    measurements: Mapping[str, Measurement], direction: Direction
) -> tuple[str, Measurement]:
    """Name of the worst slice, and its value with bounds that are valid for the worst.

    Args:
        measurements: Slice value to its measurement; not empty.
        direction: Whether a higher or a lower value of what was measured is better.
    """
    smallest = direction == "higher"
    pick = min if smallest else max
    name = pick(measurements, key=lambda key: measurements[key].estimate.value)
    distribution = WorstOf(tuple(m.distribution for m in measurements.values()), smallest)
    worst = measurements[name]
    e = worst.estimate
    concerns = tuple(
        f"{key}: {concern}" for key, m in measurements.items() for concern in m.estimate.concerns
    )
    estimate = Estimate(
        e.value,
        min(e.value, distribution.bound(1 - e.confidence)),
        max(e.value, distribution.bound(e.confidence)),
        e.n,
        e.confidence,
        concerns,
    )
    note = f"worst of {len(measurements)}: {name}"
    return name, Measurement(estimate, distribution, worst.left_out, worst.facts, note)
