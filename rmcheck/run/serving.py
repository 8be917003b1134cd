"""The serving engine: the gated checkpoint where training will ask for its rewards."""

from collections.abc import Sequence

import numpy as np

from rmcheck.checks.record import EXCERPT, DriftRecord
from rmcheck.errors import UsageError
from rmcheck.metrics.rewards import Floats, Ints
from rmcheck.models.model import RewardModel, Sample


def require_two_engines(first: RewardModel, second: RewardModel) -> None:
    """Refuse a model that would be compared with itself.

    Raises:
        UsageError: Both have one fingerprint.
    """
    if first.fingerprint == second.fingerprint:
        raise one_model(first, second, "parity compares two engines")


def one_model(first: RewardModel, second: RewardModel, why: str) -> UsageError:
    """What to raise where a model stands in two places that ask for two."""
    return UsageError(
        f"{first.spec} and {second.spec} are one model (fingerprint {first.identity[:8]}); {why}"
    )


def names_apart(models: Sequence[RewardModel]) -> list[str]:
    """What to call models that are compared: their names, or their specs where two share a name.

    A checkpoint and the same checkpoint in bfloat16 have one name.
    """
    names = [model.name for model in models]
    return [model.spec if names.count(model.name) > 1 else model.name for model in models]


def worst_drifts(
    samples: Sequence[Sample], first: Floats, second: Floats, rows: Ints, *, most: int = 5
) -> tuple[DriftRecord, ...]:
    """The responses whose rewards differ most, largest difference first; none that agree.

    Args:
        samples: The M samples.
        first: (M,) rewards of the reference.
        second: (M,) rewards of the other engine.
        rows: Positions to choose from.
        most: Records at most.
    """
    gap = np.abs(second - first)[rows]
    chosen = [int(i) for i in rows[np.argsort(-gap, kind="stable")[:most]] if first[i] != second[i]]
    return tuple(
        DriftRecord(
            samples[i].prompt_id,
            samples[i].index,
            float(first[i]),
            float(second[i]),
            samples[i].response[:EXCERPT],
        )
        for i in chosen
    )
