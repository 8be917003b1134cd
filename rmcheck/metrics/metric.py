"""What a metric is: sums per prompt, and a value of those sums.

`per_prompt` maps one dense block of rewards to (p, K) sums; `value` maps (…, K) totals to
(…) numbers. Because totals add up over prompts, the bootstrap of every metric is one matrix
product with one shared weight matrix, a paired difference comes for free, and a metric over
shards is a map and a sum. `value` must not change when all totals are multiplied by one
positive number.

The settings of a metric are the fields of its frozen dataclass, so `Accuracy(ties="wrong")` is
the metric with its settings, and `rmcheck.metrics.registry` finds it by name.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.regret.calibration import PastOf, RegretTable
from rmcheck.metrics.rewards import Block, Floats, Rewards
from rmcheck.stats.bootstrap import Statistic
from rmcheck.stats.unseen import Seen, Unseen

Direction = Literal["higher", "lower"]
Invariance = Literal[
    "proxy_shift",  # r_ij + a_i: an offset per prompt
    "proxy_scale",  # b_i * r_ij, b_i > 0
    "proxy_monotone",  # a strictly increasing map of r, per prompt
    "golden_shift",  # g_ij + a_i
    "golden_scale",  # b * g_ij, one b > 0 for the pool
    "golden_monotone",  # a strictly increasing map of g, per prompt
    "proxy_reversal",  # -r_ij
    "golden_any",  # any other g_ij: golden plays no part
]
# With one of these a model and its reversal have one value.
BLIND: frozenset[Invariance] = frozenset({"proxy_reversal", "golden_any"})
NO_GOLDEN: frozenset[Invariance] = frozenset(
    {"golden_shift", "golden_scale", "golden_monotone", "golden_any"}
)

# Values at numbers of responses further apart than this are not averaged where they depend on it.
N_SPREAD = 1.1


def forwarded(path: str) -> Any:
    """A property or method that is that of another object, such as `base.range`."""
    return property(attrgetter(path))


@dataclass(frozen=True)
class Metric(ABC):
    """A named quantity computed inside each prompt and combined over prompts.

    A subclass writes `range` and `invariances` as plain class attributes, or as properties where
    they depend on its settings.

    Attributes:
        name: Name in suites, fixtures and markers.
        direction: Whether a higher or a lower value is better.
        alternatives: Settings of which exactly one must be given.
        brought_by_model: Whether its `columns` come with the rewards of a model, not with the pool.
    """

    name: ClassVar[str]
    direction: ClassVar[Direction] = "higher"
    alternatives: ClassVar[tuple[str, ...]] = ()
    brought_by_model: ClassVar[bool] = False

    @property
    @abstractmethod
    def range(self) -> tuple[float, float]:
        """Smallest and largest possible value; infinite where unbounded."""

    @property
    def attainable(self) -> tuple[float, float]:
        """`range`, its infinite ends replaced by the value of the worst or best choices on a pool.

        It says how much a prompt that was not seen could move a value that all prompts agree on.
        """
        return self.range

    @property
    @abstractmethod
    def invariances(self) -> frozenset[Invariance]:
        """Changes of the rewards that leave the value as it is; all others change it."""

    @property
    def min_responses(self) -> int:
        """Fewest responses with which a prompt can contribute; others are left out and counted."""
        return 2

    @property
    def depends_on_n(self) -> bool:
        """True when values of prompts with different N must not be averaged."""
        return False

    @property
    def scale_free(self) -> bool:
        """True when the unit of the proxy does not matter, so that a length can stand for it."""
        return "proxy_scale" in self.invariances

    @property
    def tells_direction(self) -> bool:
        """True when golden itself has a better value than its reversal and than a constant.

        A suite in which no metric does passes a reversed model, or one that has learned nothing.
        """
        return not self.invariances & BLIND

    @property
    def columns(self) -> tuple[str, ...]:
        """Further numbers a response that it needs beside proxy and golden."""
        return ()

    @property
    def reward_columns(self) -> tuple[str, ...]:
        """Those of `columns` that are rewards of the model too, on edited responses.

        What changes the proxy changes them in the same way; NaN where a response has no edit.
        """
        return ()

    @property
    def exact(self) -> bool:
        """True for a statement about the rows themselves, which no other sample would change.

        Its bounds are its value, and few rows are no reason not to decide.
        """
        return False

    @property
    def note(self) -> str:
        """One sentence a reader of the number must know (how it was measured); empty if none."""
        return ""

    @property
    def guessed(self) -> tuple[str, ...]:
        """Why nothing is decided on the number alone; empty for all but predictions."""
        return ()

    @property
    def calibration(self) -> RegretTable | None:
        """Past reward models by which the number is corrected; None for all but predictions."""
        return None

    @property
    def needs_history(self) -> bool:
        """True where there is no number without past reward models."""
        return False

    @property
    def sums_suffice(self) -> bool:
        """True where sums of prompts give it, and it fixes nothing on the whole pool first."""
        kind = type(self)
        return kind.fitted is Metric.fitted and kind.localised is Metric.localised

    def calibrated_on(self, past: PastOf | None, where: Mapping[str, str]) -> Self:
        """This metric with the past reward models that it may be calibrated on, if it asks."""
        return self

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting that changes the number, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    @property
    def signature(self) -> str:
        """The metric and all its settings in one string, as in `accuracy|ties:half`."""
        return "|".join([self.name, *(f"{k}:{v}" for k, v in self.settings.items())])

    def require(self, rewards: Rewards) -> None:
        """Refuse rewards that this metric cannot measure.

        Raises:
            UndefinedMetricError: No prompt has enough responses, N differs between prompts by
                more than a tenth and the metric depends on it, or a column is missing.
        """
        for name in self.columns:
            if name not in rewards.columns:
                raise UndefinedMetricError(self.without(name, rewards))
        counts = rewards.counts
        enough = counts[counts >= self.min_responses]
        if not enough.size:
            most = int(counts.max()) if counts.size else 0
            raise UndefinedMetricError(
                f"{self.name} needs {self.min_responses} responses a prompt; "
                f"the pool has {most} at most"
            )
        if self.depends_on_n and enough.max() > N_SPREAD * enough.min():
            remedy = "set normalized: true, or " if "normalized" in self.settings else ""
            raise UndefinedMetricError(
                f"{self.name} depends on the number of responses, and this pool has "
                f"{enough.min()} to {enough.max()} a prompt; {remedy}use a pool of equal N"
            )

    def without(self, column: str, rewards: Rewards) -> str:
        """What to say where the rewards lack a column."""
        return (
            f"{self.name} needs the column {column!r} beside golden; the rewards have: "
            f"{', '.join(rewards.columns) or 'none'}"
        )

    def fitted(self, rewards: Rewards) -> Self:
        """This metric with whatever it must fix on the whole pool first (bin edges)."""
        return self

    def fixed(self, **found: Any) -> Self:
        """A copy with fields that are no settings: what `fitted` or `localised` found."""
        copy = replace(self)
        for name, value in found.items():
            object.__setattr__(copy, name, value)
        return copy

    def localised(self, rewards: Rewards, mask: NDArray[np.bool_]) -> Self:
        """This metric, fitted, with whatever it must fix on the prompts that are measured.

        Args:
            rewards: Of the whole pool.
            mask: (P,) True for the prompts of the slice.
        """
        return self

    @abstractmethod
    def per_prompt(self, proxy: Floats, golden: Floats) -> Floats:
        """Sums of each prompt.

        Args:
            proxy: (p, N) rewards of the model under test.
            golden: (p, N) reference rewards.

        Returns:
            (p, K) sums, finite.
        """

    def block_sums(self, block: Block) -> Floats:
        """(p, K) sums of the prompts of a block; a metric that needs `columns` writes its own."""
        return self.per_prompt(block.proxy, block.golden)

    @property
    def value_columns(self) -> int | None:
        """How many sums, the first ones, have the value in them; None for all.

        Those alone are resampled. The others are for `concerns`, `facts` and the like.
        """
        return None

    @abstractmethod
    def value(self, sums: Floats) -> Floats:
        """The metric from (…, K) totals, or their first `value_columns`; NaN if undefined."""

    def gradient(self, sums: Floats) -> Floats | None:
        """Derivative of `value` by each total, (…, K) -> (…, K); None when there is no simple one.

        With it the bootstrap can studentise (bootstrap-t).
        """
        return None

    def parts(self, sums: Floats) -> Floats | None:
        """(…, M) numbers from (…, K) totals of which `value` is the largest; None if it is none.

        With them the bounds pay for having chosen the largest.
        """
        return None

    def terms(self, sums: Floats) -> Floats | None:
        """(…, M) numbers from (…, K) totals whose absolute values add up to `value`; None if none.

        With them the bounds know that noise alone makes such a sum larger.
        """
        return None

    def debiased(self, sums: Floats) -> float | None:
        """The value, from (n, K) sums of independent units, without what noise alone adds to it.

        None where noise adds nothing.
        """
        return None

    def compared(self, sums: Floats) -> NDArray[np.bool_]:
        """(n,) which prompts golden allows to compare on, from (n, K) sums of each.

        The others say nothing of any model (golden is constant there): they are left out and
        counted, and are no reason not to decide.
        """
        return np.ones(len(sums), dtype=bool)

    def unseen(self, seen: Seen) -> Unseen | None:
        """Sums of the worst and the best unit that may not have been seen; None if none are told.

        Needed by ratios that few units move, for which no error seen is not no error; others are
        resampled, and have the rule of three where no resample changes them.
        """
        return None

    @property
    def studentised(self) -> bool:
        """True for ratios of two random means, whose bounds need bootstrap-t on small pools."""
        return False

    def bounded_by(self) -> tuple[Statistic, ...]:
        """Statistics of the same sums whose bounds, the widest of them, are those of the value.

        For a value that is a guess among several honest answers, or is moved towards a steadier
        one. Empty where the bounds are the value's own.
        """
        return ()

    @property
    def effective_units(self) -> float:
        """Units that carry the value, in effect, where they are fewer than those that took part."""
        return math.inf

    def carrying(self, seen: Seen) -> float:
        """`effective_units`, where they follow from what the units have in their sums."""
        return self.effective_units

    def whole_sums(self, rewards: Rewards) -> tuple[Floats, NDArray[np.bool_]] | None:
        """(P, K) sums of all prompts and the (P,) mask of those measured; None for most metrics.

        For a metric that cannot be computed block by block.
        """
        return None

    def concerns(self, sums: Floats) -> tuple[str, ...]:
        """Reasons not to decide on the value, from (n, K) sums per independent unit."""
        return ()

    def facts(self, sums: Floats) -> dict[str, float]:
        """Further numbers to show under a check, by name, from (K,) totals."""
        return {}


@dataclass(frozen=True)
class ColumnMetric(Metric):
    """A metric that proxy and golden alone do not give: it needs `columns`."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Further numbers a response that it needs beside proxy and golden."""

    def per_prompt(self, proxy: Floats, golden: Floats) -> Floats:
        """Refused: a block has the columns, two arrays do not.

        Raises:
            UndefinedMetricError: Always.
        """
        needed = ", ".join(repr(name) for name in self.columns)
        raise UndefinedMetricError(f"{self.name} needs the column {needed}: use block_sums")

    @abstractmethod
    def block_sums(self, block: Block) -> Floats:
        """(p, K) sums of the prompts of a block."""


def per_prompt_sums(metric: Metric, rewards: Rewards) -> tuple[Floats, NDArray[np.bool_]]:
    """Sums of every prompt of a pool.

    Returns:
        (P, K) sums, zero rows for prompts with too few responses, and the (P,) mask of the prompts
        that were measured.

    Raises:
        UndefinedMetricError: See `Metric.require`; or a sum is not finite.
    """
    metric.require(rewards)
    if (whole := metric.whole_sums(rewards)) is not None:
        return whole
    out: Floats | None = None  # K is known once the first block is measured
    measured = np.zeros(len(rewards), dtype=bool)
    for block in rewards.blocks(metric.min_responses):
        sums = metric.block_sums(block)
        require_finite(metric, sums, block, rewards.prompt_ids)
        if out is None:
            out = np.zeros((len(rewards), sums.shape[-1]))
        out[block.rows] = sums
        measured[block.rows] = True
    assert out is not None  # `require` raised otherwise
    return out, measured


def require_finite(
    metric: Metric, sums: Floats, block: Block, prompt_ids: NDArray[np.str_]
) -> None:
    """Refuse (p, K) sums of the prompts of a block that are not finite.

    Raises:
        UndefinedMetricError: Names the first such prompt.
    """
    finite = np.isfinite(sums)
    if not finite.all():
        bad = int(np.argmin(finite.all(axis=-1)))
        prompt = prompt_ids[block.rows[bad]]
        raise UndefinedMetricError(
            f"{metric.name} of prompt {str(prompt)!r} has the sums {sums[bad].tolist()}, "
            "which are not all finite"
        )
