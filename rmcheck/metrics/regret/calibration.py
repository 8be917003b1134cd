"""Predicted regret corrected by what RL really made of past reward models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmcheck.stats.bootstrap import Distribution
from rmcheck.stats.conformal import Hull, jackknife_plus, no_smaller, range_guard, rows_needed


@dataclass(frozen=True)
class CalibrationTable:
    """One row a reward model.

    Attributes:
        feature_names: (F,) names of the facts.
        names: (M,) names of the reward models, oldest run first.
        features: (M, F) facts of the latest run of each.
        regrets: (M,) measured regrets, averaged over the records of one reward model. Lower is
            better.
        regret_counts: (M,) records averaged; above 1, the noise of a single RL run is no longer
            in the table, and a bound learnt from it does not cover that noise.
        left_out: Reason to the number of reward models that are not in the table for it.
    """

    feature_names: tuple[str, ...]
    names: tuple[str, ...]
    features: NDArray[np.float64]
    regrets: NDArray[np.float64]
    regret_counts: tuple[int, ...]
    left_out: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.names)

    def left_out_text(self) -> str:
        """Who is not in the table and why, in one line; empty when all are."""
        return ", ".join(f"{reason}: {count}" for reason, count in self.left_out.items())


# Gives the past reward models that were measured by the same method, by its name.
Past = Callable[[str], CalibrationTable]
# Gives, for a metric and the slice it is measured on, the past reward models that it may be
# calibrated on; None where there are none.
PastOf = Callable[[Any, Mapping[str, str]], Past | None]


@dataclass(frozen=True)
class Line(Distribution):
    """A distribution seen through a straight line."""

    inner: Distribution
    slope: float
    offset: float

    def bound(self, level: float) -> float:
        """The line at the bound that becomes this one."""
        inner = self.inner.bound(level if self.slope >= 0 else 1 - level)
        return self.offset + self.slope * inner

    def level(self, at: float) -> float:
        if self.slope == 0:
            return 0.5 if at == self.offset else float(at > self.offset)
        level = self.inner.level((at - self.offset) / self.slope)
        return level if self.slope > 0 else 1 - level


@dataclass(frozen=True)
class Calibrated:
    """A prediction after calibration.

    Attributes:
        value: What past reward models with this prediction lost.
        distribution: Gives its bounds.
        concerns: Reasons not to decide on it.
        note: What it was calibrated on.
        answers: Whether the bounds are those of past errors, so that a guess may be decided on.
    """

    value: float
    distribution: Distribution
    concerns: tuple[str, ...]
    note: str
    answers: bool = False


@dataclass(frozen=True)
class RegretTable:
    """Past reward models: what was predicted for each, and what RL gave.

    Attributes:
        table: One row a reward model; one feature, the prediction before calibration.
        required: Whether to go without when there are too few is out of the question.
    """

    table: CalibrationTable
    required: bool

    def applied(self, value: float, inner: Distribution, confidence: float) -> Calibrated:
        """A prediction and its bounds, from one before calibration.

        The bounds hold the wider, at every level, of what the errors of the past predictions say
        (jackknife+) and what the sampling error of this one says.

        Args:
            value: The prediction before calibration.
            inner: Its sampling error.
            confidence: Level of each bound that will be asked for.
        """
        size, needed = len(self.table), rows_needed(confidence)
        known = f"{size} past RM{'' if size == 1 else 's'} with a measured regret"
        if left_out := self.table.left_out_text():
            known += f" (not counted: {left_out})"
        if size < needed:
            short = f"{known}; bounds at {confidence:.0%} need {needed}"
            concerns = (f"cannot be calibrated: {short}",) if self.required else ()
            return Calibrated(value, inner, concerns, f"not calibrated, {short}")
        features, regrets, new = self.table.features, self.table.regrets, np.array([value])
        slope = float(np.polyfit(features[:, 0], regrets, 1)[0]) if np.ptp(features) else 0.0
        note = f"calibrated on {known}; {value:.3f} before"
        if slope >= 0 and value < features.min():
            new = no_smaller(features, new)
            note += f", better than all of them and taken as the best, {new[0]:.3f}"
        past = jackknife_plus(features, regrets, new)
        sampled = Line(inner, slope, past.prediction - slope * float(new[0]))
        outside = range_guard(features, new, ["the prediction before calibration"])
        return Calibrated(past.prediction, Hull((past, sampled)), outside, note, answers=True)
