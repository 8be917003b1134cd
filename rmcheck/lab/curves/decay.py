"""How a metric changes over pools of a policy at several steps of its training.

A reward model is judged on responses of the policy that it trains. As the policy moves away, what
was measured on the first pool says less and less: its accuracy decays.
"""

import math
from dataclasses import dataclass

import numpy as np

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import Metric, per_prompt_sums
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.stats.simultaneous import Band, band
from rmcheck.stats.units import Units

FEWEST_PROMPTS = 10


@dataclass(frozen=True, eq=False)
class Decay:
    """A metric over the steps of a policy.

    Attributes:
        metric: Its name.
        column: The slice column that holds the step.
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
        points = [
            {"step": step, "prompts": count, "value": value, "lower": low, "upper": high}
            for step, count, value, low, high in zip(
                self.steps,
                self.prompts,
                self.at.values.tolist(),
                self.at.lower.tolist(),
                self.at.upper.tolist(),
                strict=True,
            )
        ]
        return {**{name: getattr(self, name) for name in names}, "points": points}


def decay(
    rewards: Rewards,
    column: str,
    metric: Metric,
    *,
    resamples: int = 2_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Decay:
    """A metric at every step that a slice column names, and how it changes.

    Prompts of one unit stay together in the bootstrap: asked at several steps, they count once.

    Args:
        rewards: Of the pools of all steps.
        column: Slice column with the step of each prompt, as numbers.
        metric: One of which a higher value is better.
        resamples: Bootstrap resamples.
        seed: Of the resampling.
        confidence: Of each bound.

    Raises:
        UndefinedMetricError: There is no such column; a step is no number; there are fewer than two
            steps, or fewer than ten prompts at one; or the metric is undefined at a step.
    """
    of, steps = _steps(rewards, column)
    sums, measured = per_prompt_sums(metric.fitted(rewards), rewards)
    counts = np.bincount(of[measured], minlength=len(steps))
    pairs = zip(steps, counts.tolist(), strict=True)
    if few := [f"{step:g} ({count})" for step, count in pairs if count < FEWEST_PROMPTS]:
        raise UndefinedMetricError(
            f"{metric.name} over {column!r}: fewer than {FEWEST_PROMPTS} prompts at step "
            f"{', '.join(few)}"
        )
    size = sums.shape[1]
    wide = np.zeros((len(rewards), len(steps), size))
    wide[np.arange(len(rewards)), of] = sums
    units = Units.of(
        wide.reshape(len(rewards), -1)[measured], rewards.clusters[measured], rewards.units
    )

    def read(totals: Floats) -> Floats:
        return metric.value(totals.reshape(*totals.shape[:-1], len(steps), size))

    values, draws = read(units.whole), read(units.resampled(resamples, seed))
    if not np.isfinite(values).all():
        raise UndefinedMetricError(f"{metric.name} over {column!r} is undefined at some step")
    draws = draws[np.isfinite(draws).all(axis=1)]
    line = np.array(steps) - np.mean(steps)
    per_step = line * (steps[-1] - steps[0]) / (line @ line)
    lower, upper = np.quantile(draws @ per_step, [1 - confidence, confidence])
    return Decay(
        metric.name,
        column,
        tuple(steps),
        tuple(counts.tolist()),
        band(values, draws, confidence, attainable=metric.attainable, units=len(units)),
        float(values @ per_step),
        float(lower),
        float(upper),
        confidence,
    )


def _steps(rewards: Rewards, column: str) -> tuple[np.ndarray, list[float]]:
    """(P,) number of the step of each prompt, and the steps, ascending."""
    if column not in rewards.slices:
        rewards.matching({column: ""})  # raises, with the columns there are
    try:
        found = [float(text) for text in rewards.slices[column].tolist()]
    except ValueError as error:
        raise UndefinedMetricError(f"{column!r} must be the step of the policy: {error}") from error
    if not all(map(math.isfinite, found)):
        raise UndefinedMetricError(f"{column!r} has a step that is not finite")
    steps, of = np.unique(found, return_inverse=True)
    if steps.size < 2:
        raise UndefinedMetricError(f"{column!r} has one step; decay needs two or more")
    return of, steps.tolist()
