"""A metric from many judge labels, put right by few human ones (prediction-powered inference).

Human labels are few and right, a judge's are many and perhaps wrong. The metric by human labels is
moved by what the judge says of all prompts less what it says of the prompts with human labels: its
errors cancel, and the noise of having few labels is smaller where judge and humans vary together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import ColumnMetric, Metric, forwarded
from rmcheck.metrics.moments import ROUNDING_SHARE
from rmcheck.metrics.ratio import PromptMeanMetric, ratio
from rmcheck.metrics.rewards import Block, Floats, Rewards
from rmcheck.stats.units import MIN_UNITS
from rmcheck.stats.unseen import Seen

HUMAN = "human"
# Sums of each prompt that the value is in: numerator and denominator by human labels, by the judge
# where humans labelled too, and by the judge; then products of the first four.
_CROSS, _OWN = slice(6, 10), slice(10, 13)
_COUNT = 13


@dataclass(frozen=True)
class JudgedMean(ColumnMetric):
    """A mean over prompts by human labels on some of them and a judge's on all.

    θ = H + λ (J − J_H): H by human labels, J_H by the judge on the same prompts, J by the judge on
    all. λ = Cov(H, J) / Var(J) over the prompts with human labels, kept within 0 and 1, has the
    least variance, and is found anew in each resample. A judge that has nothing to do with the
    humans gets λ = 0, and its labels change nothing; a wrong one never moves what θ estimates.

    Human labels must be those of prompts drawn at random, and count where all responses of the
    prompt have one. Golden is the judge, the column `human` has the labels of humans.

    References:
        Angelopoulos, Duchi and Zrnic 2023, PPI++: Efficient prediction-powered inference, arXiv
        2311.01453, equation 3 and section 6 (λ by the variance; here the judge's labels on all
        prompts stand for those on the others, which is the same estimator with another λ);
        Angelopoulos et al. 2023, Prediction-powered inference, Science 382:669-674.
    """

    value_columns = _COUNT  # all but the last two
    name = forwarded("base.name")
    direction = forwarded("base.direction")
    range = forwarded("base.range")
    attainable = forwarded("base.attainable")
    invariances = forwarded("base.invariances")
    tells_direction = forwarded("base.tells_direction")
    min_responses = forwarded("base.min_responses")
    depends_on_n = forwarded("base.depends_on_n")
    settings = forwarded("base.settings")

    base: Metric

    @property
    def columns(self) -> tuple[str, ...]:
        """What the metric needs, and the labels of humans."""
        return (*self.base.columns, HUMAN)

    @property
    def signature(self) -> str:
        """That of the metric, and that a judge is put right."""
        return f"{self.base.signature}|judge:ppi"

    @property
    def note(self) -> str:
        """Whose labels the number is from."""
        return "; ".join(
            filter(None, (self.base.note, "a judge's labels, put right by those of humans (PPI++)"))
        )

    def require(self, rewards: Rewards) -> None:
        """Refuse metrics that are no mean over prompts, and pools without human labels."""
        if not isinstance(self.base, PromptMeanMetric) or self.base.columns:
            raise UndefinedMetricError(
                f"{self.name} is no mean over prompts, so that human labels cannot put a judge's "
                "right; leave out `judge`, or take accuracy, kendall, spearman, pearson or mrr"
            )
        super().require(rewards)
        human = np.isfinite(rewards.columns[HUMAN])
        labelled = np.minimum.reduceat(human, rewards.offsets[:-1][rewards.counts > 0])
        if not labelled.any():
            raise UndefinedMetricError(
                "no prompt has human labels of all its responses, so that nothing puts the "
                "judge right"
            )

    def block_sums(self, block: Block) -> Floats:
        """(p, 15): see above; whether humans labelled; and whether either tells of any model."""
        judged = self.base.per_prompt(block.proxy, block.golden)
        labels = block.columns[HUMAN]
        labelled = np.asarray(np.isfinite(labels).all(axis=1))
        human = np.zeros_like(judged)
        human[labelled] = self.base.per_prompt(block.proxy[labelled], labels[labelled])
        h, j = human[:, :2], judged[:, :2]
        same = j * labelled[:, None]
        cross = (h[:, :, None] * same[:, None]).reshape(-1, 4)
        own = same[:, [0, 0, 1]] * same[:, [0, 1, 1]]
        informative = self.base.compared(judged) | self.base.compared(human)
        flags = np.stack([labelled, informative], axis=1).astype(float)
        return np.hstack([h, same, j, cross, own, flags])

    def value(self, sums: Floats) -> Floats:
        """θ; NaN where no human label counts."""
        human, same, judge = self._values(sums)
        moved = human + self._trust(sums, human, same) * (judge - same)
        return np.asarray(np.clip(np.where(np.isfinite(moved), moved, human), *self.range))

    def _values(self, sums: Floats) -> list[Floats]:
        """(…,) by humans, by the judge on the same prompts, and by the judge on all."""
        return [ratio(sums[..., i], sums[..., i + 1]) for i in (0, 2, 4)]

    def _trust(self, sums: Floats, human: Floats, same: Floats) -> Floats:
        """(…,) λ."""
        hj, hn, mj, mn = np.moveaxis(sums[..., _CROSS], -1, 0)
        jj, jn, nn = np.moveaxis(sums[..., _OWN], -1, 0)
        together = hj - same * hn - human * mj + human * same * mn
        spread = jj - 2 * same * jn + same**2 * nn
        is_flat = spread <= ROUNDING_SHARE * nn
        found = ratio(together, np.where(is_flat, 0.0, spread)) * ratio(sums[..., 3], sums[..., 1])
        return np.clip(np.nan_to_num(found, nan=0.0), 0.0, 1.0)

    def compared(self, sums: Floats) -> NDArray[np.bool_]:
        """(n,) where the judge or humans tell responses apart."""
        return np.asarray(sums[:, -1] > 0)

    def carrying(self, seen: Seen) -> float:
        """Units with human labels, whose prompts are as many as in others."""
        return float(seen.mean[_COUNT] / max(1.0, seen.mean[-1]) * seen.units)

    def concerns(self, sums: Floats) -> tuple[str, ...]:
        """Few prompts with human labels."""
        count = int(sums[:, _COUNT].sum())
        if count >= MIN_UNITS:
            return ()
        return (f"{count} prompts with human labels, fewer than {MIN_UNITS}",)

    def facts(self, sums: Floats) -> dict[str, float]:
        """The metric by each alone, λ, and on how many prompts there are human labels."""
        human, same, judge = self._values(sums)
        found = {
            "human_only": float(human),
            "judge_only": float(judge),
            "trust_in_judge": float(self._trust(sums, human, same)),
            "human_prompts": float(sums[_COUNT]),
        }
        return {name: value for name, value in found.items() if np.isfinite(value)}
