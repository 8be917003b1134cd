"""Pairs of responses of one prompt: how often the proxy orders them as the golden reward does."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rmcheck.metrics.metric import Invariance
from rmcheck.metrics.ranks import once, order, places, smallest, tie_bounds
from rmcheck.metrics.ratio import PromptMeanMetric, ratio
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Floats, Ints
from rmcheck.metrics.settings import require_choice

# Everything that looks at the order alone, of both rewards.
ORDER_ONLY: frozenset[Invariance] = frozenset(
    {
        "proxy_shift",
        "proxy_scale",
        "proxy_monotone",
        "golden_shift",
        "golden_scale",
        "golden_monotone",
    }
)


@dataclass(frozen=True, slots=True)
class PairCounts:
    """Pairs of responses of each prompt, by how proxy and golden order them.

    Attributes:
        total: All pairs, N (N - 1) / 2; (p,) of them where only some responses take part.
        concordant: (p,) pairs in the same strict order in both.
        discordant: (p,) pairs in opposite strict order.
        proxy_tied: (p,) pairs with equal proxy rewards.
        golden_tied: (p,) pairs with equal golden rewards.
        both_tied: (p,) pairs with both equal.
    """

    total: int | Ints
    concordant: Ints
    discordant: Ints
    proxy_tied: Ints
    golden_tied: Ints
    both_tied: Ints


def pair_counts(proxy: Floats, golden: Floats) -> PairCounts:
    """Count the pairs of every row of (p, N) rewards, exactly.

    Of two arrays that nobody can write to, they are counted once, whichever is the proxy.
    """
    if id(proxy) <= id(golden):
        return _pair_counts(proxy, golden)
    found = _pair_counts(golden, proxy)
    return replace(found, proxy_tied=found.golden_tied, golden_tied=found.proxy_tied)


@once
def _pair_counts(proxy: Floats, golden: Floats) -> PairCounts:
    """`pair_counts`, in this order.

    Rows are sorted by the proxy, and by falling golden inside a tie, so that the strict ascents
    left in golden's ranks are the concordant pairs; ties come from runs in sorted rows.
    Memory is O(p N): no array of pairs is made.
    """
    size = proxy.shape[1]
    by_proxy, by_golden = order(proxy), order(golden)
    total = size * (size - 1) // 2
    proxy_tied = _tied_pairs(by_proxy.start, by_proxy.stop)
    golden_tied = _tied_pairs(by_golden.start, by_golden.stop)
    if by_proxy.tied:
        falling = size - 1 - places(golden).astype(np.int64)
        joint = np.sort(by_proxy.scatter(by_proxy.start) * size + falling, axis=1)
        concordant = _ascents(size - 1 - joint % size)
        both_tied = _tied_pairs(*tie_bounds(joint))
    else:
        concordant, both_tied = _ascents(by_proxy.arrange(places(golden))), proxy_tied
    discordant = total - golden_tied - (proxy_tied - both_tied) - concordant
    return PairCounts(total, concordant, discordant, proxy_tied, golden_tied, both_tied)


def pair_counts_among(proxy: Floats, golden: Floats, among: NDArray[np.bool_]) -> PairCounts:
    """Count the pairs of which both responses are among some.

    The others are put above all in both rewards: they tie with one another in both, and are
    concordant with every response that takes part, so that their pairs can be taken off.

    Args:
        proxy: (p, N) rewards of the model under test.
        golden: (p, N) reference rewards.
        among: (p, N) which responses take part.
    """
    found = pair_counts(np.where(among, proxy, np.inf), np.where(among, golden, np.inf))
    inside = among.sum(axis=1)
    outside = proxy.shape[1] - inside
    tied = outside * (outside - 1) // 2
    return PairCounts(
        total=inside * (inside - 1) // 2,
        concordant=found.concordant - inside * outside,
        discordant=found.discordant,
        proxy_tied=found.proxy_tied - tied,
        golden_tied=found.golden_tied - tied,
        both_tied=found.both_tied - tied,
    )


def _tied_pairs(start: Ints, stop: Ints) -> Ints:
    # A group of m has m members of which each has m - 1 partners: twice its pairs.
    return np.asarray((stop - start - 1).sum(axis=1) // 2, dtype=np.int64)


def _ascents(ranks: NDArray[np.integer]) -> Ints:
    """(p,) pairs of positions a < b of a row with ranks[a] < ranks[b].

    Comparing the rows with themselves shifted by one, two, … is quadratic in N, but with prompts
    along the fast axis and the smallest integers that fit it runs at the speed of SIMD, which
    beats an O(N log N) merge in numpy far beyond any N in use.
    """
    size, rows = ranks.shape[1], ranks.shape[0]
    narrow = np.ascontiguousarray(ranks.T, dtype=smallest(size))
    total = np.zeros(rows, dtype=np.int64)
    counted = np.zeros((size, rows), dtype=np.uint8)
    for shift in range(1, size):
        ascends = narrow[:-shift] < narrow[shift:]
        counted[: size - shift] += ascends.view(np.uint8)
        if shift % 255 == 0 or shift == size - 1:  # before a uint8 could overflow
            total += counted.sum(axis=0, dtype=np.int64)
            counted[:] = 0
    return total


@register
@dataclass(frozen=True)
class Accuracy(PromptMeanMetric):
    """Share of pairs of a prompt's responses that the proxy orders as the golden reward does.

    acc_i = Σ [1{Δr Δg > 0} + ½ 1{Δr = 0}] / #{Δg ≠ 0} over the N(N−1)/2 pairs of prompt i, then
    the mean over prompts. It equals (1 + Somers' D) / 2, and the ROC AUC where golden is 0 or 1.
    Pairs tied in golden are dropped; a prompt with no other pair is undefined and left out.
    Higher is better; a proxy that knows nothing has 0.5.

    Args:
        ties: A pair tied in the proxy counts one half (`half`), or nothing (`wrong`, as in
            RewardBench and RM-Bench, so that a constant proxy gets 0).
        average: Mean over prompts, each with the same weight (`prompts`), or over all pairs of
            the pool (`pairs`), in which a prompt weighs as much as it has pairs.

    Caution:
        Checkpoints of equal accuracy lead to very different policies: put `bon_drop_ratio` beside
        it. On 200 pairs a drop of .02 cannot be told from noise.

    Reference:
        Lambert et al. 2024, RewardBench; Somers 1962.
    """

    name = "accuracy"
    range = (0.0, 1.0)
    invariances = ORDER_ONLY

    ties: Literal["half", "wrong"] = "half"
    average: Literal["prompts", "pairs"] = "prompts"

    def __post_init__(self) -> None:
        require_choice("ties", self.ties, ("half", "wrong"))
        require_choice("average", self.average, ("prompts", "pairs"))

    def prompt_values(self, proxy: Floats, golden: Floats) -> Floats:
        """(p,) accuracy of each prompt; NaN where all golden rewards are equal."""
        return ratio(*self.credit(proxy, golden))

    def per_prompt(self, proxy: Floats, golden: Floats) -> Floats:
        """Sums over prompts (see the base class), or (p, 4) with pairs as weights."""
        if self.average == "prompts":
            return super().per_prompt(proxy, golden)
        credit, pairs = self.credit(proxy, golden)
        defined = (pairs > 0).astype(float)  # a model that ties all pairs has a value all the same
        return np.stack([credit, pairs, defined, defined], axis=-1)

    def credit(self, proxy: Floats, golden: Floats) -> tuple[Floats, Floats]:
        """(p,) pairs ordered rightly, ties counted as asked, and (p,) pairs that count."""
        return self.judged(pair_counts(proxy, golden))

    def judged(self, counts: PairCounts) -> tuple[Floats, Floats]:
        """`credit` of pairs that are counted already."""
        comparable = (counts.total - counts.golden_tied).astype(float)
        credit = counts.concordant.astype(float)
        if self.ties == "half":
            credit += (counts.proxy_tied - counts.both_tied) / 2
        return credit, comparable
