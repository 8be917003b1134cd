"""A noisy annotator who sorts responses by comparing them two at a time.

Reference:
    Wen et al. 2024, arXiv 2410.05584, eq. 5 and figure 7.
"""

import numpy as np
from scipy.special import expit

from rmcheck.metrics.rewards import Floats
from rmcheck.metrics.tilting import pooled_sd


def annotated_ranks(golden: Floats, quality: float, rng: np.random.Generator) -> Floats:
    """Ranks that an annotator gives by binary insertion.

    The annotator prefers a to b with probability σ(β (a − b)), a new toss for each comparison, on
    rewards in units of their standard deviation within prompts.

    Args:
        golden: (P, k) golden rewards.
        quality: β. 1 orders .72 of the pairs of a Gaussian golden rightly, 2 .82, 5 .92.
        rng: Of the annotator.

    Returns:
        (P, k) ranks from 1 = worst to k = best; each is given once.
    """
    prompts, k = golden.shape
    unit = golden * (quality / (pooled_sd([golden]) or 1.0))
    rows = np.arange(prompts)
    order = np.zeros((prompts, k), dtype=np.int64)  # positions from worst to best, so far
    for new in range(1, k):
        low, high = np.zeros(prompts, dtype=np.int64), np.full(prompts, new)
        while (open_ := low < high).any():
            middle = (low + high) // 2
            other = order[rows, np.minimum(middle, new - 1)]
            margin = unit[:, new] - unit[rows, other]
            better = rng.random(prompts) < expit(margin)
            low = np.where(open_ & better, middle + 1, low)
            high = np.where(open_ & ~better, middle, high)
        place = np.arange(new + 1)[None, :]
        shifted = np.where(place > low[:, None], np.roll(order[:, : new + 1], 1, axis=1), 0)
        kept = np.where(place < low[:, None], order[:, : new + 1], 0)
        order[:, : new + 1] = shifted + kept
        order[rows, low] = new
    ranks = np.empty((prompts, k))
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(1.0, k + 1), (prompts, k)), axis=1)
    return ranks


def comparisons(k: int) -> float:
    """Comparisons that binary insertion of k responses takes on average, about k log2 k − 1.3 k."""
    # Each new response has as many places as there are before it, and one more.
    found = 0.0
    for places in range(2, k + 1):
        depth = int(np.floor(np.log2(places)))
        found += depth + 2 * (places - 2**depth) / places
    return found
