"""What each of several rewards adds to their sum: its share, its own metrics, its correlations."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rmcheck.checks.measurement import measure
from rmcheck.checks.record import EstimateRecord
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.rewards import Rewards
from rmcheck.run.loaded import LoadedSuite


@dataclass(frozen=True)
class ComponentRecord:
    """One of several rewards, on a suite's pool.

    Attributes:
        name: Its column, such as `reward format`.
        weight: In the sum.
        share: Of the sum's variance inside prompts, cov(w x, Σ w x) / var(Σ w x); all shares add up
            to 1, and one is negative where the reward works against the others. None where the sum
            is constant.
        measured: Name of a check to what its metric gives for this reward alone.
        correlations: Other reward to the correlation with it inside prompts; one that is constant
            inside prompts has none.
    """

    name: str
    weight: float
    share: float | None
    measured: Mapping[str, EstimateRecord]
    correlations: Mapping[str, float]

    def __str__(self) -> str:
        share = "" if self.share is None else f"; {self.share:.0%} of the variance"
        own = "".join(
            f"; {name} {e.value:.3f} [{e.lower:.3f}, {e.upper:.3f}]"
            for name, e in self.measured.items()
        )
        others = ", ".join(f"{r:.2f} with {name}" for name, r in self.correlations.items())
        return f"weight {self.weight:g}{share}{own}" + (f"; correlates {others}" if others else "")


def component_records(
    weights: Mapping[str, float], loaded: LoadedSuite, rewards: Rewards
) -> list[ComponentRecord]:
    """Each of several rewards, as far as these rewards have its column."""
    names = [name for name in weights if name in rewards.columns]
    if not names:
        return []
    inside = {name: rewards.centred(rewards.columns[name]) for name in names}
    total = np.sum([weights[name] * inside[name] for name in names], axis=0)
    variance = float(total @ total)
    return [
        ComponentRecord(
            name,
            weights[name],
            float(weights[name] * inside[name] @ total) / variance if variance else None,
            _measured(loaded, replace(rewards, proxy=rewards.columns[name])),
            {
                other: r
                for other in names
                if other != name and (r := _correlation(inside[name], inside[other])) is not None
            },
        )
        for name in names
    ]


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else None


def _measured(loaded: LoadedSuite, rewards: Rewards) -> dict[str, EstimateRecord]:
    found = {}
    for planned in loaded.planned:
        check = planned.check
        if check.needs_baseline or check.metric.columns or check.metric.needs_history:
            continue
        try:
            e = measure(
                check.metric, rewards, where=planned.conditions, sampling=loaded.sampling
            ).estimate
        except UndefinedMetricError:
            continue
        found[planned.name] = EstimateRecord(e.value, e.lower, e.upper)
    return found
