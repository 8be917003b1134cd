"""Which step of its training a policy was at when it gave each response."""

import math
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.rewards import Ints, Rewards

# Fewer prompts at a step than this tell nothing of it.
FEWEST_PROMPTS = 10
REFRESH = (
    "judge the model on responses of the policy as it is now, from `rmcheck sample` at its last "
    "checkpoint"
)


@dataclass(frozen=True, eq=False)
class PolicySteps:
    """The steps that a column names.

    Attributes:
        column: A slice of the prompts, or a number of each response.
        steps: (S,) steps, ascending.
        of: (M,) position among `steps` of each response.
    """

    column: str
    steps: tuple[float, ...]
    of: Ints = field(repr=False)

    @classmethod
    def read(cls, rewards: Rewards, column: str) -> Self:
        """The steps of a pool.

        Raises:
            UndefinedMetricError: There is no such column; a step is no finite number; or there are
                fewer than two steps.
        """
        steps, of = np.unique(_numbers(rewards, column), return_inverse=True)
        if not np.isfinite(steps).all():
            raise UndefinedMetricError(f"{column!r} has a step that is not finite")
        if steps.size < 2:
            raise UndefinedMetricError(f"{column!r} has one step; it needs two or more")
        return cls(column, tuple(steps.tolist()), of.astype(np.int64))

    def up_to(self, last: float) -> range:
        """Positions of the steps up to `last`.

        Raises:
            UndefinedMetricError: That is none of the steps.
        """
        if last not in self.steps:
            known = ", ".join(f"{step:g}" for step in self.steps)
            raise UndefinedMetricError(
                f"the pool has no responses of {self.column} {last:g}. Steps: {known}."
            )
        return range(self.steps.index(last) + 1)

    def texts(self, rewards: Rewards, number: int) -> list[str]:
        """How the slice writes a step; more than one where 5 is 5.0 too, none without a slice."""
        if self.column in rewards.columns:
            return []
        found: list[str] = np.unique(rewards.slices[self.column]).tolist()
        return [text for text in found if float(text) == self.steps[number]]

    def at(self, rewards: Rewards, number: int) -> Rewards:
        """The rewards with the responses of one step alone: prompts without any have none."""
        return only(rewards, self.of == number)


def only(rewards: Rewards, kept: NDArray[np.bool_]) -> Rewards:
    """The same prompts with some of their (M,) responses, of those that have a golden reward."""
    counts = np.diff(np.concatenate([[0], np.cumsum(kept)])[rewards.offsets])
    return rewards.taking(np.flatnonzero(kept), slice(None), counts)


def _numbers(rewards: Rewards, column: str) -> NDArray[np.float64]:
    """(M,) the column as numbers."""
    if column in rewards.columns:
        found = rewards.columns[column]
        if np.isnan(found).any():
            raise UndefinedMetricError(f"{int(np.isnan(found).sum())} responses have no {column!r}")
        return found
    rewards.require_slice(column)
    try:
        steps = [float(text) for text in rewards.slices[column].tolist()]
    except ValueError as error:
        raise UndefinedMetricError(f"{column!r} must be the step of the policy: {error}") from error
    if not all(map(math.isfinite, steps)):
        raise UndefinedMetricError(f"{column!r} has a step that is not finite")
    return np.repeat(steps, rewards.counts)
