"""Whether the engine that training will ask gives the rewards that were gated.

The rewards of the serving engine stand beside the candidate's as a column. Both metrics are exact:
they are statements about these rows, not estimates for other prompts. Which rows an engine gets
wrong is no accident of sampling, and none wrong means none wrong here; the pool should therefore
have the shortest and longest texts that training will send. The interval is the value.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.metric import NO_GOLDEN, ColumnMetric
from rmcheck.metrics.parity import MARGIN_ROUNDING, flipped_pairs, map_between, map_sentence
from rmcheck.metrics.ratio import RatioMetric
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Block, Floats, Rewards
from rmcheck.metrics.settings import require_number

# The column with the rewards of the serving engine.
SERVING = "serving"


@dataclass(frozen=True)
class ServingMetric(ColumnMetric):
    """A comparison of the candidate's rewards with those of the serving engine."""

    brought_by_model = True
    columns = (SERVING,)
    exact = True
    scale_free = False  # two engines of one model share its unit

    def require(self, rewards: Rewards) -> None:
        """Refuse also rewards of the serving engine that are not finite."""
        super().require(rewards)
        bad = np.flatnonzero(~np.isfinite(rewards.columns[SERVING]))
        if bad.size:
            prompt = int(np.searchsorted(rewards.offsets, bad[0], side="right")) - 1
            raise UndefinedMetricError(
                f"{self.name}: the serving engine's reward of prompt "
                f"{str(rewards.prompt_ids[prompt])!r} is {rewards.columns[SERVING][bad[0]]}; "
                f"{bad.size} of {rewards.proxy.size} are not finite"
            )

    def without(self, column: str, rewards: Rewards) -> str:
        return (
            f"{self.name} compares with a serving engine, and these rewards have none; name it in "
            "the suite, serving: {model: SCHEME:LOCATION}"
        )


@register
@dataclass(frozen=True)
class RankFlips(ServingMetric, RatioMetric):
    """Share of pairs of responses to one prompt that the serving engine orders differently.

    Σ_i flips_i / Σ_i pairs_i, where a pair flips when its margin has another sign and changed by
    more than `tolerance`; a pair that only one engine calls equal has another sign. Lower is
    better: 0 is an engine that ranks as the gated one does, which is all that best-of-n and
    policy gradients with a baseline per prompt depend on. Undefined without a serving engine, and
    where no prompt has two responses. Golden plays no part in it. It is exact on these rows: its
    bounds are its value.

    Args:
        tolerance: Change of a pair's margin, in units of the reward, that is rounding and no flip.
            The default suits float32 on both sides. In half precision rewards move by 0.1 and
            more, and pairs closer than that flip: state the margin that you can accept.

    Caution:
        It says whether two engines agree, and not which of them is right.

    Reference:
        rmcheck's own, as `rmcheck parity` counts.
    """

    name = "rank_flips"
    direction = "lower"
    range = (0.0, 1.0)
    invariances = NO_GOLDEN | {"proxy_shift"}

    tolerance: float = MARGIN_ROUNDING

    def __post_init__(self) -> None:
        require_number("tolerance", self.tolerance, 0)

    def block_sums(self, block: Block) -> Floats:
        """(p, 2): pairs that flip, and pairs."""
        prompts, n = block.proxy.shape
        flips = flipped_pairs(block.proxy, block.columns[SERVING], self.tolerance)
        return np.stack([flips.astype(float), np.full(prompts, n * (n - 1) / 2)], axis=-1)

    def facts(self, sums: Floats) -> dict[str, float]:
        return {"flipped_pairs": float(sums[0]), "pairs": float(sums[1])}


@register
@dataclass(frozen=True)
class ScoreDrift(ServingMetric):
    """Largest difference between a reward and the serving engine's, in units of the reward.

    max |b − a| over all responses, or the `percentile` of these differences (a difference that
    occurs, nothing between two). Lower is better: 0 is an engine that gives the gated rewards to
    the last bit. Undefined without a serving engine. Golden plays no part in it. It is exact on
    these rows: its bounds are its value. A largest value is no sum over prompts, so it is fixed on
    the rows that are measured; the sums hold the mean differences that stand beside it.

    Engines in float32 differ by 1e-5 to 1e-3; in half precision by 0.1 and more, so that a bound
    for it is a decision and not rounding. A constant added to all rewards drifts and flips nothing.

    Args:
        percentile: Of the differences, above 0, at most 100; 100 is the largest.

    Caution:
        It says whether two engines agree, and not which of them is right. One odd text decides the
        largest difference: see `percentile`.

    Reference:
        rmcheck's own, as `rmcheck parity` measures.
    """

    name = "score_drift"
    direction = "lower"
    range = (0.0, np.inf)
    invariances = NO_GOLDEN
    min_responses = 1  # responses are compared with themselves

    percentile: float = 100.0
    drift: float = field(default=np.nan, init=False, repr=False, compare=False)
    # The plain function that turns one engine's rewards into the other's, if there is one.
    note: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_number("percentile", self.percentile, 0)
        if not 0 < self.percentile <= 100:
            raise UsageError(
                f"percentile is {self.percentile}; valid: a number above 0, at most 100."
            )

    def fitted(self, rewards: Rewards) -> Self:
        """This metric with the difference in question, of all rows."""
        return self.localised(rewards, np.ones(len(rewards), dtype=bool))

    def localised(self, rewards: Rewards, mask: NDArray[np.bool_]) -> Self:
        """This metric with the difference in question, of the rows that are measured."""
        self.require(rewards)
        rows = np.repeat(mask, rewards.counts)
        a, b = rewards.proxy[rows], rewards.columns[SERVING][rows]
        if not a.size:
            return self.fixed()
        drift = np.quantile(np.abs(b - a), self.percentile / 100, method="inverted_cdf")
        likeness = map_between(a, b, MARGIN_ROUNDING)
        note = map_sentence(likeness, "the candidate", "the serving engine")
        return self.fixed(drift=float(drift), note=note)

    def block_sums(self, block: Block) -> Floats:
        """(p, 3): Σ|b − a|, Σ(b − a), and responses."""
        gap = block.columns[SERVING] - block.proxy
        responses = np.full(len(gap), float(gap.shape[1]))
        return np.stack([np.abs(gap).sum(axis=1), gap.sum(axis=1), responses], axis=-1)

    def value(self, sums: Floats) -> Floats:
        """The difference that `localised` fixed; NaN where there are no responses."""
        return np.where(sums[..., 2] > 0, self.drift, np.nan)

    def facts(self, sums: Floats) -> dict[str, float]:
        """Mean difference without and with its sign: what the serving engine adds to all."""
        return {
            "mean_difference": float(sums[0] / sums[2]),
            "mean_with_sign": float(sums[1] / sums[2]),
        }
