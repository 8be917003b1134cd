"""KL-regularised policies on a pool: exponential tilting of its responses.

The policy that maximises reward − β KL is π_β ∝ π0 exp(s / β). On N responses sampled from π0 it is
a softmax, so what optimising the proxy at a given KL would gain can be computed, and compared with
the most that golden could gain at the same KL. β is the same for all prompts, as in RL; KL is the
mean over prompts. Rewards are divided by their pooled within-prompt standard deviation first, so
that β has no unit and the scale of a reward model decides nothing.

This is valid as long as many responses carry the weight (`effective_sample_size`). It predicts
best-of-n and early RL within two or three nats. A policy at tens of nats has left the pool.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.bon_curve import within_variance
from rmcheck.metrics.rewards import Floats
from rmcheck.metrics.settings import require_number

# exp of less than this is no longer distinguishable from 0 among weights.
_LOWEST = -700.0
_TOLERANCE = 1e-12

# What `tilt_sums` gives of each prompt, in this order.
GAIN, GAIN_SLOPE, KL, KL_SLOPE, ESS, OWN_GAIN = range(6)


def tilted_weights(selector: Floats, beta: float) -> Floats:
    """Probability of each response under the policy π_β ∝ π0 exp(s / β).

    Args:
        selector: (p, N) rewards s that the policy is optimised against.
        beta: KL coefficient, above 0, in units of the rewards. Large β leaves π0, small β takes
            the largest reward; responses that tie share.

    Returns:
        (p, N) weights; every row sums to 1.

    Raises:
        UsageError: β is not above 0.
    """
    weights = np.exp(_exponents(selector, beta))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def effective_sample_size(weights: Floats) -> Floats:
    """(p,) 1 / Σ w²: how many equally weighted responses (p, N) weights are worth."""
    return np.asarray(1 / np.einsum("ij,ij->i", weights, weights))


def tilt_sums(selector: Floats, golden: Floats, beta: float) -> Floats:
    """What the policy π_β of a selector does on each prompt.

    Args:
        selector: (p, N) rewards s that the policy is optimised against.
        golden: (p, N) reference rewards.
        beta: KL coefficient, above 0, in units of the selector.

    Returns:
        (p, 6): golden gain over π0; its derivative by ln β, −Cov_w(s, g) / β; KL in nats,
        Σ w ln(N w); its derivative by ln β, −Var_w(s) / β²; effective sample size; and the
        selector's own gain over π0.

    Raises:
        UsageError: β is not above 0.
    """
    z = _exponents(selector, beta)
    above = golden - golden.min(axis=1, keepdims=True)
    weights = np.exp(z)
    total = weights.sum(axis=1)
    weights /= total[:, None]
    mean_z = np.einsum("ij,ij->i", weights, z)
    mean_g = np.einsum("ij,ij->i", weights, above)
    centred = weights * (z - mean_z[:, None])
    # A row without spread is exactly uniform, and its divergence exactly 0.
    kl = np.maximum(math.log(selector.shape[1]) + mean_z - np.log(total), 0.0)
    own = (mean_z - z.mean(axis=1)) * beta
    return np.stack(
        [
            mean_g - above.mean(axis=1),
            -np.einsum("ij,ij->i", centred, above),
            np.where(z.min(axis=1) == 0, 0.0, kl),
            -np.einsum("ij,ij->i", centred, z),
            effective_sample_size(weights),
            own,
        ],
        axis=1,
    )


def _exponents(selector: Floats, beta: float) -> Floats:
    """(p, N) (s − max s) / β, at most 0."""
    if not beta > 0:
        raise UsageError(f"beta is {beta!r}; valid: a number above 0.")
    with np.errstate(over="ignore"):  # an infinite distance is a weight of 0
        z = (selector - selector.max(axis=1, keepdims=True)) / beta
    return np.asarray(np.maximum(z, _LOWEST))


def pooled_sd(rows: Sequence[Floats]) -> float:
    """Square root of the mean within-prompt variance of blocks of (p, N) rewards."""
    # In units of the largest spread, so that no square overflows.
    scale = max((float(np.ptp(row, axis=1).max()) for row in rows), default=0.0)
    if scale == 0:
        return 0.0
    prompts = sum(len(row) for row in rows)
    centred = ((row - row.min(axis=1, keepdims=True)) / scale for row in rows)
    return scale * math.sqrt(sum(float(within_variance(row).sum()) for row in centred) / prompts)


@dataclass(frozen=True)
class Tilt:
    """The policies π_β of one selector on a pool.

    Attributes:
        rows: Blocks of (p, N) selector rewards, N ≥ 2.
        name: What the selector is called in errors: proxy or golden.
        sd: Pooled within-prompt standard deviation; β is told in units of it.
    """

    rows: tuple[Floats, ...] = field(repr=False)
    name: str
    sd: float

    @classmethod
    def of(cls, rows: Sequence[Floats], name: str) -> Self:
        """From blocks of (p, N) rewards.

        Raises:
            UndefinedMetricError: There is no prompt, or the rewards of every prompt are equal.
        """
        sd = pooled_sd(rows)
        if sd == 0:
            raise UndefinedMetricError(
                f"the {name} rewards of every prompt are equal: no policy can gain anything by them"
            )
        return cls(tuple(rows), name, sd)

    @property
    def prompts(self) -> int:
        """Number of prompts."""
        return sum(len(row) for row in self.rows)

    @property
    def largest_kl(self) -> float:
        """Mean of ln N − ln(ties at the maximum): what β → 0 reaches and no β exceeds."""
        total = 0.0
        for row in self.rows:
            ties = (row == row.max(axis=1, keepdims=True)).sum(axis=1)
            total += float((math.log(row.shape[1]) - np.log(ties)).sum())
        return total / self.prompts

    def beta_at_kl(self, kl: float, start: float | None = None) -> float:
        """The β, in standard deviations, at which the mean KL is `kl` nats.

        Args:
            kl: Above 0.
            start: A β to start from, where one is known to be near.

        Raises:
            UndefinedMetricError: The pool cannot reach this KL; the largest is named.
            UsageError: `kl` is not above 0.
        """
        require_positive("kl", kl)
        most = self.largest_kl
        if kl >= most:
            raise UndefinedMetricError(
                f"KL {kl:g} is out of reach: tilting this pool by {self.name} gives less than "
                f"{most:.4g} nats (ln N less ties at the maximum)"
            )
        first = 1 / math.sqrt(2 * kl) if start is None else start
        return _decreasing_root(lambda t: self._kl(math.exp(t)), kl, math.log(first))

    def _kl(self, beta: float) -> tuple[float, float]:
        """Mean KL at β, and its derivative by ln β."""
        value = slope = 0.0
        for row in self.rows:
            z = _exponents(row, beta * self.sd)
            weights = np.exp(z)
            total = weights.sum(axis=1)
            mean = np.einsum("ij,ij->i", weights, z) / total
            weights *= z
            square = np.einsum("ij,ij->i", weights, z) / total
            value += float((math.log(row.shape[1]) + mean - np.log(total)).sum())
            slope -= float((square - mean**2).sum())
        return value / self.prompts, slope / self.prompts


def require_positive(name: str, value: float) -> None:
    """Refuse anything but a finite number above 0.

    Raises:
        UsageError: With the value.
    """
    require_number(name, value, 0)
    if value == 0:
        raise UsageError(f"{name} is {value!r}; valid: a finite number above 0.")


def _decreasing_root(
    measure: Callable[[float], tuple[float, float]], target: float, start: float
) -> float:
    """exp(t) at which a decreasing positive function of t has the value `target`.

    Newton's method on its logarithm, which is nearly linear here, kept in a bracket.
    """
    low, high, t = -math.inf, math.inf, start
    for _ in range(200):
        value, slope = measure(t)
        if abs(value - target) <= _TOLERANCE * target:
            break
        low, high = (t, high) if value > target else (low, t)
        step = math.log(target / value) * value / slope if value > 0 and slope < 0 else math.nan
        new = t + step
        if not low < new < high or abs(step) > 3:
            if math.isinf(low):
                new = t - 1.0
            elif math.isinf(high):
                new = t + 1.0
            else:
                new = (low + high) / 2
        if abs(new - t) <= 1e-14 * max(1.0, abs(t)):
            break
        t = new
    return math.exp(t)
