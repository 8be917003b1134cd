"""How a metric changes over pools of a policy at several steps of its training."""

from dataclasses import dataclass

import numpy as np

from rmcheck.errors import UndefinedMetricError
from rmcheck.lab.curves.curve import rows_of
from rmcheck.metrics.decay import Decay
from rmcheck.metrics.metric import Metric, per_prompt_sums
from rmcheck.metrics.rewards import Rewards
from rmcheck.stats.simultaneous import Band, band
from rmcheck.stats.units import Units


@dataclass(frozen=True, eq=False)
class DecayCurve:
    """A metric over the steps of a policy.

    Attributes:
        metric: Its name.
        column: The column that holds the step.
        steps: (S,) steps, ascending.
        prompts: (S,) prompts of each that were measured.
        at: The metric at each step, with bounds that hold for all steps at once.
        slope: Change of the metric from the first step to the last, by a straight line.
        lower: One-sided lower bound of the slope.
        upper: One-sided upper bound.
        confidence: Of the bounds.
    """

    metric: str
    column: str
    steps: tuple[float, ...]
    prompts: tuple[int, ...]
    at: Band
    slope: float
    lower: float
    upper: float
    confidence: float

    @property
    def decays(self) -> bool:
        """Whether the metric surely falls."""
        return self.upper < 0

    def holds_to(self, least: float) -> float | None:
        """The last step up to which the lower bound is `least` or more at every step."""
        missed = np.flatnonzero(~(self.at.lower >= least))
        last = (int(missed[0]) if missed.size else len(self.steps)) - 1
        return self.steps[last] if last >= 0 else None

    def as_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        names = ("metric", "column", "slope", "lower", "upper", "confidence")
        at = {"value": self.at.values, "lower": self.at.lower, "upper": self.at.upper}
        points = rows_of({"step": self.steps, "prompts": self.prompts, **at})
        return {**{name: getattr(self, name) for name in names}, "points": points}


def decay(
    rewards: Rewards,
    column: str,
    metric: Metric,
    *,
    resamples: int = 2_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> DecayCurve:
    """A metric at every step that a slice column names, and how it changes.

    Prompts of one unit stay together in the bootstrap: asked at several steps, they count once.

    Args:
        rewards: Of the pools of all steps.
        column: Slice of the prompts, or number of each response, with the step of the policy.
        metric: One of which a higher value is better.
        resamples: Bootstrap resamples.
        seed: Of the resampling.
        confidence: Of each bound.

    Raises:
        UndefinedMetricError: See `Decay.require` and `Decay.whole_sums`; or the metric is undefined
            at a step.
    """
    fall = Decay(metric, column)
    fall.require(rewards)
    fall = fall.fitted(rewards)
    sums, measured = per_prompt_sums(fall, rewards)
    units = Units.of(sums[measured], rewards.clusters[measured], rewards.units)
    whole, resampled = units.whole, units.resampled(resamples, seed)
    values, draws = fall.each(whole), fall.each(resampled)
    if not np.isfinite(values).all():
        raise UndefinedMetricError(f"{metric.name} over {column!r} is undefined at some step")
    sign = -1.0 if metric.direction == "higher" else 1.0
    falls = fall.value(resampled)
    lower, upper = np.quantile(sign * falls[np.isfinite(falls)], [1 - confidence, confidence])
    return DecayCurve(
        metric.name,
        column,
        fall.steps,
        fall.prompts(sums),
        band(values, draws, confidence, attainable=metric.attainable, units=len(units)),
        sign * float(fall.value(whole)),
        float(lower),
        float(upper),
        confidence,
    )
