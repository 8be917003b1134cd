"""Several rewards at once, as their weighted sum."""

from collections.abc import Mapping, Sequence

import numpy as np

from rmcheck.errors import UsageError
from rmcheck.metrics.components import component_column
from rmcheck.models.checkpoint.fingerprint import fingerprint
from rmcheck.models.model import Combined, MembersModel, RewardModel
from rmcheck.models.sample import Sample
from rmcheck.models.spec import ModelSpec


class WeightedRewards(MembersModel):
    """Rewards that a trainer adds up; each is scored and kept as a model of its own.

    Args:
        spec: The model as the user named it.
        members: The rewards.
        names: What each is called.
        weights: Of each.
    """

    def __init__(
        self,
        spec: str,
        members: Sequence[RewardModel],
        names: Sequence[str],
        weights: Sequence[float],
    ) -> None:
        self.spec = spec
        self._parts, self._weights = tuple(members), np.array(weights, dtype=np.float64)
        self.components = dict(zip(names, self._weights.tolist(), strict=True))
        self.kept = all(member.kept for member in members)
        self.fingerprint = fingerprint(
            {
                "scheme": "weighted",
                "members": [member.fingerprint for member in members],
                "weights": [f"{weight:g}" for weight in weights],
            }
        )

    @property
    def parts(self) -> tuple[RewardModel, ...]:
        """The rewards, in the order in which they were named."""
        return self._parts

    @property
    def name(self) -> str:
        """The rewards with their weights."""
        return " + ".join(f"{w:g} × {name}" for name, w in self.components.items())

    @property
    def description(self) -> Mapping[str, str]:
        """The sum."""
        return {"reward": self.name}

    def together(self, parts: Sequence[Combined], samples: Sequence[Sample]) -> Combined:
        """The weighted sum, and each reward as a column."""
        own = [part.rewards for part in parts]
        columns = dict(zip(map(component_column, self.components), own, strict=True))
        return Combined(self._weights @ np.stack(own), columns, "; ".join(self.warnings(parts)))


def weights_of(spec: ModelSpec, stated: str, count: int) -> list[float]:
    """The numbers of `reward_weights`; 1 for each reward where it is not given.

    Raises:
        UsageError: They are not so many finite numbers.
    """
    if not stated:
        return [1.0] * count
    try:
        weights = [float(word) for word in stated.split(",")]
    except ValueError:
        weights = []
    if len(weights) != count or not np.isfinite(weights).all():
        raise UsageError(
            f"{spec.text}: reward_weights is {stated!r}; it is {count} numbers with commas "
            "between, one a reward"
        )
    return weights
