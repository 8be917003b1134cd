"""A drop ratio without the noise of golden, where golden was read twice."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.metrics.best_of_n import DropRatio
from rmcheck.metrics.metric import Metric, forwarded
from rmcheck.metrics.reliability import (
    REPEAT,
    reliability,
    reliability_concerns,
    reliability_gradient,
    repeat_moments,
)
from rmcheck.metrics.rewards import Block, Floats, Rewards
from rmcheck.stats.bootstrap import Statistic

MOMENTS = 3


@dataclass(frozen=True)
class _Corrected(Statistic):
    """A drop ratio over √reliability, from its sums and those of the reliability behind them."""

    inner: Statistic

    def value(self, sums: Floats, /) -> Floats:
        """1 − NDR / √reliability; NaN where the reliability is not above 0."""
        return np.asarray(1 - (1 - self.inner.value(sums[..., :-MOMENTS])) * _factor(sums))

    def gradient(self, sums: Floats, /) -> Floats | None:
        """Derivative of `value` by every total, or None where there is none before correction."""
        own = self.inner.gradient(sums[..., :-MOMENTS])
        if own is None:
            return None
        factor = _factor(sums)
        kept = 1 - self.inner.value(sums[..., :-MOMENTS])
        by_reliability = 0.5 * kept * factor**3
        moments = reliability_gradient(sums[..., -MOMENTS:])
        return np.concatenate([own * factor[..., None], by_reliability[..., None] * moments], -1)


def _factor(sums: Floats) -> Floats:
    found = reliability(sums[..., -MOMENTS:])
    return np.asarray(1 / np.sqrt(np.where(found > 0, found, np.nan)))


@dataclass(frozen=True)
class Disattenuated(Metric):
    """1 − NDR / √reliability, for an NDR that noisy golden rewards both choose and judge.

    Lower is better. Undefined where the two golden reads do not agree at all.
    """

    direction = "lower"
    range = (-np.inf, np.inf)
    attainable = (0.0, 2.0)
    invariances = forwarded("base.invariances")
    min_responses = forwarded("base.min_responses")
    studentised = forwarded("base.studentised")
    effective_units = forwarded("base.effective_units")
    per_prompt = forwarded("base.per_prompt")

    base: DropRatio

    @property
    def name(self) -> str:  # type: ignore[override]
        """The name of what is corrected: the same quantity."""
        return f"{self.base.name}_disattenuated"

    @property
    def columns(self) -> tuple[str, ...]:
        """The second golden read."""
        return (REPEAT, *self.base.columns)

    @property
    def note(self) -> str:
        """The note of what is corrected, and that it was."""
        return "; ".join(filter(None, (self.base.note, "golden's noise taken out")))

    def fitted(self, rewards: Rewards) -> Self:
        return replace(self, base=self.base.fitted(rewards))

    def localised(self, rewards: Rewards, mask: NDArray[np.bool_]) -> Self:
        return replace(self, base=self.base.localised(rewards, mask))

    def block_sums(self, block: Block) -> Floats:
        """(p, K + 3): the sums of what is corrected, and the moments of the two reads."""
        moments = repeat_moments(block.golden, block.columns[REPEAT])
        return np.hstack([self.base.block_sums(block), moments])

    def whole_sums(self, rewards: Rewards) -> tuple[Floats, NDArray[np.bool_]] | None:
        """The sums of what is corrected, where it has them of all prompts, and the moments."""
        whole = self.base.whole_sums(rewards)
        if whole is None:
            return None
        moments = np.zeros((len(rewards), MOMENTS))
        for block in rewards.blocks(self.min_responses):
            moments[block.rows] = repeat_moments(block.golden, block.columns[REPEAT])
        return np.hstack([whole[0], moments * whole[1][:, None]]), whole[1]

    def value(self, sums: Floats) -> Floats:
        """1 − NDR / √reliability; NaN where the reliability is not above 0."""
        return _Corrected(self.base).value(sums)

    def gradient(self, sums: Floats) -> Floats | None:
        return _Corrected(self.base).gradient(sums)

    def bounded_by(self) -> tuple[Statistic, ...]:
        """What bounds the value before correction, each corrected alike."""
        return tuple(_Corrected(inner) for inner in self.base.bounded_by())

    def compared(self, sums: Floats) -> NDArray[np.bool_]:
        return self.base.compared(sums[:, :-MOMENTS])

    def concerns(self, sums: Floats) -> tuple[str, ...]:
        """The concerns of what is corrected, and reads that agree too little."""
        own = self.base.concerns(sums[:, :-MOMENTS])
        return (*own, *reliability_concerns(sums[:, -MOMENTS:]))

    def facts(self, sums: Floats) -> dict[str, float]:
        found = float(reliability(sums[-MOMENTS:]))
        return {**self.base.facts(sums[:-MOMENTS]), "golden_reliability": found}
