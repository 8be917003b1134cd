"""How far golden can be trusted, from a second golden read of the same responses.

A noisy golden both chooses the best response and judges it, which makes golden's own gain look
larger than it is (the winner's curse): NDR as measured is ρ ρ_a, where ρ_a² = corr(A, B) is the
reliability of one read. Dividing by √corr(A, B) gives ρ back. This holds for two reads with
independent noise of like size, and for Gaussian noise.
"""

from dataclasses import dataclass

import numpy as np

from rmcheck.metrics.metric import ColumnMetric, Invariance
from rmcheck.metrics.moments import within_moments
from rmcheck.metrics.ratio import ratio
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Block, Floats

# Below this the correction more than halves the distance to 0 and rests on noise.
MIN_RELIABILITY = 0.4
REPEAT = "repeat"

NO_PROXY: frozenset[Invariance] = frozenset(
    {"proxy_shift", "proxy_scale", "proxy_monotone", "proxy_reversal"}
)


@register
@dataclass(frozen=True)
class GoldenReliability(ColumnMetric):
    """Correlation of two golden reads of the same responses, pooled inside prompts.

    corr(A, B) = Σ_i cov_i(A, B) / √(Σ_i var_i(A) Σ_i var_i(B)), each prompt with the same weight
    (variances with N − 1). It is the share of golden's within-prompt variance that is not noise,
    when both reads are equally noisy. Higher is better: 1 is a golden without noise. Undefined
    where either read is constant inside every prompt. Needs the second read as the column
    `repeat`; it does not look at the proxy.

    Caution:
        Two reads with the same error, as of one judge asked twice at temperature 0, agree without
        being right.

    Reference:
        Spearman 1904, The proof and measurement of association between two things.
    """

    name = "golden_reliability"
    range = (-1.0, 1.0)
    invariances = NO_PROXY | {"golden_shift", "golden_scale"}
    scale_free = False  # no proxy is looked at, so that none can stand for another
    studentised = True  # a ratio of random means
    columns = (REPEAT,)

    def block_sums(self, block: Block) -> Floats:
        """(p, 3): variance of golden, variance of the second read, and their covariance."""
        return repeat_moments(block.golden, block.columns[REPEAT])

    def value(self, sums: Floats) -> Floats:
        """The correlation; NaN where a variance is 0."""
        return reliability(sums)

    def gradient(self, sums: Floats) -> Floats:
        return reliability_gradient(sums)


def repeat_moments(golden: Floats, repeat: Floats) -> Floats:
    """(p, 3) variance of golden, of the second read, and their covariance, where both are there.

    Args:
        golden: (p, N) golden rewards.
        repeat: (p, N) second read; NaN where there is none. Prompts with fewer than two add 0.
    """
    both = np.isfinite(repeat)
    if both.all():
        return within_moments(golden, repeat)
    count = np.maximum(1, both.sum(axis=1, keepdims=True))
    centred = []
    for read in (np.where(both, golden, 0.0), np.where(both, repeat, 0.0)):
        mean = read.sum(axis=1, keepdims=True) / count
        centred.append(np.where(both, read - mean, 0.0))
    a, b = centred
    products = np.stack([(a * a).sum(1), (b * b).sum(1), (a * b).sum(1)], axis=-1)
    return np.asarray(products / np.maximum(1, count - 1))


def reliability(moments: Floats) -> Floats:
    """corr(A, B) from (…, 3) totals of two variances and their covariance; NaN where one is 0."""
    scale = np.sqrt(moments[..., 0] * moments[..., 1])
    return ratio(moments[..., 2], scale)


def reliability_gradient(moments: Floats) -> Floats:
    """(…, 3) derivative of `reliability` by every total."""
    a, b = (np.where(moments[..., i] == 0, np.nan, moments[..., i]) for i in range(2))
    ab = moments[..., 2]
    scale = np.sqrt(a * b)
    return np.stack([-ab / (2 * a * scale), -ab / (2 * b * scale), 1 / scale], axis=-1)


def reliability_concerns(moments: Floats) -> tuple[str, ...]:
    """Reasons not to decide on a corrected value, from (n, 3) sums per independent unit."""
    found = float(reliability(moments.sum(axis=0)))
    if found >= MIN_RELIABILITY:
        return ()
    if np.isnan(found):
        return ("golden reads are constant, so that their reliability is unknown",)
    return (f"golden reliability {found:.2f}, less than {MIN_RELIABILITY:g}: too noisy to correct",)
