"""How often a judge that is asked again changes its mind about which of two responses is better."""

from dataclasses import dataclass

import numpy as np

from rmcheck.metrics.metric import NO_GOLDEN, ColumnMetric
from rmcheck.metrics.ratio import RatioMetric
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Block, Floats, Rewards
from rmcheck.metrics.settings import require_whole_number


def repeat_columns(repeats: int) -> tuple[str, ...]:
    """Names of the columns that hold the reward by each of several answers."""
    return tuple(f"repeat {number}" for number in range(1, repeats + 1))


@register
@dataclass(frozen=True)
class VerdictFlips(ColumnMetric, RatioMetric):
    """Share of verdicts that flip when a judge is asked again.

    Σ_i flips_i / Σ_i pairs_i over all pairs of responses to a prompt, where a pair's flips are the
    share of the pairs of answers that order the two oppositely. An answer that ties them is no
    flip. Lower is better: 0 is a judge that always gives the same order, and about one half (less
    where it ties) is one that tosses a coin. Golden plays no part in it. Undefined for a model
    that is not asked so often, and where no prompt has two responses.

    Args:
        repeats: Answers that are compared, 2 or more; the judge's file has `repeat:` with as many.

    Caution:
        A judge of coarse grades ties often and flips seldom; ask for accuracy as well.

    Reference:
        rmcheck's own; Kendall's distance between two answers, averaged.
    """

    name = "verdict_flips"
    direction = "lower"
    range = (0.0, 1.0)
    invariances = NO_GOLDEN | {"proxy_shift", "proxy_scale", "proxy_monotone", "proxy_reversal"}
    brought_by_model = True
    # It does not read the rewards, so that no longer answer can stand in for them.
    scale_free = False

    repeats: int = 2

    def __post_init__(self) -> None:
        require_whole_number("repeats", self.repeats, 2)

    @property
    def columns(self) -> tuple[str, ...]:
        """The reward by each answer."""
        return repeat_columns(self.repeats)

    def without(self, column: str, rewards: Rewards) -> str:
        """What to say of a model that was not asked so often."""
        answers = sum(name in rewards.columns for name in self.columns)
        often = f"was asked {answers} times" if answers else "was asked once"
        return (
            f"{self.name} needs a judge that is asked {self.repeats} times (`repeat: "
            f"{self.repeats}` under `read:` in its file); this model {often}"
        )

    def block_sums(self, block: Block) -> Floats:
        """(p, 2): flips, and pairs of responses."""
        answers = np.stack([block.columns[name] for name in self.columns])
        prompts, n = block.proxy.shape
        flips = np.zeros(prompts)
        for one in range(n - 1):
            apart = answers[:, :, one + 1 :] - answers[:, :, one, None]
            flips += ((apart > 0).sum(axis=0) * (apart < 0).sum(axis=0)).sum(axis=1)
        of = self.repeats * (self.repeats - 1) / 2
        return np.stack([flips / of, np.full(prompts, n * (n - 1) / 2)], axis=-1)
