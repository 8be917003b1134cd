"""Bounds that allow for a unit which was not seen: no error seen is not no error.

Where few units move a ratio of totals, resampling them says too little: if none of n units erred,
no resample errs. Two bounds allow for more:

* one more unit, as grave as the gravest seen and an ordinary one at least, is added to every
  resample with a weight of Exp(1). Where all units have the same at stake and k of n erred this is
  the upper bound of Clopper and Pearson but for O(1 / n): −ln α of such units where none erred;
* the rule of three: a share 1 − α^(1/n) of units could all have been missed with probability α.
  Where that share is `RARE` or more they may have more at stake than any unit seen. Where it is
  less they are taken to have in proportion less, down to what a unit of stake is part of on
  average: else no number of prompts in use would be enough for a small drop.

What is not covered: units that are rarer than `RARE`, or have far more at stake than all that
were seen, and that were not seen.

References:
    Gaffke 2005, Three test statistics for a nonparametric one-sided hypothesis on the mean of a
    nonnegative variable, Mathematical Methods of Statistics 14:451-467 (one more unit with
    exponential weights); Learned-Miller and Thomas 2020, arXiv 1905.06208;
    Hanley and Lippman-Hand 1983, JAMA 249:1743-1745 (the rule of three).
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from rmcheck.stats.bootstrap import Distribution, SortedDraws, Statistic
from rmcheck.stats.weights import Floats

# Share of units with more at stake than any seen that small samples are guarded against.
RARE = 0.03
# Halvings after which a share that was missed is known to rounding.
_HALVINGS = 60


@dataclass(frozen=True, eq=False)
class Seen:
    """What the units seen have in their sums, column by column; from shards as well as from rows.

    Attributes:
        units: n.
        mean: (K,) means.
        sd: (K,) standard deviations; 0 for one unit.
        least: (K,) smallest sums.
        most: (K,) largest sums.
    """

    units: int
    mean: Floats
    sd: Floats
    least: Floats
    most: Floats

    @classmethod
    def of(cls, rows: Floats) -> Self:
        """From (n, K) sums, one row a unit."""
        n = len(rows)
        sd = rows.std(axis=0, ddof=1) if n > 1 else np.zeros(rows.shape[1])
        if not n:
            return cls(0, sd, sd, sd, sd)
        return cls(n, rows.mean(axis=0), sd, rows.min(axis=0), rows.max(axis=0))

    def plus(self, other: Self) -> Self:
        """Of the units of both (Chan, Golub and LeVeque 1983)."""
        if not self.units or not other.units:
            return self if self.units else other
        n = self.units + other.units
        apart = other.mean - self.mean
        squares = (self.units - 1) * self.sd**2 + (other.units - 1) * other.sd**2
        squares += apart**2 * (self.units * other.units / n)
        return type(self)(
            n,
            self.mean + apart * (other.units / n),
            np.sqrt(squares / (n - 1)),
            np.minimum(self.least, other.least),
            np.maximum(self.most, other.most),
        )


@dataclass(frozen=True, eq=False)
class Unseen:
    """Sums that a unit which was not seen may have, the worst one and the best one.

    Attributes:
        ordinary: (2, K) with as much at stake as a unit has on average.
        weighty: (2, K) with as much as the unit has, on average, that a part of all stakes is from.
        gravest: (2, K) with as much as the gravest unit seen, and an ordinary one at least.
        farthest: (2, K) with more than any unit seen.
    """

    ordinary: Floats
    weighty: Floats
    gravest: Floats
    farthest: Floats


@dataclass(frozen=True)
class OneMore(Distribution):
    """What resampling says when each resample has one more unit.

    Attributes:
        lower: Draws with the unit that lowers the value.
        upper: Draws with the unit that raises it.
    """

    lower: SortedDraws = field(repr=False)
    upper: SortedDraws = field(repr=False)

    def bound(self, level: float) -> float:
        """The percentile of the draws on this side."""
        return (self.upper if level >= 0.5 else self.lower).quantile(level)

    def level(self, at: float) -> float:
        """`bound` solved for its level; one half between the two medians."""
        above = self.upper.share_below(at)
        return above if above > 0.5 else min(0.5, self.lower.share_below(at))


@dataclass(frozen=True, eq=False)
class RuleOfThree(Distribution):
    """What a value may be if units that were not seen are all as bad, or as good, as can be.

    Attributes:
        statistic: Gives the value from totals.
        mean: (K,) mean sums of the units seen.
        lowering: (2, K) sums of a unit that lowers the value: one of many, and a rare one.
        raising: (2, K) sums of a unit that raises it, in the same way.
        units: Number of units seen; of those that carry the value, where these are fewer.
    """

    statistic: Statistic
    mean: Floats
    lowering: Floats
    raising: Floats
    units: float

    def bound(self, level: float) -> float:
        """The value if as many units as could have been missed are there."""
        missed = 1 - min(level, 1 - level) ** (1 / self.units)
        return self._value(missed, self.raising if level >= 0.5 else self.lowering)

    def level(self, at: float) -> float:
        """`bound` solved for its level; one half between the bounds of that level."""
        for row, sign in ((self.raising, 1.0), (self.lowering, -1.0)):
            low, high = 1 - 0.5 ** (1 / self.units), 1.0
            if sign * (at - self._value(low, row)) <= 0:
                continue
            for _ in range(_HALVINGS):
                middle = (low + high) / 2
                reached = sign * (self._value(middle, row) - at) >= 0
                low, high = (low, middle) if reached else (middle, high)
            tail = (1 - high) ** self.units
            return float(1 - tail if sign > 0 else tail)
        return 0.5

    def _value(self, missed: float, rows: Floats) -> float:
        row = rows[0] + (rows[1] - rows[0]) * min(1.0, missed / RARE)
        return float(self.statistic.value((1 - missed) * self.mean + missed * row))


def one_more(
    statistic: Statistic, totals: Floats, drawn: Floats, rows: Floats, *, seed: int
) -> OneMore:
    """Resampling with one more unit.

    Args:
        statistic: A ratio of totals.
        totals: (K,) totals of the units as they are.
        drawn: (B, K) totals of each resample.
        rows: (2, K) the worst and the best unit that is added.
        seed: Of the weights of that unit.
    """
    lowering, raising = _by_effect(statistic, totals, rows)
    more = (with_one_more(drawn, row, seed=seed) for row in (lowering, raising))
    return OneMore(*(SortedDraws(_sorted(statistic, totals)) for totals in more))


def with_one_more(drawn: Floats, row: Floats, *, seed: int) -> Floats:
    """(B, K) totals of each resample with a unit of these (K,) sums more, weighted by Exp(1)."""
    weights = np.random.default_rng([seed, len(drawn)]).standard_exponential((len(drawn), 1))
    return drawn + weights * row


def rule_of_three(
    statistic: Statistic,
    totals: Floats,
    many: Floats,
    rare: Floats,
    *,
    units: int,
    effective: float | None = None,
) -> RuleOfThree:
    """The rule of three for a ratio of totals, or a difference of two.

    Args:
        statistic: The ratio or the difference.
        totals: (K,) totals of the units as they are.
        many: (2, K) the worst and the best unit of which many could have been missed.
        rare: (2, K) the same where only few could.
        units: Number of units.
        effective: Units that carry the value, where they are fewer.
    """
    pairs = (_by_effect(statistic, totals, rows) for rows in (many, rare))
    lowering, raising = (np.stack(rows) for rows in zip(*pairs, strict=True))
    return RuleOfThree(statistic, totals / units, lowering, raising, effective or units)


def _by_effect(statistic: Statistic, totals: Floats, rows: Floats) -> Floats:
    """Two units, first the one that lowers the value."""
    first, second = statistic.value(totals + rows)
    return rows if first <= second else rows[::-1]


def _sorted(statistic: Statistic, totals: Floats) -> Floats:
    draws = statistic.value(totals)
    return np.sort(draws[np.isfinite(draws)])
