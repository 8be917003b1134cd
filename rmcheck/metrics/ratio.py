"""Metrics that are a ratio of totals: shares, and means over prompts."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmcheck.metrics.metric import Metric
from rmcheck.metrics.ranks import constant
from rmcheck.metrics.rewards import Floats

# A share above this of prompts on which the model leaves a metric undefined is undecidable.
MAX_UNDEFINED_SHARE = 0.05


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """The quotient, NaN where the denominator is 0."""
    safe = np.where(denominator == 0, 1.0, denominator)
    return np.where(denominator == 0, np.nan, numerator / safe)


def ratio_gradient(sums: Floats, *, sign: float) -> Floats:
    """Derivative of sign * sums[0] / sums[1] by every sum, zero for sums beyond the first two."""
    out = np.zeros_like(sums)
    safe = np.where(sums[..., 1] == 0, np.nan, sums[..., 1])
    out[..., 0] = sign / safe
    out[..., 1] = -sign * sums[..., 0] / safe**2
    return out


@dataclass(frozen=True)
class RatioMetric(Metric):
    """A metric whose value is its first total over its second."""

    def value(self, sums: Floats) -> Floats:
        """First total over second; NaN where the second is 0."""
        return ratio(sums[..., 0], sums[..., 1])

    def gradient(self, sums: Floats) -> Floats:
        return ratio_gradient(sums, sign=1.0)


@dataclass(frozen=True)
class PromptMeanMetric(RatioMetric):
    """A metric that has one value a prompt, averaged over the prompts on which it is defined.

    The last two sums of every prompt are 1 where it is defined, and 1 where it is or would be with
    another model: where it is undefined although the model tells the responses apart, golden is to
    blame, and the prompt is left out.
    """

    value_columns = 2

    @abstractmethod
    def prompt_values(self, proxy: Floats, golden: Floats) -> Floats:
        """(p,) the value of each prompt; NaN where it is undefined."""

    def per_prompt(self, proxy: Floats, golden: Floats) -> Floats:
        """(p, 3): the value, 1 where it is defined, and 1 where golden allows it to be."""
        values = self.prompt_values(proxy, golden)
        defined = np.isfinite(values)
        if defined.all():
            return np.column_stack([values, np.ones((len(values), 2))])
        allowed = defined | (constant(proxy) & ~constant(golden))
        return np.column_stack([np.where(defined, values, 0.0), defined, allowed])

    def compared(self, sums: Floats) -> NDArray[np.bool_]:
        """(n,) where golden allows a value."""
        return np.asarray(sums[:, -1] > 0)

    def concerns(self, sums: Floats) -> tuple[str, ...]:
        """Undefined on too many prompts, because the model gives all responses one reward."""
        defined, allowed = sums[:, -2].sum(), sums[:, -1].sum()
        if allowed and 1 - defined / allowed > MAX_UNDEFINED_SHARE:
            return (
                f"undefined on {allowed - defined:.0f} of {allowed:.0f} prompts (more than "
                f"{MAX_UNDEFINED_SHARE:.0%}), where all rewards of the model are equal",
            )
        return ()
