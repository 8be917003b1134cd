"""Golden's best response against all others at once."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rmcheck.metrics.normalizable import NormalizableMetric
from rmcheck.metrics.pairwise import ORDER_ONLY
from rmcheck.metrics.ranks import constant
from rmcheck.metrics.ratio import ratio
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Floats
from rmcheck.metrics.settings import require_choice


@register
@dataclass(frozen=True)
class OneVsManyAccuracy(NormalizableMetric):
    """Share of prompts on which the proxy's first choice is golden's best response.

    1 where golden's best is alone at the proxy's top; a tie of m responses there counts the share
    of them that are golden's best, 1 / m for a single best. Of several best by golden any counts.
    Undefined on a prompt where golden is constant. Higher is better; a proxy that knows nothing
    has 1 / N (one best), so the plain value depends on N.

    Args:
        normalized: Give (value − chance) / (1 − chance), chance being the share of responses that
            are golden's best: 0 for a proxy that knows nothing, 1 for a perfect one, any N.
        ties: A tie of the best with a worse response at the proxy's top counts its `share`, as in
            RewardBench 2, or nothing (`wrong`: the best must beat all worse ones strictly).

    Caution:
        It looks at one response a prompt, and a pick that is nearly the best counts nothing.

    Reference:
        Malik et al. 2025, RewardBench 2, arXiv 2506.01937; Kim et al. 2025, arXiv 2505.12763.
    """

    name = "one_vs_many_accuracy"
    invariances = ORDER_ONLY

    ties: Literal["share", "wrong"] = "share"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("ties", self.ties, ("share", "wrong"))

    @property
    def range(self) -> tuple[float, float]:
        """0 to 1; without a lower end when normalised (N − 1 responses may tie for best)."""
        return (-np.inf, 1.0) if self.normalized else (0.0, 1.0)

    def prompt_values(self, proxy: Floats, golden: Floats) -> Floats:
        """(p,) share of the proxy's first choices that are golden's best."""
        best = golden == golden.max(axis=1, keepdims=True)
        first = proxy == proxy.max(axis=1, keepdims=True)
        found = (best & first).sum(axis=1) / first.sum(axis=1)
        if self.ties == "wrong":
            found = np.floor(found)
        if self.normalized:
            chance = best.mean(axis=1)
            found = ratio(found - chance, 1 - chance)
        return np.where(constant(golden), np.nan, found)
