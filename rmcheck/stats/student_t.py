"""Student's t bounds on a smooth statistic.

For paired differences: those of two models that are alike are as often positive as negative, so
that t bounds hold on 30 units, where percentile, BCa and bootstrap-t bounds of a ratio's drop hold
in 86 to 92 % of pools (benchmarks/results/dissent.md).
"""

import math
from dataclasses import dataclass

import numpy as np

from rmcheck.stats.bootstrap import Distribution, Exact, Statistic
from rmcheck.stats.power import influences
from rmcheck.stats.weights import Floats


@dataclass(frozen=True)
class StudentT(Distribution):
    """A value whose error over its standard error has Student's t.

    Attributes:
        center: The value.
        error: Its standard error; above 0.
        freedom: Degrees of freedom.
    """

    center: float
    error: float
    freedom: float

    def bound(self, level: float) -> float:
        """The value plus the quantile of t, in standard errors."""
        from scipy.special import stdtrit

        return self.center + self.error * float(stdtrit(self.freedom, level))

    def level(self, at: float) -> float:
        from scipy.special import stdtr

        return float(stdtr(self.freedom, (at - self.center) / self.error))


def influence_error(statistic: Statistic, sums: Floats) -> float:
    """Standard error of a statistic of totals by the delta method; 0 for one unit.

    Args:
        statistic: What is computed; smooth in the totals.
        sums: (n, K) sums, one row an independent unit.
    """
    n = len(sums)
    return float(np.std(influences(statistic, sums), ddof=1)) / math.sqrt(n) if n > 1 else 0.0


def student_t(
    center: float, error: float, units: float, *, reach: tuple[float, float]
) -> Distribution:
    """Bounds of a value with this standard error.

    Args:
        center: The value.
        error: Its standard error.
        units: n, independent units; those that carry the value, where these are fewer.
        reach: See `rmcheck.stats.bootstrap.resample`: used only where no unit moves the value.
    """
    if not error > 1e-12 * max(1.0, abs(center)):
        return Exact(center, reach[0], reach[1], units)
    return StudentT(center, error, units - 1)
