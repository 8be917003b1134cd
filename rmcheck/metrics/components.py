"""What a check looks at where that is not the whole reward against the suite's golden."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.policy_steps import only
from rmcheck.metrics.reliability import REPEAT
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.wording import listed


def component_column(name: str) -> str:
    """The column with one of several rewards that a model adds up."""
    return f"component {name}"


def golden_column(name: str) -> str:
    """The column with a golden reward that a check names itself."""
    return f"golden {name}"


@dataclass(frozen=True)
class View:
    """One component in the place of the reward, and another column in the place of golden.

    Attributes:
        component: Of the model; None takes the whole reward.
        golden: Label column of the pool; None takes the suite's golden.
    """

    component: str | None = None
    golden: str | None = None

    def __bool__(self) -> bool:
        return self.component is not None or self.golden is not None

    def of(self, rewards: Rewards) -> Rewards:
        """The rewards as the check sees them, without the responses that have no such golden.

        Raises:
            UndefinedMetricError: The rewards have no such component, or no such golden.
        """
        if not self:
            return rewards
        if self not in rewards.memo:
            rewards.memo[self] = self._of(rewards)
        found: Rewards = rewards.memo[self]
        return found

    def _of(self, rewards: Rewards) -> Rewards:
        proxy, golden, columns = rewards.proxy, rewards.golden, dict(rewards.columns)
        if self.component is not None:
            proxy = _column(rewards, component_column(self.component))
        if self.golden is not None:
            golden = _column(rewards, golden_column(self.golden))
            columns.pop(REPEAT, None)  # a second read of the suite's golden
        kept = np.isfinite(golden)
        seen = replace(
            rewards, proxy=proxy, golden=np.where(kept, golden, 0.0), columns=columns, scored=None
        )
        return seen if kept.all() else only(seen, kept)

    def places(self, rewards: Rewards) -> NDArray[np.int64]:
        """(M',) where the responses that a check sees stand among all (M,)."""
        if self.golden is None:
            return np.arange(rewards.proxy.size)
        return np.flatnonzero(np.isfinite(_column(rewards, golden_column(self.golden))))

    @property
    def named(self) -> dict[str, str]:
        """What it says, by the key of a check."""
        named = {"component": self.component, "golden": self.golden}
        return {key: value for key, value in named.items() if value is not None}

    def __str__(self) -> str:
        return "".join(f"|{key}:{value}" for key, value in self.named.items())


def _column(rewards: Rewards, name: str) -> Floats:
    if name not in rewards.columns:
        kind = name.split(" ", 1)[0]
        there = [other for other in rewards.columns if other.startswith(f"{kind} ")]
        raise UndefinedMetricError(f"the rewards have no {name}; they have {listed(there, 8)}")
    return rewards.columns[name]
