"""Whether a judge that compares responses means them, or the place where they are shown."""

from dataclasses import dataclass

import numpy as np

from rmcheck.metrics.metric import NO_GOLDEN, ColumnMetric
from rmcheck.metrics.ratio import RatioMetric
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Block, Floats, Rewards

# The columns that it needs; the rewards of a judge that compares bring them.
CONSISTENT = "order consistent"
INCONSISTENT = "order inconsistent"
FIRST = "order first"


@register
@dataclass(frozen=True)
class PositionConsistency(ColumnMetric, RatioMetric):
    """Share of comparisons in which a judge says the same when the order is turned around.

    Σ_i same_i / Σ_i (same_i + other_i) over the pairs of responses to a prompt that the judge was
    shown in both orders, or over lists where it chooses the best of more. Two ties are the same; a
    tie and a choice are not. Higher is better: 1 is a judge whose verdict does not hang on the
    place, one that always names the first place has 0, and one that tosses a coin one half.
    Answers in which nothing could be read do not count. Golden plays no part in it. Undefined for
    a model that does not compare. How often the first place won is among its facts; one half,
    where pairs are compared, is no bias.

    Caution:
        A judge that always says "tie" is consistent; ask for accuracy as well.

    Reference:
        Wang et al. 2023, "Large Language Models are not Fair Evaluators", arXiv 2305.17926; Shi et
        al. 2024, arXiv 2406.07791 (position consistency).
    """

    name = "position_consistency"
    direction = "higher"
    range = (0.0, 1.0)
    invariances = NO_GOLDEN | {"proxy_shift", "proxy_scale", "proxy_monotone", "proxy_reversal"}
    brought_by_model = True
    # Comparisons that agreed, those that did not, and those that the first place won.
    columns = (CONSISTENT, INCONSISTENT, FIRST)
    # It does not read the rewards, so that no longer answer can stand in for them.
    scale_free = False

    def without(self, column: str, rewards: Rewards) -> str:
        """What to say of a model that does not compare."""
        return (
            f"{self.name} needs a judge that compares responses (judge:FILE with `choice` or "
            "`scores`); this model scores each by itself"
        )

    def block_sums(self, block: Block) -> Floats:
        """(p, 3): comparisons that agreed, all of them, and those that the first place won."""
        same, other, first = (block.columns[name].sum(axis=1) for name in self.columns)
        return np.stack([same, same + other, first], axis=-1)

    def facts(self, sums: Floats) -> dict[str, float]:
        """Share of the questions in which the first place won."""
        compared = float(sums[1])
        return {"first_place_wins": float(sums[2]) / compared} if compared else {}
