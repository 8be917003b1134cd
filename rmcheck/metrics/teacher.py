"""Is the reward model a teacher that RL can learn from: does it tell responses apart?"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import NO_GOLDEN, Metric
from rmcheck.metrics.moments import ROUNDING_SHARE
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Floats, Rewards

# A prompt whose rewards vary by less than this share of the pool's variance teaches nothing.
LOW_SHARE = 0.01


@register
@dataclass(frozen=True)
class RewardVariance(Metric):
    """Whitened variance of the proxy's rewards inside a prompt, averaged over prompts.

    V_w = mean_i Var_j(r_ij) / Var(r), with Var_j over a prompt's responses (N − 1) and Var(r) over
    all responses of the pool: about the share of the proxy's variance that is inside prompts. RL
    needs it: the time to raise the expected reward grows as V^(−1/3) however accurate the proxy
    is. Higher is better, from 0; it can exceed 1 a little, as N − 1 divides. Undefined where all
    rewards of the pool are equal.

    It depends on the reward model and on the policy whose responses the pool has: measure it on
    the policy that will be trained. It applies to RL, not to best-of-n, which looks at ranks only.
    Golden is not used.

    Caution:
        Noise has variance too: a random model has much of it. Put `accuracy` beside it.

    Reference:
        Razin et al. 2025, What makes a reward model a good teacher?, arXiv 2503.15477.
    """

    name = "reward_variance"
    range = (0.0, np.inf)
    invariances = NO_GOLDEN | {"proxy_reversal"}
    note = "of this reward model on this pool's policy; applies to RL, not to best-of-n"
    studentised = True  # a ratio of two random means

    center: float = field(default=np.nan, init=False)
    low: float = field(default=np.nan, init=False)

    def fitted(self, rewards: Rewards) -> Self:
        """This metric with the pool's mean, and the variance below which a prompt is flat."""
        proxy = rewards.proxy[np.repeat(rewards.counts >= self.min_responses, rewards.counts)]
        if not proxy.size:
            return self.fixed()
        return self.fixed(center=float(proxy.mean()), low=LOW_SHARE * float(proxy.var()))

    def per_prompt(self, proxy: Floats, golden: Floats) -> Floats:
        """(p, 6): variance, 1, and of the rewards from the pool's mean sum, squares and number.

        The last sum is 1 where the variance is below 1 % of the pool's.

        Raises:
            UndefinedMetricError: The metric has not seen a pool yet.
        """
        if np.isnan(self.center):
            raise UndefinedMetricError(f"{self.name} must first see the pool: call fitted(rewards)")
        inside = proxy - proxy.min(axis=1, keepdims=True)  # a constant row varies by exactly 0
        variance = inside.var(axis=1, ddof=1)
        away = proxy - self.center
        ones = np.ones(proxy.shape[0])
        squares = np.einsum("ij,ij->i", away, away)
        flat = (variance < self.low).astype(float)
        return np.stack(
            [variance, ones, away.sum(axis=1), squares, ones * proxy.shape[1], flat], axis=-1
        )

    def value(self, sums: Floats) -> Floats:
        """Mean variance over the pool's variance; NaN where that is 0."""
        mean, pooled = _variances(sums)
        return mean / np.where(pooled > 0, pooled, np.nan)

    def gradient(self, sums: Floats) -> Floats:
        mean, pooled = _variances(sums)
        prompts, total, squares, number = (sums[..., k] for k in range(1, 5))
        pooled = np.where(pooled > 0, pooled, np.nan)
        by_pooled = -mean / pooled**2
        out = np.zeros_like(sums)
        out[..., 0] = 1 / (prompts * pooled)
        out[..., 1] = -mean / (prompts * pooled)
        out[..., 2] = by_pooled * -2 * total / number**2
        out[..., 3] = by_pooled / number
        out[..., 4] = by_pooled * (2 * total**2 / number**3 - squares / number**2)
        return out

    def facts(self, sums: Floats) -> dict[str, float]:
        """The mean variance in the proxy's own units, and the share of flat prompts."""
        mean, _ = _variances(sums)
        return {"variance": float(mean), "flat_prompts": float(sums[5] / sums[1])}


def _variances(sums: Floats) -> tuple[Floats, Floats]:
    """Mean variance inside prompts, and variance of all rewards (0 where rounding is all)."""
    prompts = np.where(sums[..., 1] == 0, np.nan, sums[..., 1])
    number = np.where(sums[..., 4] == 0, np.nan, sums[..., 4])
    square = sums[..., 3] / number
    pooled = square - (sums[..., 2] / number) ** 2
    return sums[..., 0] / prompts, np.where(pooled > ROUNDING_SHARE * square, pooled, 0.0)
