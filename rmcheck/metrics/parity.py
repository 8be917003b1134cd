"""How far two engines agree about the same responses: drift of rewards, and order inside prompts.

The computations of `rmcheck parity`, and of the metrics in `rmcheck.metrics.serving`.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.ranks import average_ranks
from rmcheck.metrics.rewards import Floats, Ints
from rmcheck.stats.functions import logistic

# Change of a margin, in units of the reward, that is rounding: float32 on both sides.
MARGIN_ROUNDING = 1e-3
# Share of the largest reward within which a map from one engine to the other counts as exact.
_SAME_MAP = 1e-3
_MAPS = {
    "sigmoid": "{b} looks like the sigmoid of {a}: probabilities, not raw logits",
    "logit": "{a} looks like the sigmoid of {b}: probabilities, not raw logits",
    "scale": "{b} looks like a multiple of {a} with a shift: one of them normalises",
}


@dataclass(frozen=True)
class Parity:
    """Two sets of rewards side by side.

    Attributes:
        max_difference: Largest |b − a|, in units of the reward.
        mean_difference: Mean |b − a|.
        shift: Mean b − a: what one engine adds to all.
        flips: Pairs of responses to one prompt that the engines order differently, and whose
            margin changed by more than the tolerance. A pair that only one of them calls equal
            is ordered differently.
        pairs: Pairs of responses to one prompt.
        spearman: Rank correlation inside prompts, averaged over the prompts in which both engines
            tell responses apart; None if there is no such prompt.
        lowest_spearman: That of the prompt where it is lowest; None as above.
        worst: (M,) positions of the responses, largest |b − a| first.
        map: What seems to stand between the engines: `sigmoid` (b is the sigmoid of a), `logit`
            (the reverse), `scale` (b is a multiple of a, or shifted), or empty.
    """

    max_difference: float
    mean_difference: float
    shift: float
    flips: int
    pairs: int
    spearman: float | None
    lowest_spearman: float | None
    worst: Ints
    map: str


def parity(a: Floats, b: Floats, offsets: Ints, *, tolerance: float) -> Parity:
    """Compare rewards of two engines.

    Args:
        a: (M,) rewards of the first engine, prompt after prompt.
        b: (M,) rewards of the second one, in the same order.
        offsets: (P + 1,) where each prompt's responses begin; the last entry is M.
        tolerance: Change of a margin, in units of the reward, that is rounding.

    Raises:
        UndefinedMetricError: There are no rewards.
        ValueError: `a`, `b` and `offsets` do not belong together.
    """
    if a.shape != b.shape or a.ndim != 1 or offsets[0] != 0 or offsets[-1] != len(a):
        raise ValueError(f"shapes {a.shape} and {b.shape} with offsets to {offsets[-1]}")
    if not len(a):
        raise UndefinedMetricError("parity needs at least one response")
    gap = np.abs(b - a)
    flips = pairs = 0
    correlations = []
    for start, stop in pairwise(offsets.tolist()):
        ours, theirs = a[start:stop], b[start:stop]
        flips += int(flipped_pairs(ours, theirs, tolerance))
        pairs += len(ours) * (len(ours) - 1) // 2
        if len(ours) > 1 and np.ptp(ours) > 0 and np.ptp(theirs) > 0:
            first, second = average_ranks(np.stack([ours, theirs]))
            correlations.append(float(np.corrcoef(first, second)[0, 1]))
    return Parity(
        max_difference=float(gap.max()),
        mean_difference=float(gap.mean()),
        shift=float((b - a).mean()),
        flips=flips,
        pairs=pairs,
        spearman=float(np.mean(correlations)) if correlations else None,
        lowest_spearman=min(correlations, default=None),
        worst=np.argsort(-gap, kind="stable"),
        map=map_between(a, b, tolerance),
    )


def flipped_pairs(a: Floats, b: Floats, tolerance: float) -> Ints:
    """(…) pairs that two engines order differently, of (…, N) rewards of prompts.

    A pair counts where its margin changed by more than the tolerance. One that only one of the
    engines calls equal is ordered differently.
    """
    found = np.zeros(a.shape[:-1], dtype=np.int64)
    for lag in range(1, a.shape[-1]):  # one lag at a time, so that memory grows with N, not N²
        ours = a[..., lag:] - a[..., :-lag]
        theirs = b[..., lag:] - b[..., :-lag]
        differs = np.sign(ours) != np.sign(theirs)
        found += np.count_nonzero(differs & (np.abs(theirs - ours) > tolerance), axis=-1)
    return found


def map_sentence(map: str, a: str, b: str) -> str:
    """What `map_between` found, about engines with these names; empty where it found nothing."""
    return _MAPS[map].format(a=a, b=b) if map else ""


def map_between(a: Floats, b: Floats, tolerance: float) -> str:
    """The plain function that turns the first rewards into the second, if one of three does."""
    if len(a) < 3 or np.abs(b - a).max() <= tolerance or np.ptp(a) == 0 or np.ptp(b) == 0:
        return ""
    if _near(logistic(a), b):
        return "sigmoid"
    if _near(logistic(b), a):
        return "logit"
    slope, shift = np.polyfit(a, b, 1)
    return "scale" if _near(slope * a + shift, b) else ""


def _near(mapped: Floats, found: Floats) -> bool:
    return bool(np.abs(mapped - found).max() <= _SAME_MAP * np.ptp(found))
