"""How well a number of every golden–proxy pair foretells what optimising the proxy kept.

Pairs share models, so they are not independent: the error is that of another family of models, one
model left out at a time, as golden and as proxy (jackknife).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rmcheck.lab.study.correlations import Correlation, jackknifed, kendall, pearson, spearman
from rmcheck.lab.study.family import RmFamily
from rmcheck.lab.study.measured import Measured
from rmcheck.lab.study.outcomes import KeptGain
from rmcheck.metrics.rewards import Floats, Ints


class Measure(Protocol):
    """(…) agreement of (…, Q) numbers with (Q,) outcomes of pairs whose goldens are (Q,)."""

    def __call__(self, x: Floats, y: Floats, goldens: Ints) -> Floats:
        """NaN where it is undefined."""


@dataclass(frozen=True)
class Agreement:
    """Of a metric, measured on many test sets, with an outcome.

    Attributes:
        tests: Mean over the test sets, and the interval in which 95 in 100 of them lie; without
            one where there is one test set.
        models: The same with the interval of other models: jackknife on Fisher's scale with
            Student's t.
        ceiling: The same measure between two independent runs of the optimiser; None without.
        pairs: Number of pairs.
    """

    tests: Measured
    models: Correlation
    ceiling: float | None
    pairs: int


def reciprocal_rank(x: Floats, y: Floats, goldens: Ints) -> Floats:
    """MRR: mean over goldens of 1 / rank by y, from 1 = best, of the proxy with the largest x.

    Proxies that tie in x share; those that tie in y have the mean of their ranks.
    """
    found = []
    for golden in np.unique(goldens):
        of = goldens == golden
        if of.sum() < 2:
            continue
        better = (y[of][None, :] > y[of][:, None]).sum(axis=1)
        level = (y[of][None, :] == y[of][:, None]).sum(axis=1)
        first = x[..., of] == x[..., of].max(axis=-1, keepdims=True)
        found.append((first / (better + (level + 1) / 2)).sum(axis=-1) / first.sum(axis=-1))
    return np.mean(found, axis=0) if found else np.full(x.shape[:-1], np.nan)


MEASURES: Mapping[str, Measure] = {
    "Kendall": lambda x, y, goldens: kendall(x, y),
    "Pearson": lambda x, y, goldens: pearson(x, y),
    "Spearman": lambda x, y, goldens: spearman(x, y),
    "MRR": reciprocal_rank,
}


def agreements(values: Floats, outcome: KeptGain, family: RmFamily) -> dict[str, Agreement]:
    """Every measure of agreement.

    Args:
        values: (B, Q) a metric on B test sets, turned so that a higher value is better.
        outcome: What optimising the proxies kept.
        family: Whose pairs these are.
    """
    return {name: agreement(name, values, outcome, family) for name in MEASURES}


def agreement(name: str, values: Floats, outcome: KeptGain, family: RmFamily) -> Agreement:
    """One measure of agreement; see `agreements`. Pairs without an outcome do not count."""
    known = np.isfinite(outcome.kept)
    pairs, x, y = family.pairs[known], values[:, known], outcome.kept[known]
    measure = MEASURES[name]
    models = np.unique(pairs)

    def over_sets(kept: np.ndarray) -> float:
        """Mean over the test sets with some of the models."""
        inside = np.isin(pairs, models[kept]).all(axis=1)
        if inside.sum() < 3:
            return float("nan")
        return float(np.mean(measure(x[:, inside], y[inside], pairs[inside, 0])))

    every = measure(x, y, pairs[:, 0])
    ceiling = None
    if outcome.again is not None:
        found = float(measure(outcome.again[known], y, pairs[:, 0]))
        ceiling = found if np.isfinite(found) else None
    left_out = _models_to_leave_out(family, pairs, models)
    told = jackknifed(models.size, over_sets, left_out, share=name == "MRR")
    alone = len(x) == 1 or told.value is None
    tests = Measured(told.value) if alone else Measured.over(every)
    return Agreement(tests, told, ceiling, int(known.sum()))


def _models_to_leave_out(family: RmFamily, pairs: Ints, models: Ints) -> Ints:
    """Positions in `models`; a golden that judges all pairs cannot be left out."""
    judges = np.unique(pairs[:, 0])
    fixed = judges if judges.size == 1 else judges[:0]
    return np.flatnonzero(~np.isin(models, fixed))
