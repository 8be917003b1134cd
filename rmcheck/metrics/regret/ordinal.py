"""Regret from the order of responses alone, for a golden that gives ranks and no amounts."""

from dataclasses import dataclass

import numpy as np

from rmcheck.metrics.metric import Metric
from rmcheck.metrics.pairwise import ORDER_ONLY, Accuracy
from rmcheck.metrics.rewards import Floats

_ACCURACY = Accuracy()


@dataclass(frozen=True)
class OrdinalDrop(Metric):
    """Drop ratio of best-of-n, for any n, from accuracy: 1 − sin(π (accuracy − ½)).

    Exact when proxy and golden are jointly Gaussian with one correlation for all prompts. Reads
    nothing but the order. Lower is better: 0 loses nothing, 1 gains nothing, 2 is the worst choice.
    Undefined where golden is constant on every prompt.

    Reference:
        Wen et al. 2024, arXiv 2410.05584, eqs. 7 and 19, in closed form.
    """

    name = "ordinal_drop"
    direction = "lower"
    range = (0.0, 2.0)
    invariances = ORDER_ONLY
    note = "extrapolated from accuracy, as if proxy and golden were Gaussian"

    def per_prompt(self, proxy: Floats, golden: Floats) -> Floats:
        return _ACCURACY.per_prompt(proxy, golden)

    def value(self, sums: Floats) -> Floats:
        """1 − the correlation that the accuracy belongs to."""
        return 1 - np.sin(np.pi * (_ACCURACY.value(sums) - 0.5))

    def gradient(self, sums: Floats) -> Floats | None:
        inner = _ACCURACY.gradient(sums)
        slope = -np.pi * np.cos(np.pi * (_ACCURACY.value(sums) - 0.5))
        return None if inner is None else np.asarray(slope)[..., None] * inner

    def concerns(self, sums: Floats) -> tuple[str, ...]:
        return _ACCURACY.concerns(sums)
