"""What foretells each optimiser for a reward model that nobody has optimised yet.

A number is worth what it says of the next model. So the line from a number to what optimisation
keeps is fitted without a model, or without all models of its group, and asked about them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from rmcheck.errors import UndefinedMetricError
from rmcheck.lab.study.agreement import Agreement, agreement
from rmcheck.lab.study.draws import Draws
from rmcheck.lab.study.experiment import Experiment, turned
from rmcheck.lab.study.family import RmFamily
from rmcheck.lab.study.finding import Cell, DesignResult
from rmcheck.lab.study.outcomes import KeptGain
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Floats

# Every metric together: ridge regression on standardised numbers, so that it is defined for fewer
# models than metrics.
TOGETHER, PENALTY = "all together", 1.0
# Fewer pairs fit no line.
FEWEST_PAIRS = 3
# Nats at which policies on the pool are compared, and the n that is predicted.
MATCHED_KL, FAR = 1.0, 256

Mask = NDArray[np.bool_]


def foretelling(experiment: Experiment, metrics: Mapping[str, Metric]) -> DesignResult | None:
    """Every number against every optimiser; None where no optimiser has enough pairs.

    Args:
        experiment: The arrays.
        metrics: Name to metric; further numbers are added.
    """
    family = experiment.tested
    numbers, undefined = _numbers(family, {**metrics, **_further()})
    kinds = [name for name in family.groups if name]
    rows: list[dict[str, Cell]] = []
    said = []
    for outcome in experiment.outcomes:
        found = _of_outcome(outcome, numbers, family, with_kinds=len(set(kinds)) > 1)
        rows += [told.row(outcome.name) for told in found]
        said += [found[0].sentence(outcome.name)] if found else []
    if not rows:
        return None
    left_out = f"not defined for every pair: {', '.join(undefined)}" if undefined else ""
    return DesignResult(
        "foretelling",
        "What foretells an optimiser for a model that was left out",
        "Each number is measured once on all responses that metrics see. A line from it to NDR is "
        "fitted to the pairs without a model, and asked about that model as proxy; then without "
        f"all models of its group (kind). `{TOGETHER}` is ridge regression on all of them. "
        "A number that says nothing has a Spearman below 0 there, as the others' mean is high "
        "where a model is low. Intervals are those of other families of models; the error is in "
        "units of NDR. The highest of many numbers, chosen on the same pairs, looks better than it "
        "is.",
        rows,
        notes=[*said, *filter(None, [left_out])],
    )


def _further() -> dict[str, Metric]:
    """Numbers that are no metric of the paper's."""
    return {
        "predicted_regret pooled": make_metric("predicted_regret", n=FAR, predictor="pooled"),
        "matched_kl_regret": make_metric("matched_kl_regret", kl=MATCHED_KL),
        "reward_variance": make_metric("reward_variance"),
        "tail_excess": make_metric("tail_excess"),
        "gamma": make_metric("gamma"),
    }


def _numbers(
    family: RmFamily, metrics: Mapping[str, Metric]
) -> tuple[dict[str, Floats], list[str]]:
    """Name to (Q,) values, turned so that a higher one is better; and what is undefined."""
    values = {name: _values(family, metric) for name, metric in metrics.items()}
    known = {name: x for name, x in values.items() if np.isfinite(x).all() and np.ptp(x) > 0}
    return known, [name for name in values if name not in known]


def _values(family: RmFamily, metric: Metric) -> Floats:
    whole = Draws(family, csr_array(np.ones((1, family.prompts))))
    try:
        return turned(metric, whole.values(metric)[0][0])
    except UndefinedMetricError:
        return np.full(len(family.pairs), np.nan)


@dataclass(frozen=True)
class _Told:
    """What one number foretells of one optimiser."""

    number: str
    seen: Agreement
    model_out: Agreement
    kind_out: Agreement | None
    error: float

    def row(self, optimiser: str) -> dict[str, Cell]:
        kind = self.kind_out.models if self.kind_out is not None else None
        return {
            "optimiser": optimiser,
            "number": self.number,
            "Spearman": self.seen.models,
            "model left out": self.model_out.models,
            "kind left out": kind,
            "error, model left out": self.error,
            "two runs (ceiling)": self.seen.ceiling,
            "pairs": self.seen.pairs,
        }

    def sentence(self, optimiser: str) -> str:
        told = f"{optimiser}: {self.number} is the highest of them for left-out models, Spearman "
        told += str(self.model_out.models)
        if self.seen.ceiling is not None:
            told += f"; two runs agree to {self.seen.ceiling:.3f}"
        return told


def _of_outcome(
    outcome: KeptGain, numbers: Mapping[str, Floats], family: RmFamily, *, with_kinds: bool
) -> list[_Told]:
    """Each number, the best for left-out models first."""
    known = np.isfinite(outcome.kept)
    if known.sum() < FEWEST_PAIRS:
        return []
    inputs = {name: x[:, None] for name, x in numbers.items()}
    inputs[TOGETHER] = np.stack(list(numbers.values()), axis=1)
    models = [np.arange(len(family.names)) == m for m in range(len(family.names))]
    kinds = [np.array(family.groups) == name for name in sorted(set(family.groups))]
    found = []
    for name, x in inputs.items():

        def agreed(values: Floats) -> Agreement:
            return agreement("Spearman", values[None], outcome, family)

        out = left_out(x, outcome.kept, known, family, models)
        if not np.isfinite(out[known]).all():
            return []
        error = float(np.sqrt(np.mean((out - outcome.kept)[known] ** 2)))
        fitted = _fitted(x, outcome.kept, known)(x) if name == TOGETHER else x[:, 0]
        kind = left_out(x, outcome.kept, known, family, kinds) if with_kinds else None
        kind_out = agreed(kind) if kind is not None and np.isfinite(kind[known]).all() else None
        found.append(_Told(name, agreed(fitted), agreed(out), kind_out, error))
    return sorted(found, key=lambda told: -_rank(told.model_out))


def _rank(found: Agreement) -> float:
    value = found.models.value
    return -2.0 if value is None else value


def left_out(
    x: Floats, kept: Floats, known: Mask, family: RmFamily, parts: Sequence[Mask]
) -> Floats:
    """(Q,) what is foretold of each pair by a line that has not met its proxy.

    Args:
        x: (Q, K) numbers of the pairs.
        kept: (Q,) NDR.
        known: (Q,) pairs that have one.
        family: The models.
        parts: (R,) models that are left out together; each model stands in one.

    Returns:
        NaN where too few pairs are left.
    """
    golden, proxy = family.pairs.T
    fixed = bool(family.fixed_golden)
    out = np.full(len(kept), np.nan)
    for part in parts:
        met = part[proxy] if fixed else part[proxy] | part[golden]
        train = known & ~met
        if train.sum() >= FEWEST_PAIRS:
            asked = part[proxy]
            out[asked] = _fitted(x, kept, train)(x[asked])
    return out


def _fitted(x: Floats, y: Floats, train: Mask) -> Callable[[Floats], Floats]:
    """A line, or with several numbers ridge regression on standardised ones."""
    center, scale = x[train].mean(axis=0), x[train].std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    inside = (x[train] - center) / scale
    middle = float(y[train].mean())
    penalty = PENALTY * (x.shape[1] > 1)
    squares = inside.T @ inside + penalty * np.eye(x.shape[1])
    slopes = np.linalg.lstsq(squares, inside.T @ (y[train] - middle), rcond=None)[0]
    return lambda asked: np.asarray(middle + (asked - center) / scale @ slopes)
