"""Accuracy beside what optimisation kept, pair by pair: Table 1, Figures 3 and 10 to 13."""

import numpy as np

from rmcheck.lab.study.agreement import agreement, agreements
from rmcheck.lab.study.experiment import Experiment, mean
from rmcheck.lab.study.family import RmFamily
from rmcheck.lab.study.finding import Cell, DesignResult
from rmcheck.lab.study.measured import Measured
from rmcheck.lab.study.outcomes import KeptGain
from rmcheck.lab.study.published import TABLE_1
from rmcheck.metrics.rewards import Floats
from rmcheck.reports.charts import Series, chart, matrix

# Groups with fewer models have no correlation of their own.
SMALLEST_GROUP = 3


def accuracy_and_regret(experiment: Experiment) -> DesignResult:
    """Table 1: how well accuracy foretells what each optimiser keeps."""
    rows: list[dict[str, Cell]] = []
    for outcome in experiment.outcomes:
        found = agreements(experiment.accuracy, outcome, experiment.tested)
        for name, agreed in found.items():
            rows.append(
                {
                    "optimiser": outcome.name,
                    "measure": name,
                    "accuracy and NDR": agreed.models,
                    "two runs (ceiling)": agreed.ceiling,
                    "pairs": agreed.pairs,
                    "paper, BoN": TABLE_1["BoN"][name],
                    "paper, PPO": TABLE_1["PPO"][name],
                }
            )
    return DesignResult(
        "table-1",
        "Table 1: accuracy and regret",
        "How well the accuracy of a proxy against its golden foretells the normalised drop ratio "
        "(NDR, the share of golden's gain that optimising the proxy keeps) over all pairs. The "
        "interval is that of other families of models. The ceiling is how well two independent "
        "runs of the optimiser agree with one another; both are noisy, so a number that knew what "
        "a run does on average would reach about its square root.",
        rows,
    )


def trend(experiment: Experiment) -> DesignResult:
    """Figure 3: the points behind Table 1."""
    family, accuracy = experiment.tested, mean(experiment.accuracy)
    rows: list[dict[str, Cell]] = [
        {
            "golden": family.names[g],
            "proxy": family.names[m],
            "accuracy": float(accuracy[q]),
            **{f"NDR, {o.name}": float(o.kept[q]) for o in experiment.outcomes},
        }
        for q, (g, m) in enumerate(family.pairs.tolist())
    ]
    figures = [
        chart(
            f"Accuracy and NDR of {outcome.name}",
            "accuracy",
            f"NDR, {outcome.name}",
            [Series("", accuracy, outcome.kept, dots=True)],
        )
        for outcome in experiment.outcomes
    ]
    about = "Each point is a pair of golden and proxy. Further up, optimising the proxy keeps more."
    return DesignResult(
        "figure-3", "Figure 3: accuracy and NDR, pair by pair", about, rows, figures
    )


def matrices(experiment: Experiment) -> DesignResult | None:
    """Figures 10 and 11: accuracy and NDR of every pair; None where one golden judges all."""
    family = experiment.tested
    if family.fixed_golden:
        return None
    accuracy = mean(experiment.accuracy)
    figures = [matrix("Accuracy", family.names, family.names, _square(family, accuracy))]
    figures += [
        matrix(f"NDR, {o.name}", family.names, family.names, _square(family, o.kept))
        for o in experiment.outcomes
    ]
    square = _square(family, accuracy)
    rows: list[dict[str, Cell]] = [
        {"golden": name, **dict(zip(family.names, row.tolist(), strict=True))}
        for name, row in zip(family.names, square, strict=True)
    ]
    apart = float(np.nanmax(np.abs(square - square.T)))
    return DesignResult(
        "figures-10-11",
        "Figures 10 and 11: matrices of accuracy and NDR",
        "Rows are goldens, columns proxies. The table has the accuracies. Accuracy is the same "
        "whoever of two models is golden, but for ties and, with another golden, other comparable "
        f"pairs (largest difference {apart:.3f}); NDR is not.",
        rows,
        figures,
    )


def groups(experiment: Experiment) -> DesignResult | None:
    """Figure 12: the agreement inside each group of models; None where there are no groups."""
    family = experiment.tested
    names = sorted({name for name in family.groups if name})
    if len(names) < 2:
        return None
    rows: list[dict[str, Cell]] = []
    parts = {name: _inside(family, name) for name in names}
    known = {name: part for name, part in parts.items() if part is not None}
    for outcome in experiment.outcomes:
        for name, part in known.items():
            inside = KeptGain(outcome.name, np.where(part, outcome.kept, np.nan), outcome.again)
            if np.isfinite(inside.kept).sum() < SMALLEST_GROUP:
                continue
            agreed = agreement("Spearman", experiment.accuracy, inside, family)
            rows.append(
                {
                    "optimiser": outcome.name,
                    "group": name,
                    "Spearman": agreed.models,
                    "pairs": agreed.pairs,
                }
            )
    first, accuracy = experiment.outcomes[0], mean(experiment.accuracy)
    series = [Series(n, accuracy[p], first.kept[p], dots=True) for n, p in known.items()]
    small = [name for name in names if name not in known]
    notes = [f"too few models for a correlation: {', '.join(small)}"] if small else []
    return DesignResult(
        "figure-12",
        "Figure 12: architectures and data",
        "The same inside each group of models, such as those of one base model or one part of the "
        "data: pairs of which both models are in the group, or the proxy where one golden judges.",
        rows,
        [chart("Accuracy and NDR by group", "accuracy", f"NDR, {first.name}", series)],
        notes,
    )


def against_a_judge(experiment: Experiment) -> DesignResult | None:
    """Figure 13: models against one golden, such as a judge; None where each is golden in turn."""
    family = experiment.tested
    if not family.fixed_golden:
        return None
    accuracy = experiment.accuracy
    rows: list[dict[str, Cell]] = [
        {
            "model": family.names[m],
            "accuracy": Measured.over(accuracy[:, q]),
            **{f"NDR, {o.name}": float(o.kept[q]) for o in experiment.outcomes},
        }
        for q, m in enumerate(family.pairs[:, 1].tolist())
    ]
    first = experiment.outcomes[0]
    series = [
        Series(family.names[m], mean(accuracy)[[q]], first.kept[[q]], dots=True)
        for q, m in enumerate(family.pairs[:, 1].tolist())
    ]
    return DesignResult(
        "figure-13",
        f"Figure 13: models against {family.fixed_golden}",
        "Accuracy of each model against the one golden, with the interval of other prompts, and "
        "what optimising the model kept of golden's gain.",
        rows,
        [chart("Accuracy and NDR by model", "accuracy", f"NDR, {first.name}", series)],
    )


def _square(family: RmFamily, values: Floats) -> Floats:
    out = np.full((len(family.names), len(family.names)), np.nan)
    out[family.pairs[:, 0], family.pairs[:, 1]] = values
    return out


def _inside(family: RmFamily, group: str) -> np.ndarray | None:
    """(Q,) pairs inside a group; None where they are too few."""
    of = np.array([name == group for name in family.groups])
    if of.sum() < SMALLEST_GROUP:
        return None
    proxies = of[family.pairs[:, 1]]
    return proxies if family.fixed_golden else proxies & of[family.pairs[:, 0]]
