"""The responses that a model got most wrong, or that two engines score most differently."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmcheck.checks.record import EXCERPT, DriftRecord
from rmcheck.metrics.rewards import Floats, Ints, Rewards
from rmcheck.models.sample import Sample


@dataclass(frozen=True, slots=True)
class Mistake:
    """A prompt on which optimising the model would pick a worse response.

    Attributes:
        row: Position of the prompt in the rewards.
        picked: Position of the response that the model scores highest.
        better: Position of the best response by the golden reward.
        golden_loss: Golden reward lost by the pick; higher is worse.
        margin: By how much the model prefers its pick, in its own units.
    """

    row: int
    picked: int
    better: int
    golden_loss: float
    margin: float


def worst_mistakes(rewards: Rewards, mask: NDArray[np.bool_], *, most: int = 3) -> list[Mistake]:
    """The prompts with the largest golden loss of the model's pick, largest first.

    Among equal losses the larger margin comes first: the model was surer there.
    """
    found = []
    for row in np.flatnonzero(mask):
        part = slice(rewards.offsets[row], rewards.offsets[row + 1])
        proxy, golden = rewards.proxy[part], rewards.golden[part]
        picked, better = int(proxy.argmax()), int(golden.argmax())
        loss = float(golden[better] - golden[picked])
        if loss > 0:
            margin = float(proxy[picked] - proxy[better])
            found.append(Mistake(int(row), picked, better, loss, margin))
    found.sort(key=lambda m: (-m.golden_loss, -m.margin, m.row))
    return found[:most]


def worst_drifts(
    samples: Sequence[Sample], first: Floats, second: Floats, rows: Ints, *, most: int = 5
) -> tuple[DriftRecord, ...]:
    """Of these places in (M,) rewards those that differ most, largest first; none that agree."""
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
