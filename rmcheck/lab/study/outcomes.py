"""What optimising each proxy kept of golden's gain: best-of-n, KL-regularised tilting, RL."""

from dataclasses import dataclass

import numpy as np

from rmcheck.lab.study.family import RmFamily
from rmcheck.metrics.best_of_n import NDR
from rmcheck.metrics.ratio import ratio
from rmcheck.metrics.rewards import Floats
from rmcheck.metrics.tilting import GAIN, pooled_sd, tilt_sums


@dataclass(frozen=True, eq=False)
class KeptGain:
    """The normalised drop ratio (NDR) that one optimiser reached with every pair.

    NDR is the share of golden's gain that is kept, 1 − regret: higher is better.

    Attributes:
        name: The optimiser, such as `best of 8`.
        kept: (Q,) NDR of each pair; NaN where the optimiser was not run.
        again: (Q,) the same of a second, independent run; None without one.
    """

    name: str
    kept: Floats
    again: Floats | None = None


def best_of_n(halves: tuple[RmFamily, RmFamily], n: int) -> KeptGain:
    """Exact best-of-n on the second half of the responses, and a second run on the first."""
    again, kept = (kept_of(bon_sums(family, n).sum(axis=1)) for family in halves)
    return KeptGain(f"best of {n}", kept, again)


def kl_penalty(halves: tuple[RmFamily, RmFamily], penalty: float) -> KeptGain:
    """The policy that maximises reward − penalty × KL on the pool, with the same penalty for both.

    Rewards are divided by their standard deviation within prompts first, so that the penalty has no
    unit and no model gains by the scale of its rewards.
    """
    again, kept = (kept_of(tilt_gains(family, penalty).sum(axis=1)) for family in halves)
    return KeptGain(f"KL penalty {penalty:g}", kept, again)


def bon_sums(family: RmFamily, n: int) -> Floats:
    """(Q, P, 2) golden gain of each pair on each prompt: by the proxy's choice, and golden's."""
    out = np.empty((len(family.pairs), family.prompts, 2))
    for part, q, _, sums in family.sums([[NDR(n=n)]] * len(out)):
        out[q, part] = sums[:, :2]
    return out


def tilt_gains(family: RmFamily, penalty: float) -> Floats:
    """(Q, P, 2) the same for KL-regularised tilting."""
    unit = [scores / pooled_sd([scores]) for scores in family.scores]
    best = {
        int(g): tilt_sums(unit[g], unit[g], penalty)[:, GAIN] for g in np.unique(family.pairs[:, 0])
    }
    return np.stack(
        [
            np.stack([tilt_sums(unit[m], unit[g], penalty)[:, GAIN], best[g]], axis=1)
            for g, m in family.pairs.tolist()
        ]
    )


def kept_of(totals: Floats) -> Floats:
    """(…) NDR of (…, 2) gains that were added up."""
    return ratio(totals[..., 0], totals[..., 1])
