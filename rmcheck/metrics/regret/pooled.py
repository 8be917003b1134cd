"""Best-of-n beyond a prompt's own responses, by looking at the tail of all prompts together.

Few responses a prompt say nothing about the best of many: that one lies in the tail of the proxy's
distribution, which no single prompt reaches. All prompts together do reach it. Each response is
measured from its prompt's mean, in proxy and in golden, and best-of-n is drawn from all of them as
if they were the answers to one prompt. That pool of all shows how the drop ratio changes between
n₀, which every prompt can measure itself, and n:

    drop(n) = drop(n₀, inside prompts) + [drop(n, all together) − drop(n₀, all together)]

What is assumed is that the prompts' answers spread alike, or that proxy and golden spread in
proportion. Neither need be so, and a few labelled responses cannot tell: a proxy that is blind
where it is unsure, or that likes one answer in each prompt too well, loses more; a golden that ends
at a highest grade, less. So the bounds hold two other answers too: the drop at n = 2, right at any
n in a Gaussian world, and the same tail after each prompt's proxy was scaled to unit spread. Beyond
n₀ this alone decides nothing (`rmcheck.metrics.regret.method`).
"""

import math
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.best_of_n import DropOf, DropRatio, best_of_n_gains
from rmcheck.metrics.regret.tail import BestOf, TailDrop, best_of, reach
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.stats.bootstrap import Statistic

# Drawing n₀ from N ≥ 4 n₀ responses is as precise as it gets; from fewer than 5, all are drawn.
PRECISE_SHARE = 4
LEAST_ANCHOR = 5
# Share of the prompts that must have as many responses as are drawn inside prompts.
MIN_SHARE = 0.5
# Responses, in effect, that must stand behind the best of n drawn from all together.
MIN_TAIL = 40.0

# (p, 11) sums: gains inside prompts at n₀, of all together at n₀ and at n; each the proxy's and
# golden's; then 1; the gains of all together at n₀ and n by the proxy scaled to unit spread; and
# gains inside prompts at n = 2, the proxy's and golden's.
INSIDE, ANCHOR, TAIL, COUNT, UNIT_ANCHOR, UNIT_TAIL, PAIRS = 0, 2, 4, 6, 7, 8, 9


_POOLED = TailDrop((INSIDE, INSIDE + 1), (ANCHOR, ANCHOR + 1), (TAIL, TAIL + 1))
_UNIT = TailDrop((INSIDE, INSIDE + 1), (UNIT_ANCHOR, ANCHOR + 1), (UNIT_TAIL, TAIL + 1))


@dataclass(frozen=True)
class PooledDrop(DropRatio):
    """Drop ratio of best-of-n, extrapolated from few responses a prompt; see the module.

    With M labelled responses the tail is seen up to the n at which `min_tail` of them still stand
    behind the best, about 2 M / min_tail. At a larger n the value is that at the end of what is
    seen, and nothing is decided on it. Lower is better. Undefined where golden gains nothing.

    Args:
        n: Responses that the policy would draw.
        min_tail: Labelled responses, in effect, that must stand behind the best of n.
    """

    name = "pooled_drop"
    range = (-np.inf, np.inf)
    # Not the scale of single prompts: their tails are looked at together.
    invariances = frozenset({"proxy_shift", "golden_shift", "golden_scale"})
    scale_free = True  # one factor for the whole proxy changes nothing

    n: int
    min_tail: float = MIN_TAIL
    anchor: int = field(default=0, init=False)
    reach: int = field(default=0, init=False)
    tails: tuple[BestOf, ...] = field(default=(), init=False, repr=False, compare=False)

    @property
    def min_responses(self) -> int:
        """What is drawn inside prompts."""
        return max(2, self.anchor)

    def fitted(self, rewards: Rewards) -> Self:
        """This metric with the number that is drawn inside prompts, and the ranks of the pool."""
        counts = np.sort(rewards.counts[rewards.counts >= 2])[::-1]
        if not counts.size:
            return self
        most = int(counts[math.ceil(MIN_SHARE * counts.size) - 1])
        anchor = min(self.n, most, max(LEAST_ANCHOR, most // PRECISE_SHARE))
        return self.fixed(anchor=anchor).localised(rewards, np.ones(len(rewards), dtype=bool))

    def localised(self, rewards: Rewards, mask: NDArray[np.bool_]) -> Self:
        if self.tails and mask.all():
            return self  # `fitted` has seen the same prompts
        rows = _centred(rewards, mask, self.min_responses)
        if rows is None:
            return self
        proxy, golden, weights, unit = rows
        seen = max(self.anchor, min(self.n, reach(proxy.size, self.min_tail)))
        by_proxy = best_of(proxy, golden, weights, (self.anchor, seen))
        by_golden = best_of(golden, golden, weights, (self.anchor, seen))
        by_unit = best_of(unit, golden, weights, (self.anchor, seen))
        tails = (by_proxy[0], by_golden[0], by_proxy[1], by_golden[1], *by_unit)
        return self.fixed(anchor=self.anchor, reach=seen, tails=tails)

    @property
    def note(self) -> str:
        """Up to where the labels carry the value."""
        if not self.anchor:
            return ""
        if self.anchor == self.n:
            return f"measured at n={self.n} inside prompts"
        return (
            f"measured at n={self.anchor} inside prompts, "
            f"to n={self.reach} in the tail of all prompts together"
        )

    def per_prompt(self, proxy: Floats, golden: Floats) -> Floats:
        """(p, 11): gains inside prompts and of all together, 1, and those of the other answers.

        Raises:
            UndefinedMetricError: The metric has not seen a pool yet.
        """
        if not self.tails:
            raise UndefinedMetricError(f"{self.name} must first see the pool: call fitted(rewards)")
        inside, pairs = (best_of_n_gains(proxy, golden, n) for n in (self.anchor, 2))
        proxy = proxy - proxy.mean(axis=1, keepdims=True)
        golden = golden - golden.mean(axis=1, keepdims=True)
        unit = _to_unit_spread(proxy)
        selectors = (proxy, golden, proxy, golden, unit, unit)
        columns = [
            tail.influences(selector, golden).mean(axis=1)
            for tail, selector in zip(self.tails, selectors, strict=True)
        ]
        return np.column_stack([inside, *columns[:4], np.ones(len(golden)), *columns[4:], pairs])

    def value(self, sums: Floats) -> Floats:
        """The drop inside prompts, and what the tail of all adds.

        A drop near 0 may come out below 0, by sampling error of the tail.
        """
        return _POOLED.value(sums)

    def gradient(self, sums: Floats) -> Floats:
        return _POOLED.gradient(sums)

    def bounded_by(self) -> tuple[Statistic, ...]:
        """Three answers, one right in each of the worlds that few labels cannot tell apart."""
        if self.anchor == self.n:
            return ()
        return (_POOLED, _UNIT, DropOf(PAIRS, PAIRS + 1))

    def concerns(self, sums: Floats) -> tuple[str, ...]:
        """Golden gains nothing inside prompts, or the labels do not reach n."""
        found = super().concerns(sums[:, [INSIDE, INSIDE + 1, COUNT]])
        if self.n > self.reach:
            found += (
                f"the labels show the tail up to n={self.reach}, not n={self.n}: label more "
                "responses, or the proxy's choices (rmcheck sample --design nested)",
            )
        return found

    def facts(self, sums: Floats) -> dict[str, float]:
        """Gains inside prompts in golden units, and the drop inside prompts."""
        inside = super().facts(sums[[INSIDE, INSIDE + 1, COUNT]])
        if not inside or not sums[INSIDE + 1]:
            return inside
        return inside | {f"drop_at_{self.anchor}": float(1 - sums[INSIDE] / sums[INSIDE + 1])}


def _centred(
    rewards: Rewards, mask: NDArray[np.bool_], min_responses: int
) -> tuple[Floats, Floats, Floats, Floats] | None:
    """(M,) proxy, golden, weights that are equal for every prompt, and proxy of unit spread.

    Proxy and golden are measured from their prompt's mean.
    """
    parts = []
    for block in rewards.blocks(min_responses):
        rows = mask[block.rows]
        if not rows.any():
            continue
        proxy, golden = block.proxy[rows], block.golden[rows]
        weights = np.full(proxy.shape, 1 / proxy.shape[1])
        proxy = proxy - proxy.mean(axis=1, keepdims=True)
        golden = golden - golden.mean(axis=1, keepdims=True)
        columns = (proxy, golden, weights, _to_unit_spread(proxy))
        parts.append([column.ravel() for column in columns])
    if not parts:
        return None
    proxy, golden, weights, unit = (np.concatenate(column) for column in zip(*parts, strict=True))
    return proxy, golden, weights / weights.sum(), unit


def _to_unit_spread(centred: Floats) -> Floats:
    """(p, N) values above their prompt's mean, each prompt's with a standard deviation of 1."""
    spread = centred.std(axis=1, keepdims=True)
    return np.asarray(centred / np.where(spread == 0, 1.0, spread))
