"""Accuracy that forgives the mistakes that optimisation will not act on."""

from dataclasses import dataclass

import numpy as np

from rmcheck.metrics.metric import Invariance
from rmcheck.metrics.pairwise import Accuracy, pair_counts_among
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Floats

# The prompt's mean reward decides which mistakes count, so that the proxy's shape matters.
SHIFT_AND_SCALE: frozenset[Invariance] = frozenset(
    {"proxy_shift", "proxy_scale", "golden_shift", "golden_scale", "golden_monotone"}
)


@register
@dataclass(frozen=True)
class HarmAwareAccuracy(Accuracy):
    """Accuracy in which a wrong pair is forgiven when its worse response will not be learnt.

    HAcc_i = Σ [1{r⁺ > r⁻ or r⁻ < r̄_i}] / #{g⁺ > g⁻}: the worse response r⁻ of a wrongly ordered
    (or tied) pair is harmless when the proxy puts it below r̄_i, the mean reward of the prompt's
    responses, since optimisation then moves away from it. The pool must hold responses of the
    policy that will be trained. Never below `accuracy`. Undefined on a prompt where golden is
    constant. Higher is better; a constant proxy has 0.5.

    Caution:
        With responses of another policy than the one that will be trained, what it forgives may be
        learnt after all.

    Reference:
        Shang et al. 2026, arXiv 2604.25872.
    """

    name = "harm_aware_accuracy"
    invariances = SHIFT_AND_SCALE

    def credit(self, proxy: Floats, golden: Floats) -> tuple[Floats, Floats]:
        """(p,) pairs that are right or forgiven, and (p,) pairs that count."""
        credit, comparable = super().credit(proxy, golden)
        # r⁺ ≤ r⁻ < r̄: both are below the mean. Not divided, and from the smallest reward, so that
        # rounding puts no reward of a constant row below its own mean.
        above = proxy - proxy.min(axis=1, keepdims=True)
        below_mean = above * proxy.shape[1] < above.sum(axis=1, keepdims=True)
        right, pairs = self.judged(pair_counts_among(proxy, golden, below_mean))
        return np.asarray(credit + pairs - right), comparable
