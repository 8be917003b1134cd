"""Best-of-n from a pool: what the proxy's choice gains, as a share of what golden's would.

Best-of-n draws n of a prompt's N responses without replacement and keeps the one that the selector
scores highest. Its expectation is exact: each response has a weight that depends only on its rank.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UsageError
from rmcheck.metrics.at_n import AtN
from rmcheck.metrics.metric import Invariance
from rmcheck.metrics.ranks import Order, constant, order
from rmcheck.metrics.ratio import PromptMeanMetric, RatioMetric, ratio, ratio_gradient
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Floats
from rmcheck.metrics.settings import require_number
from rmcheck.stats.bootstrap import Statistic
from rmcheck.stats.unseen import Seen, Unseen

# Below this many standard errors of the mean golden gain, a ratio over it means nothing.
MIN_GOLDEN_GAIN_Z = 5.0

SELECTION: frozenset[Invariance] = frozenset(
    {"proxy_shift", "proxy_scale", "proxy_monotone", "golden_shift", "golden_scale"}
)


def bon_weights(size: int, n: int) -> Floats:
    """Probability of each of `size` ranks to be the best of n drawn without replacement.

    w_k = C(k − 1, n − 1) / C(N, n) for ascending rank k ≥ n, by the stable recursion
    w_N = n / N, w_k = w_{k+1} (k − n + 1) / k.

    Args:
        size: N, responses in the pool.
        n: Responses drawn, 1 ≤ n ≤ N.

    Returns:
        (N,) weights from the lowest rank to the highest; they sum to 1.

    Raises:
        UsageError: n is not between 1 and N.

    Reference:
        Nakano et al. 2021, WebGPT, appendix I.
    """
    if not 1 <= n <= size:
        raise UsageError(f"best of {n} from {size} responses; n must be 1 to {size}")
    weights = np.zeros(size)
    ranks = np.arange(size - 1, n - 1, -1)
    weights[n - 1 :] = (n / size * np.cumprod(np.concatenate([[1.0], (ranks - n + 1) / ranks])))[
        ::-1
    ]
    return weights


def tied_bon_weights(selector: Floats, n: int) -> Floats:
    """Probability of each response to be chosen as the best of n by the selector.

    Responses that tie share the weights of the ranks they occupy, as with random tie-breaking.

    Args:
        selector: (p, N) rewards to choose by.
        n: Responses drawn, 1 ≤ n ≤ N.

    Returns:
        (p, N) weights in the order of the responses; every row sums to 1.

    Raises:
        UsageError: n is not between 1 and N.
    """
    found = order(selector)
    return found.scatter(found.shared(bon_weights(selector.shape[1], n)))


def best_of_n_gains(proxy: Floats, golden: Floats, n: int) -> Floats:
    """Expected golden reward of best-of-n above the prompt's mean.

    Args:
        proxy: (p, N) rewards of the model under test.
        golden: (p, N) reference rewards.
        n: Responses drawn, 1 ≤ n ≤ N.

    Returns:
        (p, 2) gain when the proxy chooses, and when golden itself chooses (never smaller), in
        golden units.

    Raises:
        UsageError: n is not between 1 and N.
    """
    weights = bon_weights(golden.shape[1], n)
    return np.stack([_gain(order(by), golden, weights) for by in (proxy, golden)], axis=-1)


def _gain(by: Order, golden: Floats, weights: Floats) -> Floats:
    """(p,) golden reward above the prompt's mean, by the weight that each place has."""
    # Measured from the lowest golden reward, so that a constant golden gains exactly 0.
    above = golden - golden.min(axis=1, keepdims=True)
    return np.asarray(by.weighted(above, weights) - above.mean(axis=1))


def bon_kl(n: int) -> float:
    """KL divergence in nats of best-of-n from the policy it draws from: ln n − (n − 1) / n.

    Exact where no two rewards tie, an upper bound otherwise. Divide by ln 2 for bits.

    Raises:
        UsageError: n is below 1.

    Reference:
        Stiennon et al. 2020, appendix G.3; Beirami et al. 2024, theorem 3.1.
    """
    if n < 1:
        raise UsageError(f"best of {n}; n must be 1 or more")
    return math.log(n) - (n - 1) / n


def golden_gain_concerns(golden: Floats, prompts: Floats, least: float = 0.0) -> tuple[str, ...]:
    """Why nothing should be decided on a ratio over these golden gains; empty if it may.

    Args:
        golden: (n,) golden gain of each independent unit, summed over its prompts.
        prompts: (n,) number of prompts of each unit.
        least: Mean gain a prompt, in golden units, below which nothing is decided.
    """
    found = []
    if golden.size > 1:
        error = golden.std(ddof=1) / math.sqrt(golden.size)
        if golden.mean() < MIN_GOLDEN_GAIN_Z * error or golden.mean() <= 0:
            z = golden.mean() / error if error else 0.0
            found.append(
                f"golden gain near zero: {z:.1f} standard errors, fewer than {MIN_GOLDEN_GAIN_Z:g}"
            )
    gain = golden.sum() / max(prompts.sum(), 1.0)
    if gain < least:
        found.append(f"golden gain near zero: {gain:.3g}, less than {least:g}")
    return tuple(found)


def gain_facts(
    proxy: Floats | float, golden: Floats | float, prompts: Floats | float
) -> dict[str, float]:
    """Both gains per prompt, of totals over prompts; none where no prompt was measured."""
    if not prompts:
        return {}
    return {"proxy_gain": float(proxy / prompts), "golden_gain": float(golden / prompts)}


@dataclass(frozen=True)
class GainRatio(RatioMetric):
    """Proxy's best-of-n gain over golden's, both summed over prompts first.

    The ratio of means is the ratio of the two policies' gains; prompts where golden is constant
    add nothing to either. The first three sums are the proxy's gain, golden's gain, and 1.

    Args:
        min_golden_gain: Mean golden gain of the prompts on which golden is not constant, in golden
            units, below which nothing is decided.
    """

    invariances = SELECTION
    studentised = True  # percentile bounds of this ratio under-cover on small pools
    # From what choosing against a symmetric golden gives to what golden's own choice gives.
    attainable = (-1.0, 1.0)

    min_golden_gain: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        require_number("min_golden_gain", self.min_golden_gain, 0)

    def concerns(self, sums: Floats) -> tuple[str, ...]:
        """A golden gain that is near zero, or smaller than asked for."""
        return golden_gain_concerns(sums[:, 1], sums[:, 2], self.min_golden_gain)

    def facts(self, sums: Floats) -> dict[str, float]:
        """Both gains per prompt, in golden units."""
        return gain_facts(*sums[:3])


@dataclass(frozen=True)
class DropRatio(GainRatio):
    """1 − GainRatio: the share of golden's gain that is lost by choosing with the proxy."""

    direction = "lower"
    range = (0.0, np.inf)
    # 0, and 2 where golden is symmetric: as much is lost again as there was to gain.
    attainable = (0.0, 2.0)

    def value(self, sums: Floats) -> Floats:
        """1 − proxy's gain over golden's; NaN where golden gains nothing."""
        return 1 - super().value(sums)

    def gradient(self, sums: Floats) -> Floats:
        return -super().gradient(sums)


@dataclass(frozen=True)
class DropOf(Statistic):
    """1 − one total over another: a drop ratio inside larger sums."""

    gain: int
    best: int

    def value(self, sums: Floats, /) -> Floats:
        """1 − proxy's gain over golden's; NaN where golden gains nothing."""
        return 1 - ratio(sums[..., self.gain], sums[..., self.best])

    def gradient(self, sums: Floats, /) -> Floats:
        out = np.zeros_like(sums)
        part = [self.gain, self.best]
        out[..., part] = ratio_gradient(sums[..., part], sign=-1.0)
        return out


@dataclass(frozen=True)
class GainRatioOfN(AtN, GainRatio):
    """GainRatio at one n.

    Args:
        n: Responses drawn; prompts with fewer are left out. None draws all of them, and then
            every prompt must have the same N. An n of at most N / 4 is the most precise.
    """

    value_columns = 2

    def __post_init__(self) -> None:
        GainRatio.__post_init__(self)
        AtN.__post_init__(self)

    def per_prompt(self, proxy: Floats, golden: Floats) -> Floats:
        """(p, 4): the proxy's gain, golden's gain, 1, and the gain of choosing against golden."""
        size = golden.shape[1]
        n = self.n or size
        worst = _gain(order(golden), golden, bon_weights(size, n)[::-1])
        return np.column_stack([best_of_n_gains(proxy, golden, n), np.ones(golden.shape[0]), worst])

    def compared(self, sums: Floats) -> NDArray[np.bool_]:
        """(n,) where there is something to gain: golden is not constant."""
        return np.asarray(sums[:, 1] > 0)

    def unseen(self, seen: Seen) -> Unseen:
        """Units on which the proxy chooses against golden, or as golden does.

        The gravest unit seen has as much at stake as it takes to lose the most that one lost. The
        farthest has one standard deviation more than any seen: what units beyond the largest have
        more on average where stakes fall off exponentially, and as much as any where all are equal.
        """
        _, gain, _, worst = seen.mean
        against = worst / gain if gain else 0.0
        lost = seen.least[0] / against if against else 0.0

        def of(stake: float) -> Floats:
            below = against * stake
            return np.array([[below, stake, 1.0, below], [stake, stake, 1.0, below]])

        gravest = of(max(gain, lost))
        gravest[1] = of(gain)[1]
        weighty = gain + seen.sd[1] ** 2 / gain if gain else 0.0
        return Unseen(of(gain), of(weighty), gravest, of(seen.most[1] + seen.sd[1]))


@register
@dataclass(frozen=True)
class NDR(GainRatioOfN):
    """Normalised drop ratio of best-of-n: the share of golden's gain that the proxy keeps.

    Σ_i [Ĝ_r(n) − ḡ]_i / Σ_i [Ĝ_g(n) − ḡ]_i, where Ĝ_s(n) is the expected golden reward of the best
    of n of a prompt's responses chosen by s (exact, without replacement, ties at random) and ḡ
    their mean. Undefined where golden gains nothing. Higher is better in spite of its name: 1 is
    as good as golden, 0 no better than no choice, below 0 harmful.

    Caution:
        It is about best-of-n on the policy that the pool was sampled from, and not about RL. With
        n above N / 4 few independent draws stand behind it.

    Reference:
        Wen et al. 2024, arXiv 2410.05584, eq. 3.
    """

    name = "ndr"
    range = (-np.inf, 1.0)


@register
@dataclass(frozen=True)
class BonDropRatio(DropRatio, GainRatioOfN):
    """Share of golden's best-of-n gain that is lost by choosing with the proxy: 1 − NDR.

    1 − Σ_i [Ĝ_r(n) − ḡ]_i / Σ_i [Ĝ_g(n) − ḡ]_i; see `NDR` for the symbols. Undefined where golden
    gains nothing. Lower is better: 0 is as good as golden, 1 no better than no choice, above 1
    harmful.

    Caution:
        It is about best-of-n on the policy that the pool was sampled from, and not about RL. With
        n above N / 4 few independent draws stand behind it.

    Reference:
        Wen et al. 2024, arXiv 2410.05584, eq. 3.
    """

    name = "bon_drop_ratio"


@register
@dataclass(frozen=True)
class BoN(AtN, PromptMeanMetric):
    """The paper's Bo-n: best-of-n gain over golden's, as a ratio inside each prompt, then averaged.

    Mean over prompts of [Ĝ_r(n) − ḡ] / [Ĝ_g(n) − ḡ]; with n = N it is
    [g(argmax r) − ḡ] / [max g − ḡ]. Undefined on a prompt where golden is constant. Higher is
    better; 1 is golden's own choice. The mean of ratios is not the ratio of means (`ndr`): it
    depends on N, and at N = 2 it is 2 accuracy − 1.

    Args:
        n: Responses drawn; prompts with fewer are left out. None draws all of them.

    Caution:
        Prompts on which golden can gain little weigh as much as all others, so that it is noisier
        than `ndr`.

    Reference:
        Wen et al. 2024, arXiv 2410.05584, eq. 12.
    """

    name = "bo_n"
    range = (-np.inf, 1.0)
    attainable = (-1.0, 1.0)
    invariances = SELECTION
    depends_on_n = True  # a mean of ratios differs with N, even at one n

    def prompt_values(self, proxy: Floats, golden: Floats) -> Floats:
        """(p,) share of golden's gain that the proxy's choice has."""
        gains = best_of_n_gains(proxy, golden, self.n or proxy.shape[1])
        return np.where(constant(golden), np.nan, ratio(gains[:, 0], gains[:, 1]))
