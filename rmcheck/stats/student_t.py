"""Student's t bounds on a smooth statistic.

For paired differences: those of two models that are alike are as often positive as negative, so
that t bounds hold on 30 units, where percentile, BCa and bootstrap-t bounds of a ratio's drop hold
in 86 to 92 % of pools (benchmarks/results/dissent.md).

Where few units differ, all to one side, t bounds of that side are too near: one of 100 prompts
that is worse gave a bound of .027 on the drop, below the .030 of none.
Such bounds are moved out by the skewness of the units (Johnson 1978, Journal of the American
Statistical Association 73:536-544), and never in.
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
        skew: Skewness of the units over √n; the bounds of its side are moved out by it.
    """

    center: float
    error: float
    freedom: float
    skew: float = 0.0

    def bound(self, level: float) -> float:
        """The value plus the quantile of t, in standard errors, moved out on the skewed side."""
        from scipy.special import stdtrit

        quantile = float(stdtrit(self.freedom, level))
        moved = self.skew * (1 + 2 * quantile**2) / 6 if quantile * self.skew > 0 else 0.0
        return self.center + self.error * (quantile + moved)

    def level(self, at: float) -> float:
        """`bound` solved for its level; one half between the value and the nearest bound."""
        from scipy.special import stdtr

        z, skew = (at - self.center) / self.error, abs(self.skew)
        if z * self.skew > 0:
            root = math.sqrt(max(0.0, 1 - 4 * skew / 3 * (skew / 6 - abs(z))))
            z = math.copysign(max(0.0, (root - 1) / (2 * skew / 3)), z)
        return float(stdtr(self.freedom, z))


def influence_error(statistic: Statistic, sums: Floats) -> float:
    """Standard error of a statistic of totals by the delta method; 0 for one unit.

    Args:
        statistic: What is computed; smooth in the totals.
        sums: (n, K) sums, one row an independent unit.
    """
    n = len(sums)
    return float(np.std(influences(statistic, sums), ddof=1)) / math.sqrt(n) if n > 1 else 0.0


def influence_skew(statistic: Statistic, sums: Floats) -> float:
    """Skewness of what the units add to a statistic, over √n; 0 where they add nothing.

    Args:
        statistic: What is computed; smooth in the totals.
        sums: (n, K) sums, one row an independent unit.
    """
    values = influences(statistic, sums)
    spread = float(np.std(values))
    if not spread:
        return 0.0
    return float(np.mean((values - values.mean()) ** 3)) / spread**3 / math.sqrt(len(sums))


def student_t(
    center: float,
    error: float,
    units: float,
    *,
    reach: tuple[float, float],
    skew: float = 0.0,
) -> Distribution:
    """Bounds of a value with this standard error.

    Args:
        center: The value.
        error: Its standard error.
        units: n, independent units; those that carry the value, where these are fewer.
        reach: See `rmcheck.stats.bootstrap.resample`: used only where no unit moves the value.
        skew: See `StudentT`.
    """
    if not error > 1e-12 * max(1.0, abs(center)):
        return Exact(center, reach[0], reach[1], units)
    return StudentT(center, error, units - 1, skew)
