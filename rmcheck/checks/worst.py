"""The worst slice, or a low quantile of slices, as one number that a criterion can be put to."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rmcheck.checks.measurement import Measurement
from rmcheck.metrics.metric import Direction
from rmcheck.stats.bootstrap import Distribution
from rmcheck.stats.estimate import Estimate


@dataclass(frozen=True)
class WorstOf(Distribution):
    """The smallest (or largest) of several values, or the one that has `better` worse ones.

    With `better` = 0 the good side is an intersection-union test: the worst of k values is good
    only if all are, and the worst of their bounds at level α says so with an error of α, whatever
    k. Where `better` values may be bad, one of `better` + 1 bad ones must look good by chance for
    an error, so each bound is taken at α / (`better` + 1). The bad side says that some slice of
    k − `better` good ones is bad: there each bound is taken at α / (k − `better`) (Bonferroni).

    Reference:
        Berger 1982, Technometrics 24:295-300.

    Attributes:
        better: How many worse values are left out: 0 is the worst, 1 the second worst.
    """

    parts: tuple[Distribution, ...]
    smallest: bool
    better: int = 0

    def bound(self, level: float) -> float:
        """The bound in this place, from the worst, among the bounds of all at their level."""
        looks = self._looks(good=(level < 0.5) == self.smallest)
        each = level / looks if level < 0.5 else 1 - (1 - level) / looks
        bounds = [part.bound(each) for part in self.parts]
        return sorted(bounds, reverse=not self.smallest)[self.better]

    def level(self, at: float) -> float:
        """`bound` solved for its level; never more certain than the correction allows."""
        levels = [part.level(at) for part in self.parts]
        extreme = sorted(levels, reverse=self.smallest)[self.better]
        looks = self._looks(good=(extreme < 0.5) == self.smallest)
        if extreme > 0.5:
            return 1 - min(0.5, looks * (1 - extreme))
        return min(0.5, looks * extreme)

    def _looks(self, *, good: bool) -> int:
        """Slices of which one alone would make a bound wrong, on the good or the bad side."""
        return self.better + 1 if good else len(self.parts) - self.better


def worst_slice(
    measurements: Mapping[str, Measurement], direction: Direction, quantile: float = 0.0
) -> tuple[str, Measurement]:
    """Name of the worst slice, and its value with bounds that are valid for the worst.

    Args:
        measurements: Slice value to its measurement; not empty.
        direction: Whether a higher or a lower value of what was measured is better.
        quantile: Which slice instead, counted from the worst: of k slices in order, number
            ⌊quantile (k − 1)⌋ after the worst. That is numpy's quantile of method `lower` where
            higher is better, and of 1 − quantile, `higher`, where lower is; always one slice.
    """
    smallest = direction == "higher"
    better = math.floor(quantile * (len(measurements) - 1))
    ordered = sorted(
        measurements, key=lambda key: measurements[key].estimate.value, reverse=not smallest
    )
    name = ordered[better]
    distribution = WorstOf(tuple(m.distribution for m in measurements.values()), smallest, better)
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
    place = f"quantile {quantile:g}, from the worst," if quantile else "worst"
    note = f"{place} of {len(measurements)}: {name}"
    return name, replace(worst, estimate=estimate, distribution=distribution, note=note)
