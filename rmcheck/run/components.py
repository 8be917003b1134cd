"""What each of several rewards adds to their sum: its share, its own metrics, its correlations."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rmcheck.checks.measurement import measure
from rmcheck.checks.record import ComponentRecord, EstimateRecord
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.components import View, component_column
from rmcheck.metrics.rewards import Rewards
from rmcheck.run.loaded import LoadedSuite

# Correlation above which a component is hardly worth its place.
_SAME = 0.95


def component_records(
    weights: Mapping[str, float], loaded: LoadedSuite, rewards: Rewards
) -> list[ComponentRecord]:
    """Each of several rewards, as far as these rewards have its column."""
    names = [name for name in weights if component_column(name) in rewards.columns]
    if not names:
        return []
    inside = {name: rewards.centred(rewards.columns[component_column(name)]) for name in names}
    total = np.sum([weights[name] * inside[name] for name in names], axis=0)
    variance = float(total @ total)
    return [
        ComponentRecord(
            name,
            weights[name],
            float(weights[name] * inside[name] @ total) / variance if variance else None,
            _measured(loaded, View(name).of(rewards)),
            {
                other: r
                for other in names
                if other != name and (r := _correlation(inside[name], inside[other])) is not None
            },
        )
        for name in names
    ]


def redundant(parts: Sequence[ComponentRecord]) -> list[str]:
    """Components that say the same as another, in words."""
    return [
        f"components {part.name!r} and {other!r} correlate {r:.2f}: one says little more"
        for i, part in enumerate(parts)
        for other, r in part.correlations.items()
        if abs(r) > _SAME and other in {one.name for one in parts[i + 1 :]}
    ]


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else None


def _measured(loaded: LoadedSuite, rewards: Rewards) -> dict[str, EstimateRecord]:
    found = {}
    for planned in loaded.planned:
        check = planned.check
        metric = check.metric
        if check.needs_baseline or check.view or metric.columns or metric.needs_history:
            continue
        try:
            e = measure(
                metric, rewards, where=planned.conditions, sampling=loaded.sampling
            ).estimate
        except UndefinedMetricError:
            continue
        found[planned.name] = EstimateRecord(e.value, e.lower, e.upper)
    return found
