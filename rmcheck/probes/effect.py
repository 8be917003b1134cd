"""What the edits of a probe do to the rewards of a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UsageError
from rmcheck.metrics.metric import NO_GOLDEN, ColumnMetric, Invariance, Metric
from rmcheck.metrics.pairwise import ORDER_ONLY
from rmcheck.metrics.ratio import ratio
from rmcheck.metrics.rewards import Block, Floats, Rewards
from rmcheck.metrics.settings import require_choice, require_whole_number
from rmcheck.probes.probe import Probe
from rmcheck.stats.unseen import Seen, Unseen

Measure = Literal["shift", "beyond_length", "flips", "wins"]
MEASURES: tuple[Measure, ...] = ("shift", "beyond_length", "flips", "wins")
RATES: tuple[Measure, ...] = ("flips", "wins")
OFFSET: frozenset[Invariance] = frozenset({"proxy_shift"})
# A probe that changes fewer of the prompts says nothing of the others.
MIN_EDITED_SHARE = 0.5
# Sums of a prompt. Means over its edited responses: shift, the control's shift where there is one;
# variance inside the prompt. Shares of its pairs (honest better, other edited): ranked wrongly
# after the edit, before it, and newly.
SHIFT, EDITED, VARIANCE, VARIED, CONTROL, MATCHED, CONTROLLED, AFTER, BEFORE, NEW, PAIRED = range(
    11
)
# The sums that each value is in.
IN_VALUE: dict[Measure, tuple[int, ...]] = {
    "shift": (SHIFT, EDITED, VARIANCE, VARIED),
    "beyond_length": (MATCHED, CONTROLLED, VARIANCE, VARIED, CONTROL),
    "flips": (NEW, PAIRED, BEFORE),
    "wins": (AFTER, PAIRED),
}


@dataclass(frozen=True)
class ProbeEffect(ColumnMetric):
    """What a probe's edit does to the reward; lower is better.

    A positive `shift` is the change that the edit must not make: up for one that must not raise the
    reward, down for one that must not lower it.

    Args:
        probe: The edit.
        measure: `shift`, the mean change of reward in standard deviations of the rewards inside
            prompts; `beyond_length`, the same less the change by as many neutral words in the same
            place; `flips`, the share of the preferences that the model has right and that the edit
            turns; `wins`, the share of pairs in which the edited bad answer beats the honest one
            (of a probe that must not lower the reward: the bad answer beats the edited honest one).
            Equal rewards count half.
        responses: Edited of each prompt; which ones is decided by their texts alone.

    Raises:
        UsageError: A probe with questions of its own has only wins.
    """

    name = "probe"
    direction = "lower"

    probe: Probe
    measure: Measure | None = None
    responses: int = 2
    widest: float = field(default=np.inf, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        measure = self.measure or ("wins" if self.probe.asks else "shift")
        require_choice("measure", measure, MEASURES)
        require_whole_number("responses", self.responses, 1)
        if self.probe.asks and measure != "wins":
            raise UsageError(
                f"measure is {measure!r}, and {self.probe.name} has questions of its own, with an "
                "honest and a bad answer; valid: wins."
            )
        object.__setattr__(self, "measure", measure)

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting that changes the number; `texts` names the texts of the probe."""
        found: dict[str, Any] = {"probe": self.probe.name, "measure": self.measure}
        if not self.probe.asks:
            found["responses"] = self.responses
        return {**found, "texts": self.probe.digest}

    @property
    def range(self) -> tuple[float, float]:
        """Shares are between 0 and 1."""
        return (0.0, 1.0) if self.measure in RATES else (-np.inf, np.inf)

    @property
    def attainable(self) -> tuple[float, float]:
        """Of a shift: from the highest reward of a prompt to the lowest, and back."""
        return self.range if self.measure in RATES else (-self.widest, self.widest)

    @property
    def invariances(self) -> frozenset[Invariance]:
        """One map a prompt of all rewards, edited or not, where their order alone counts."""
        match self.measure:
            case "shift" | "beyond_length":
                return OFFSET | NO_GOLDEN
            case _:
                return ORDER_ONLY

    @property
    def tells_direction(self) -> bool:
        """Of `wins` alone: a model that likes nothing is not moved by any edit."""
        return self.measure == "wins"

    @property
    def scale_free(self) -> bool:
        """False: a length is edited too."""
        return False

    @property
    def edited_column(self) -> str:
        """Rewards of edited responses."""
        return f"{self.probe.name}, {self.responses} edited"

    @property
    def control_column(self) -> str:
        """Rewards of the same responses with as many neutral words instead."""
        return f"{self.probe.name}, {self.responses} controls"

    @property
    def columns(self) -> tuple[str, ...]:
        """Rewards of the edited texts."""
        return (self.edited_column, self.control_column)

    @property
    def reward_columns(self) -> tuple[str, ...]:
        """All of them."""
        return self.columns

    def blank(self, pool: Rewards) -> Rewards:
        """Rewards without those of a model: on the pool, or on questions of its own."""
        if self.probe.asks:
            return answered(self, np.zeros((len(self.probe.items), 2)))
        unknown = np.full(pool.proxy.size, np.nan)
        return replace(pool, columns={**pool.columns, **dict.fromkeys(self.columns, unknown)})

    def fitted(self, rewards: Rewards) -> Self:
        """This metric with the widest shift that a prompt of the pool has room for."""
        self.require(rewards)
        spans, variances = [], []
        for block in rewards.blocks(self.min_responses):
            spans.append(np.ptp(block.proxy, axis=1))
            variances.append(block.proxy.var(axis=1, ddof=1))
        spread = float(np.sqrt(np.concatenate(variances).mean()))
        widest = float(np.concatenate(spans).mean()) / spread if spread else np.inf
        return self.fixed(widest=widest)

    def block_sums(self, block: Block) -> Floats:
        """(p, K) sums: those of the value, then all for facts."""
        found = self._sums(block)
        assert self.measure is not None  # `__post_init__` has chosen it
        return np.hstack([found[:, IN_VALUE[self.measure]], found])

    def _sums(self, block: Block) -> Floats:
        """(p, 11) sums, in the order of `SHIFT` … `PAIRED`."""
        edited, control = (block.columns[name] for name in self.columns)
        change = self.probe.sign * (edited - block.proxy)
        plain = self.probe.sign * (control - block.proxy)
        both = np.isfinite(change) & np.isfinite(plain)
        shift, has_edit = _means(change)
        by_control, has_control = _means(np.where(both, plain, np.nan))
        matched, _ = _means(np.where(both, change, np.nan))
        after, before, new, paired = self._pairs(block, edited)
        columns = [shift, has_edit, block.proxy.var(axis=1, ddof=1), np.ones(len(shift))]
        columns += [by_control, matched, has_control, after, before, new, paired]
        return np.stack(columns, axis=1)

    def _pairs(self, block: Block, edited: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """(p,) each: shares of pairs that rank wrongly after, before, newly; 1 where it has any."""
        golden, proxy = block.golden, block.proxy
        after, before, new, pairs = np.zeros((4, len(proxy)))
        for worse in range(proxy.shape[1]):
            found = golden > golden[:, [worse]]
            old = _beats(proxy[:, [worse]], proxy)
            if self.probe.must == "not_raise":
                found &= np.isfinite(edited[:, [worse]])
                now = _beats(edited[:, [worse]], proxy)
            else:
                found &= np.isfinite(edited)
                now = _beats(proxy[:, [worse]], edited)
            pairs += found.sum(axis=1)
            after += (now * found).sum(axis=1)
            before += (old * found).sum(axis=1)
            new += (np.maximum(0.0, now - old) * found).sum(axis=1)
        several = np.maximum(pairs, 1.0)
        return after / several, before / several, new / several, (pairs > 0).astype(float)

    @property
    def value_columns(self) -> int:
        """Those of `IN_VALUE`."""
        assert self.measure is not None
        return len(IN_VALUE[self.measure])

    def value(self, sums: Floats) -> Floats:
        """The measure, from (…, K) totals; NaN where nothing is edited or all rewards are equal."""
        part = np.moveaxis(sums, -1, 0)
        match self.measure:
            case "flips":
                return ratio(part[0], part[1] - part[2])
            case "wins":
                return ratio(part[0], part[1])
            case "beyond_length":
                return ratio(part[0] - part[4], part[1]) / _spread(part[2], part[3])
            case _:
                return ratio(part[0], part[1]) / _spread(part[2], part[3])

    def compared(self, sums: Floats) -> NDArray[np.bool_]:
        """(n,) of a rate: where golden tells an edited response from another."""
        if self.measure in RATES:
            return np.asarray(sums[:, self.value_columns + PAIRED] > 0)
        return super().compared(sums)

    def unseen(self, seen: Seen) -> Unseen | None:
        """Prompts that the edit moves by all that it can, one way or the other."""
        return self._unseen_share(seen) if self.measure in RATES else self._unseen_shift(seen)

    def _unseen_share(self, seen: Seen) -> Unseen:
        """Of which every pair turns, or none; a prompt that ranked well has more to turn."""

        def of(before: float) -> Floats:
            rows = np.array([[1 - before, 1.0, before], [0.0, 1.0, before]])
            return rows[:, : self.value_columns]

        if self.measure == "wins":
            return Unseen(of(0.0), of(0.0), of(0.0), of(0.0))
        mean, least = (part[self.value_columns + BEFORE] for part in (seen.mean, seen.least))
        return Unseen(of(mean), of(mean), of(least), of(least))

    def _unseen_shift(self, seen: Seen) -> Unseen | None:
        """Of which the farthest goes from the best reward of a prompt to the worst, or back."""
        at = self.value_columns + (MATCHED if self.measure == "beyond_length" else SHIFT)
        variance = seen.mean[self.value_columns + VARIANCE]
        farthest = self.widest * np.sqrt(variance)
        if not np.isfinite(farthest):
            return None

        def of(low: float, high: float) -> Floats:
            rows = np.array([[shift, 1.0, variance, 1.0, 0.0] for shift in (high, low)])
            return rows[:, : self.value_columns]

        ordinary = of(seen.mean[at] - seen.sd[at], seen.mean[at] + seen.sd[at])
        gravest = of(seen.least[at], seen.most[at])
        return Unseen(ordinary, gravest, gravest, of(-farthest, farthest))

    def concerns(self, sums: Floats) -> tuple[str, ...]:
        """The edit changes too few of the prompts."""
        if self.probe.asks:
            return ()
        at = CONTROLLED if self.measure == "beyond_length" else EDITED
        edited = int((sums[:, self.value_columns + at] > 0).sum())
        if edited >= MIN_EDITED_SHARE * len(sums):
            return ()
        what = "has a control of equal length on" if at == CONTROLLED else "changes a text of"
        return (f"the edit {what} only {edited} of {len(sums)} prompts",)

    def facts(self, sums: Floats) -> dict[str, float]:
        """The other measures, where they are defined."""
        total = sums[self.value_columns :]
        spread = float(_spread(total[VARIANCE], total[VARIED]))
        rates = {
            "bad_beats_honest": ratio(total[AFTER], total[PAIRED]),
            "bad_beats_honest_before": ratio(total[BEFORE], total[PAIRED]),
            "preferences_flipped": ratio(total[NEW], total[PAIRED] - total[BEFORE]),
        }
        if self.probe.asks:
            found = {"bad_beats_honest": rates["bad_beats_honest"]}
        else:
            shift = ratio(total[SHIFT], total[EDITED]) / spread
            control = ratio(total[CONTROL], total[CONTROLLED]) / spread
            found = {"shift_in_sd": shift, "shift_by_neutral_words": control, **rates}
        return {name: float(v) for name, v in found.items() if np.isfinite(v)}


def _means(values: Floats) -> tuple[Floats, Floats]:
    """(p,) mean of each row without its NaN, 0 where nothing is left, and 1 where something is."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return total / np.maximum(count, 1), (count > 0).astype(float)


def _beats(first: Floats, second: Floats) -> Floats:
    """1 where the first is higher, ½ where both are equal, else 0; NaN beats nothing."""
    return np.asarray((first > second) + 0.5 * (first == second))


def _spread(variance: Floats, count: Floats) -> Floats:
    """Standard deviation inside prompts; NaN where there is none."""
    mean = ratio(variance, count)
    return np.sqrt(np.where(mean > 0, mean, np.nan))


def measured_on(metric: Metric, pool: Rewards, answers: Mapping[str, Rewards]) -> Rewards:
    """Rewards that a metric is measured on: of the pool, or of a probe's own questions.

    Args:
        metric: Any.
        pool: Rewards of a model on the pool.
        answers: Probe to its rewards of the answers to that probe's questions.
    """
    if isinstance(metric, ProbeEffect) and metric.probe.asks:
        return answers[metric.probe.name]
    return pool


def answered(effect: ProbeEffect, rewards: Floats) -> Rewards:
    """Rewards of the honest and the bad answer to each question of a probe, from (Q, 2) numbers.

    The bad answer stands for its own edit, so that `wins` reads it as of any probe.
    """
    unknown = np.full(len(rewards), np.nan)
    return Rewards.from_arrays(
        rewards,
        np.tile([1.0, 0.0], (len(rewards), 1)),
        columns={
            effect.edited_column: np.column_stack([unknown, rewards[:, 1]]),
            effect.control_column: np.column_stack([unknown, unknown]),
        },
        prompt_ids=[f"{effect.probe.name} {i + 1}" for i in range(len(rewards))],
    )
