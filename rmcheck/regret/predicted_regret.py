"""Predicted regret: the share of golden's gain that best-of-n against the proxy would lose."""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.best_of_n import DropRatio
from rmcheck.metrics.registry import register
from rmcheck.metrics.rewards import Rewards
from rmcheck.metrics.settings import require_whole_number

# Share of the prompts that must have n responses for the regret to be measured on them.
MIN_MEASURED_SHARE = 0.5


@register
@dataclass(frozen=True)
class PredictedRegret(DropRatio):
    """Drop ratio of best-of-n at the n asked for, extrapolated where the pool is too small.

    Measured as 1 − NDR_n when at least half of the prompts have n responses. Otherwise it is
    1 − NDR_2, which is 1 − NDR_n at any n when proxy and golden are jointly Gaussian inside a
    prompt, whatever the prompts' scales. With heavy-tailed proxy errors it is too optimistic, and
    few responses cannot show that. Its interval holds the sampling error alone. `note` says which
    of the two was done. Undefined where golden gains nothing. Lower is better: 0 loses nothing, 1
    gains nothing, above 1 is harmful.

    The choice is made on a whole pool by `fitted`, so that every slice is treated alike.

    Args:
        n: Responses that the policy would draw, 2 or more.

    Reference:
        Wen et al. 2024, arXiv 2410.05584, eqs. 3 and 22.
    """

    name = "predicted_regret"

    n: int
    measured_at: int = field(default=0, init=False)
    most_responses: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole_number("n", self.n, 2)

    def fitted(self, rewards: Rewards) -> Self:
        """This metric, measured at n where enough prompts have n responses, else at 2."""
        counts = rewards.counts[rewards.counts >= 2]
        enough = counts.size > 0 and np.mean(counts >= self.n) >= MIN_MEASURED_SHARE
        found = replace(self)
        object.__setattr__(found, "measured_at", self.n if enough else 2)
        object.__setattr__(found, "most_responses", int(counts.max()) if counts.size else 0)
        return found

    @property
    def note(self) -> str:
        """How the value was found: measured, or extrapolated from best-of-2."""
        if not self.measured_at:
            return ""
        if self.measured_at == self.n:
            return f"measured at n={self.n} on the pool"
        if self.most_responses < self.n:
            return f"extrapolated from best-of-2 (pool has N={self.most_responses} < n={self.n})"
        return (
            f"extrapolated from best-of-2 (fewer than {MIN_MEASURED_SHARE:.0%} of the prompts "
            f"have N >= n={self.n})"
        )

    @property
    def min_responses(self) -> int:
        """The n of the measurement: two where it is extrapolated."""
        return max(2, self.measured_at)

    def drawn(self, size: int) -> int:
        """The n at which the gains are measured.

        Raises:
            UndefinedMetricError: The metric has not seen a pool yet.
        """
        if not self.measured_at:
            raise UndefinedMetricError(f"{self.name} must first see the pool: call fitted(rewards)")
        return self.measured_at
