"""Best-of-n beyond a prompt's own responses, by looking at the tail of all prompts together.

Few responses a prompt say nothing about the best of many: that one lies in the tail of the proxy's
distribution, which no single prompt reaches. All prompts together do reach it. Each response is
measured from its prompt's mean, in proxy and in golden, and best-of-n is drawn from all of them as
if they were the answers to one prompt. That pool of all shows how the drop ratio changes between
n₀, which every prompt can measure itself, and n:

    drop(n) = drop(n₀, inside prompts) + [drop(n, all together) − drop(n₀, all together)]

What is assumed is that the prompts' answers spread alike, or that proxy and golden spread in
proportion. Where the proxy's spread differs between prompts and golden's does not follow, the
prediction is too high, never too low.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.best_of_n import DropRatio, best_of_n_gains
from rmcheck.metrics.metric import Invariance, ratio, ratio_gradient
from rmcheck.metrics.rewards import Block, Floats, Rewards

# Drawing n₀ from N ≥ 4 n₀ responses is as precise as it gets; from fewer than 5, all are drawn.
PRECISE_SHARE = 4
LEAST_ANCHOR = 5
# Share of the prompts that must have as many responses as are drawn inside prompts.
MIN_SHARE = 0.5
# Responses, in effect, that must stand behind the best of n drawn from all together.
MIN_TAIL = 40.0

# (p, 7) sums: gains inside prompts at n₀, of all together at n₀ and at n; each the proxy's and
# golden's; then 1.
INSIDE, ANCHOR, TAIL, COUNT = 0, 2, 4, 6


@dataclass(frozen=True, eq=False)
class BestOf:
    """What each response of a pool adds to the best of n drawn from all of them.

    The expected golden reward of the best of n is ∫ m(u) n uⁿ⁻¹ du over the ranks u. A response
    counts for its own share of that, and it moves the rank of all that lie above it; with both,
    the mean over responses is the value, and its spread is that of the value.

    Attributes:
        values: (V,) the selector's distinct values, ascending.
        own: (V,) what golden of a response with this value is multiplied with.
        above: (V,) what its rank does to the responses above it.
    """

    values: Floats
    own: Floats
    above: Floats

    def influences(self, selector: Floats, golden: Floats) -> Floats:
        """(p, N) influences; their mean over all responses is the expected golden reward.

        Args:
            selector: (p, N) values among `values`.
            golden: (p, N) golden rewards above their prompt's mean.
        """
        # Prompts outside the slice that was ranked are measured and then left out.
        place = np.minimum(np.searchsorted(self.values, selector), self.values.size - 1)
        found: Floats = self.own[place] * golden + self.above[place]
        return found


def best_of(selector: Floats, golden: Floats, weights: Floats, at: Sequence[int]) -> list[BestOf]:
    """The best of each n in `at`, drawn from (M,) responses with these weights.

    Args:
        selector: (M,) what the best is chosen by.
        golden: (M,) golden rewards above their prompt's mean.
        weights: (M,) shares of the responses; they sum to 1.
        at: Each n.
    """
    values, place = np.unique(selector, return_inverse=True)
    mass: Floats = np.bincount(place, weights).astype(np.float64)
    upto: Floats = np.cumsum(mass)
    below, mean = upto - mass, np.bincount(place, weights * golden) / mass
    middle = (upto + below) / 2
    found = []
    for n in at:
        push = mass * mean * n * (n - 1) * middle ** max(0, n - 2)
        above = np.cumsum(push[::-1])[::-1] - push / 2
        found.append(BestOf(values, (upto**n - below**n) / mass, above - mass @ above))
    return found


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

    n: int
    min_tail: float = MIN_TAIL
    anchor: int = field(default=0, init=False)
    reach: int = field(default=0, init=False)
    tails: tuple[BestOf, ...] = field(default=(), init=False, repr=False, compare=False)

    @property
    def invariances(self) -> frozenset[Invariance]:  # type: ignore[override]
        """Not the scale of single prompts: their tails are looked at together."""
        return frozenset({"proxy_shift", "golden_shift", "golden_scale"})

    @property
    def scale_free(self) -> bool:
        """True: one factor for the whole proxy changes nothing."""
        return True

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
        found = replace(self)
        object.__setattr__(found, "anchor", anchor)
        return found.localised(rewards, np.ones(len(rewards), dtype=bool))

    def localised(self, rewards: Rewards, mask: NDArray[np.bool_]) -> Self:
        """This metric with the ranks of the prompts that are measured."""
        if self.tails and mask.all():
            return self  # `fitted` has seen the same prompts
        rows = _centred(rewards, mask, self.min_responses)
        if rows is None:
            return self
        proxy, golden, weights = rows
        seen = max(self.anchor, min(self.n, reach(proxy.size, self.min_tail)))
        by_proxy = best_of(proxy, golden, weights, (self.anchor, seen))
        by_golden = best_of(golden, golden, weights, (self.anchor, seen))
        found = replace(self)
        for name, value in {
            "anchor": self.anchor,
            "reach": seen,
            "tails": (by_proxy[0], by_golden[0], by_proxy[1], by_golden[1]),
        }.items():
            object.__setattr__(found, name, value)
        return found

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

    def drawn(self, size: int) -> int:
        """What is drawn inside prompts."""
        return self.anchor

    def block_sums(self, block: Block) -> Floats:
        """(p, 7): the proxy's and golden's gain, inside prompts and of all together, and 1.

        Raises:
            UndefinedMetricError: The metric has not seen a pool yet.
        """
        if not self.tails:
            raise UndefinedMetricError(f"{self.name} must first see the pool: call fitted(rewards)")
        proxy = block.proxy - block.proxy.mean(axis=1, keepdims=True)
        golden = block.golden - block.golden.mean(axis=1, keepdims=True)
        columns = [
            tail.influences(selector, golden).mean(axis=1)
            for tail, selector in zip(self.tails, (proxy, golden, proxy, golden), strict=True)
        ]
        inside = best_of_n_gains(block.proxy, block.golden, self.anchor)
        return np.column_stack([inside, *columns, np.ones(len(golden))])

    def value(self, sums: Floats) -> Floats:
        """The drop inside prompts, and what the tail of all adds.

        A drop near 0 may come out below 0, by sampling error of the tail.
        """
        inside, anchor, tail = (
            ratio(sums[..., i], sums[..., i + 1]) for i in (INSIDE, ANCHOR, TAIL)
        )
        return 1 - inside + anchor - tail

    def gradient(self, sums: Floats) -> Floats:
        """Derivative of `value` by every total."""
        out = np.zeros_like(sums)
        for i, sign in ((INSIDE, -1.0), (ANCHOR, 1.0), (TAIL, -1.0)):
            out[..., i : i + 2] = ratio_gradient(sums[..., i : i + 2], sign=sign)
        return out

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


def reach(responses: int, min_tail: float) -> int:
    """Largest n whose best is still the mean of `min_tail` responses in effect.

    The weights n uⁿ⁻¹ / M of M responses have the effective size M (2n − 1) / n².
    """
    if min_tail <= 0:
        return 2**62
    room = responses * responses - responses * min_tail
    return int((responses + math.sqrt(room)) / min_tail) if room > 0 else 1


def _centred(
    rewards: Rewards, mask: NDArray[np.bool_], min_responses: int
) -> tuple[Floats, Floats, Floats] | None:
    """(M,) proxy and golden above the prompt's means, and weights equal for every prompt."""
    parts = []
    for block in rewards.blocks(min_responses):
        rows = mask[block.rows]
        if not rows.any():
            continue
        proxy, golden = block.proxy[rows], block.golden[rows]
        weights = np.full(proxy.shape, 1 / proxy.shape[1])
        parts.append(
            [
                (proxy - proxy.mean(axis=1, keepdims=True)).ravel(),
                (golden - golden.mean(axis=1, keepdims=True)).ravel(),
                weights.ravel(),
            ]
        )
    if not parts:
        return None
    proxy, golden, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    return proxy, golden, weights / weights.sum()
