"""Which column of a table of reward models ranks their outcome, in all and inside groups.

The error of every correlation is that of other reward models: one is left out at a time (jackknife)
on Fisher's scale, with Student's t, since the models are few.

References:
    Fisher 1921, Metron 1:3-32 (atanh of a correlation); Efron and Tibshirani 1993, An Introduction
    to the Bootstrap, chapter 11 (jackknife); Kendall 1945, Biometrika 33:239-251 (tau-b).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmcheck.lab.study.measured import CONFIDENCE, Measured
from rmcheck.lab.study.rm_table import RmTable
from rmcheck.metrics.ranks import average_ranks
from rmcheck.stats.weights import Floats

Ints = NDArray[np.int64]
Correlate = Callable[[Floats, Floats], Floats]

# Fewer groups, or reward models of a group, than these have no correlation.
MIN_GROUPS = MIN_GROUP_SIZE = 3
# Correlations of exactly 1 are taken as this on Fisher's scale.
NEARLY_ONE = 1 - 1e-9


@dataclass(frozen=True)
class Correlation(Measured):
    """A correlation over reward models, with the interval of other reward models.

    Attributes:
        error: Jackknife standard error, of a correlation on Fisher's scale; None where leaving one
            out undoes it, and with it the interval.
    """

    error: float | None = None

    @property
    def ranks(self) -> bool:
        """Whether its interval leaves 0 out."""
        return self.lower is not None and self.upper is not None and self.lower * self.upper > 0


@dataclass(frozen=True)
class Association:
    """One kind of correlation between a column and the outcome.

    Attributes:
        overall: Over all reward models.
        within: Inside groups: the mean of their correlations, by their sizes; None without groups.
        between: Of the means of the groups, which are left out one at a time; None without groups.
    """

    overall: Correlation
    within: Correlation | None = None
    between: Correlation | None = None


def associations(table: RmTable) -> dict[str, dict[str, Association]]:
    """Every number column against the outcome: Spearman, Kendall's tau-b and Pearson."""
    return {
        column: {kind: _association(values, table, how) for kind, how in KINDS.items()}
        for column, values in table.numbers.items()
    }


def _association(values: Floats, table: RmTable, how: Correlate) -> Association:
    outcome, groups = table.outcome, table.groups
    overall = jackknifed(len(outcome), lambda kept: float(how(values[kept], outcome[kept])))
    if groups is None:
        return Association(overall)
    inside = jackknifed(
        len(outcome), lambda kept: _within(values[kept], outcome[kept], groups[kept], how)
    )
    names = np.unique(groups)
    x, y = (np.array([v[groups == name].mean() for name in names]) for v in (values, outcome))
    between = jackknifed(
        names.size, lambda kept: float(how(x[kept], y[kept])) if kept.sum() >= MIN_GROUPS else NAN
    )
    return Association(overall, inside, between)


def _within(x: Floats, y: Floats, groups: NDArray[np.str_], how: Correlate) -> float:
    """Mean of the groups' correlations, by size; groups of one or two, or without spread, apart."""
    parts = [groups == name for name in np.unique(groups)]
    found = [
        (part.sum(), float(how(x[part], y[part]))) for part in parts if part.sum() >= MIN_GROUP_SIZE
    ]
    known = [(size, value) for size, value in found if np.isfinite(value)]
    return float(np.average([v for _, v in known], weights=[s for s, _ in known])) if known else NAN


def jackknifed(
    size: int,
    statistic: Callable[[NDArray[np.bool_]], float],
    out: Ints | None = None,
    *,
    share: bool = False,
) -> Correlation:
    """A correlation of those of `size` units that are kept, with its interval.

    Args:
        size: Number of units.
        statistic: The correlation of the units that a (size,) mask keeps; NaN where undefined.
        out: Units that are left out, one at a time; None leaves out each.
        share: Whether it lies in [0, 1] and its error is taken as it is, not on Fisher's scale.
    """
    from scipy.stats import t

    value = statistic(np.ones(size, dtype=bool))
    if not np.isfinite(value):
        return Correlation(None)
    each = np.arange(size) if out is None else out
    left = np.array([statistic(np.arange(size) != i) for i in each])
    if not np.isfinite(left).all():
        return Correlation(float(value))
    numbers = np.array([value, *left])
    center, *others = numbers if share else np.arctanh(np.clip(numbers, -NEARLY_ONE, NEARLY_ONE))
    error = float(np.sqrt((each.size - 1) * np.var(others)))
    reach = float(t.ppf((1 + CONFIDENCE) / 2, each.size - 1)) * error
    ends = np.array([center - reach, center + reach])
    low, high = np.clip(ends, 0, 1) if share else np.tanh(ends)
    return Correlation(float(value), float(low), float(high), error)


def pearson(x: Floats, y: Floats) -> Floats:
    """(…) Pearson correlation of (…, M) numbers with (…, M) others; NaN where either is constant.

    Both are broadcast.
    """
    constant = (np.ptp(x, axis=-1) == 0) | (np.ptp(y, axis=-1) == 0)
    a, b = (v - v.mean(axis=-1, keepdims=True) for v in (x, y))
    scale = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    found = (a * b).sum(axis=-1) / np.where(constant, 1.0, scale)
    return np.where(constant, NAN, np.clip(found, -1.0, 1.0))


def spearman(x: Floats, y: Floats) -> Floats:
    """(…) Spearman's rank correlation, ties sharing their mean rank."""
    return pearson(_ranks(x), _ranks(y))


def _ranks(x: Floats) -> Floats:
    """(…, M) ranks, ties sharing their mean; NaN where one of the numbers is."""
    rows = average_ranks(x.reshape(-1, x.shape[-1])).reshape(x.shape)
    return np.where(np.isnan(x).any(axis=-1, keepdims=True), NAN, rows)


def kendall(x: Floats, y: Floats) -> Floats:
    """(…) Kendall's tau-b: ties count neither for nor against."""
    first, second = np.triu_indices(x.shape[-1], k=1)
    by_x, by_y = (np.sign(v[..., first] - v[..., second]) for v in (x, y))
    scale = np.sqrt((by_x**2).sum(axis=-1) * (by_y**2).sum(axis=-1))
    found = (by_x * by_y).sum(axis=-1) / np.where(scale == 0, 1.0, scale)
    return np.where(scale == 0, NAN, found)


NAN = float("nan")
KINDS: Mapping[str, Correlate] = {"spearman": spearman, "kendall": kendall, "pearson": pearson}
