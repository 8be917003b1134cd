"""How far from a value its bounds will be on other numbers of units.

Bounds from resampling are z standard errors away. Bounds that allow for units which were not seen
(`rmcheck.stats.unseen`) are farther, and come closer as 1 / n as well as as 1 / √n.
"""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

from rmcheck.stats.unseen import RuleOfThree

_NORMAL = NormalDist()


@dataclass(frozen=True, eq=False)
class Reach:
    """What bounds allow for beside the spread of the units seen.

    Attributes:
        one_more: How far one more unit moves the value down and up, times the number of units; 0
            where none is added.
        rule: The rule of three, whatever its number of units; None where there is none.
        value: The value that `rule` is about.
        errors: Standard errors that the lower and the upper bound are away at the one confidence
            that is asked about, where neither follows from the level; None where they do.
    """

    one_more: tuple[float, float] = (0.0, 0.0)
    rule: RuleOfThree | None = None
    value: float = 0.0
    errors: tuple[float, float] | None = None

    def below(self, error: float, units: float, confidence: float) -> float:
        """Distance from the value to its lower bound.

        Args:
            error: Standard error of the value.
            units: Independent units it is measured on.
            confidence: Of the bound, in (0.5, 1).
        """
        if self.errors is not None:
            return self.errors[0] * error
        near = _quantile(error, self.one_more[0] / units, confidence)
        return max(near, self.value - self._missed(units, 1 - confidence))

    def above(self, error: float, units: float, confidence: float) -> float:
        """Distance from the value to its upper bound; see `below`."""
        if self.errors is not None:
            return self.errors[1] * error
        near = _quantile(error, self.one_more[1] / units, confidence)
        return max(near, self._missed(units, confidence) - self.value)

    def _missed(self, units: float, level: float) -> float:
        if self.rule is None:
            return self.value
        return replace(self.rule, units=max(1, math.floor(units))).bound(level)


def _quantile(error: float, scale: float, level: float) -> float:
    """Quantile of a normal with this standard error plus an exponential with this mean.

    By halving of Φ(x / s) − exp(s² / 2 m² − x / m) Φ(x / s − s / m), the exponentially modified
    Gaussian.
    """
    from scipy.special import log_ndtr, ndtr

    normal = _NORMAL.inv_cdf(level) * error
    if scale <= 1e-9 * error or not error:
        return normal if error else -math.log(1 - level) * scale
    low, high = normal, normal - math.log(1 - level) * scale + error
    while True:
        x = (low + high) / 2
        tail = (error / scale) ** 2 / 2 - x / scale + log_ndtr(x / error - error / scale)
        if high - low <= 1e-9 * error:
            return x
        low, high = (x, high) if ndtr(x / error) - math.exp(tail) < level else (low, x)
