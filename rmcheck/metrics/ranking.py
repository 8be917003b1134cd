"""Agreement of two rankings of a prompt's responses."""

import itertools
from dataclasses import dataclass

import numpy as np

from rmcheck.metrics.metric import Invariance
from rmcheck.metrics.normalizable import NormalizableMetric
from rmcheck.metrics.pairwise import ORDER_ONLY, pair_counts
from rmcheck.metrics.ranks import average_ranks, constant, order
from rmcheck.metrics.ratio import PromptMeanMetric, ratio
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Floats

LINEAR: frozenset[Invariance] = frozenset(
    {"proxy_shift", "proxy_scale", "golden_shift", "golden_scale"}
)


def _correlation(a: Floats, b: Floats) -> Floats:
    """(p,) Pearson correlation of the rows of two (p, N) arrays; NaN where either is constant."""
    undefined = constant(a) | constant(b)
    centred_a = a - a.mean(axis=1, keepdims=True)
    centred_b = b - b.mean(axis=1, keepdims=True)
    # Scaled by the largest deviation first, so that no square over- or underflows.
    for centred in (centred_a, centred_b):
        largest = np.abs(centred).max(axis=1, keepdims=True)
        centred /= np.where(largest == 0, 1.0, largest)
    product = np.einsum("ij,ij->i", centred_a, centred_b)
    norms = np.sqrt(
        np.einsum("ij,ij->i", centred_a, centred_a) * np.einsum("ij,ij->i", centred_b, centred_b)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.clip(product / norms, -1.0, 1.0)
    return np.where(undefined, np.nan, found)


@register
@dataclass(frozen=True)
class Pearson(PromptMeanMetric):
    """Pearson correlation of proxy and golden rewards inside a prompt, averaged over prompts.

    ρ_i = Σ_j (r_j − r̄)(g_j − ḡ) / √(Σ(r_j − r̄)² Σ(g_j − ḡ)²). Undefined on a prompt where proxy
    or golden is constant. It needs golden magnitudes, not only an order, and is biased towards 0
    at small N (true 0.7: mean 0.65 at N = 5). Higher is better; 1 is a linear proxy.

    Caution:
        Where golden only ranks (grades, votes), its magnitudes mean nothing: take `spearman`.
        Values at different N do not compare.

    Reference:
        Wen et al. 2024, arXiv 2410.05584, eq. 8.
    """

    name = "pearson"
    range = (-1.0, 1.0)
    invariances = LINEAR

    def prompt_values(self, proxy: Floats, golden: Floats) -> Floats:
        return _correlation(proxy, golden)


@register
@dataclass(frozen=True)
class Spearman(PromptMeanMetric):
    """Spearman's rank correlation inside a prompt, averaged over prompts.

    Pearson's correlation of the ranks, equal rewards sharing the mean of their ranks. Undefined on
    a prompt where proxy or golden is constant. Biased towards 0 at small N (true 0.683: mean 0.59
    at N = 5). Higher is better; 1 is the same order.

    Caution:
        Values at different N do not compare. It weighs the worst responses like the best, and an
        optimiser goes to the best.

    Reference:
        Spearman 1904; Wen et al. 2024, eq. 10.
    """

    name = "spearman"
    range = (-1.0, 1.0)
    invariances = ORDER_ONLY

    def prompt_values(self, proxy: Floats, golden: Floats) -> Floats:
        size, by_proxy = proxy.shape[1], order(proxy)
        ranks = by_proxy.average_ranks, by_proxy.arrange(average_ranks(golden))
        # Sums of ranks are exact, and so are those of squares and products less that of the mean.
        centre = size * (size + 1) ** 2 / 4
        first, both, second = (
            np.einsum("ij,ij->i", a, b) - centre
            for a, b in itertools.combinations_with_replacement(ranks, 2)
        )
        return np.clip(ratio(both, np.sqrt(first * second)), -1.0, 1.0)


@register
@dataclass(frozen=True)
class Kendall(PromptMeanMetric):
    """Kendall's τ-b inside a prompt, averaged over prompts.

    τ_b = (C − D) / √((n₀ − n₁)(n₀ − n₂)) with n₀ = N(N−1)/2 pairs, C concordant, D discordant, n₁
    tied in the proxy, n₂ tied in golden. Without ties it is 2 accuracy − 1. Undefined on a prompt
    where proxy or golden is constant. Higher is better; 1 is the same order.

    Caution:
        Where golden has ties and the proxy has none, even the best order stays below 1. It weighs
        the worst responses like the best.

    Reference:
        Kendall 1945; Wen et al. 2024, eq. 11.
    """

    name = "kendall"
    range = (-1.0, 1.0)
    invariances = ORDER_ONLY

    def prompt_values(self, proxy: Floats, golden: Floats) -> Floats:
        counts = pair_counts(proxy, golden)
        in_proxy = (counts.total - counts.proxy_tied).astype(float)
        in_golden = (counts.total - counts.golden_tied).astype(float)
        balance = (counts.concordant - counts.discordant).astype(float)
        found = ratio(balance, np.sqrt(in_proxy * in_golden))
        return np.clip(found, -1.0, 1.0)


@register
@dataclass(frozen=True)
class MRR(NormalizableMetric):
    """Mean reciprocal golden rank of the response that the proxy puts first.

    1 / rank*_i, where rank* counts from 1 = best in golden; golden ties share the mean of their
    ranks, and a tie at the proxy's top averages 1 / rank* over the tied responses. Undefined on a
    prompt where golden is constant. Higher is better; chance is H_N / N (0.457 at N = 5), so the
    plain value depends on N.

    Args:
        normalized: Give (value − chance) / (best − chance), with chance and best taken over the
            prompt's own responses: 0 for a proxy that knows nothing, 1 for a perfect one, any N.

    Caution:
        It looks at one response a prompt, so that it is noisy; a near miss among good responses
        costs as much as a bad pick among bad ones.

    Reference:
        Wen et al. 2024, eq. 14.
    """

    name = "mrr"
    invariances = ORDER_ONLY

    @property
    def range(self) -> tuple[float, float]:
        """0 to 1; without a lower end when normalised (N − 1 responses may tie for best)."""
        return (-np.inf, 1.0) if self.normalized else (0.0, 1.0)

    def prompt_values(self, proxy: Floats, golden: Floats) -> Floats:
        if self.normalized:
            reciprocal = 1 / (golden.shape[1] + 1 - average_ranks(golden))
            found = _of_first(reciprocal, proxy)
            found = _above_chance(found, reciprocal.mean(axis=1), reciprocal.max(axis=1))
        else:
            found = _reciprocal_rank(proxy, golden)
        return np.where(constant(golden), np.nan, found)


@register
@dataclass(frozen=True)
class NDCG(NormalizableMetric):
    """Normalised discounted cumulative gain of the proxy's order, golden ranks as relevance.

    DCG = Σ_p rel(p) / log₂(p + 1) over the responses in falling order of the proxy, rel being the
    ascending golden rank (worst 1, best N, ties averaged), divided by the DCG of the golden order.
    Responses tied in the proxy share their mean relevance, as in scikit-learn's `ndcg_score`.
    Undefined on a prompt where golden is constant. Higher is better; very compressed (chance is
    0.861 at N = 5) and dependent on N unless normalised.

    Args:
        normalized: Give (value − chance) / (1 − chance): 0 for a proxy that knows nothing.

    Caution:
        Values crowd near 1: look at differences, or at `normalized`. The golden magnitudes play no
        part.

    Reference:
        Järvelin & Kekäläinen 2002; Wen et al. 2024, eq. 15.
    """

    name = "ndcg"
    invariances = ORDER_ONLY

    @property
    def range(self) -> tuple[float, float]:
        """0 to 1; without a lower end when normalised."""
        return (-np.inf, 1.0) if self.normalized else (0.0, 1.0)

    def prompt_values(self, proxy: Floats, golden: Floats) -> Floats:
        size = proxy.shape[1]
        discounts = 1 / np.log2(np.arange(size + 1, 1, -1))  # of ascending places
        by_proxy, by_golden = order(proxy), order(golden)
        ideal = by_golden.weighted(by_golden.ranks, discounts)
        gained = by_proxy.weighted(by_golden.ranks, discounts)
        found = np.minimum(gained / ideal, 1.0)
        if self.normalized:
            chance = (size + 1) / 2 * discounts.sum() / ideal
            found = _above_chance(found, chance, np.ones(found.size))
        return np.where(constant(golden), np.nan, found)


def _of_first(values: Floats, proxy: Floats) -> Floats:
    """(p,) value of the response that the proxy puts first; their mean where several are."""
    first = proxy == proxy.max(axis=1, keepdims=True)
    return np.asarray(np.where(first, values, 0.0).sum(axis=1) / first.sum(axis=1))


def _reciprocal_rank(proxy: Floats, golden: Floats) -> Floats:
    """(p,) 1 / golden rank of the response that the proxy puts first, without sorting any."""
    best = proxy.argmax(axis=1)[:, None]
    level = np.take_along_axis(golden, best, axis=1)
    above = np.count_nonzero(golden > level, axis=1)
    found = 2 / (1 + above + np.count_nonzero(golden >= level, axis=1))
    tied = np.count_nonzero(proxy == np.take_along_axis(proxy, best, axis=1), axis=1) > 1
    if tied.any():
        reciprocal = 1 / (golden.shape[1] + 1 - average_ranks(golden[tied]))
        found[tied] = _of_first(reciprocal, proxy[tied])
    return np.asarray(found)


def _above_chance(found: Floats, chance: Floats, best: Floats) -> Floats:
    """(found − chance) / (best − chance); rows where best is chance are undefined anyway."""
    return ratio(found - chance, best - chance)
