"""Table 4: every metric on a few responses a prompt, and accuracy on one pair a prompt."""

from collections.abc import Mapping, Sequence

import numpy as np

from rmcheck.lab.study.agreement import agreements
from rmcheck.lab.study.experiment import Experiment, turned
from rmcheck.lab.study.finding import Cell, DesignResult
from rmcheck.lab.study.published import TABLE_4
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.pairwise import Accuracy
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Floats

# The paper's, in its order; NDR at n = 2 is the one that stands for ρ whatever the prompts' scales.
PAPERS = ("pearson", "spearman", "kendall", "accuracy", "bo_n", "ece", "mrr", "ndcg", "xi")
PAIR = "accuracy-pair"


def default_metrics() -> dict[str, Metric]:
    """The paper's ten metrics but for accuracy on pairs, and NDR at n = 2."""
    return {**{name: make_metric(name) for name in PAPERS}, "ndr n=2": make_metric("ndr", n=2)}


def metrics_compared(experiment: Experiment, metrics: Mapping[str, Metric]) -> DesignResult:
    """Table 4: what each metric foretells of each optimiser."""
    k = min(experiment.responses, experiment.every_response)
    values = experiment.draws(4, k).values(*metrics.values())
    found = {n: turned(metrics[n], x) for n, x in zip(metrics, values, strict=True)}
    found[PAIR] = experiment.draws(4, 2).values(Accuracy())[0]
    rows, undefined = _rows(experiment, found)
    return DesignResult(
        "table-4",
        f"Table 4: metrics on {k} responses a prompt",
        f"Each metric is measured on {experiment.sets} test sets of {k} responses a prompt, and "
        "accuracy-pair on 2. A metric of which a lower value is better is turned round. Intervals "
        "hold 95 in 100 test sets, and in the next column after them 95 in 100 families of models.",
        rows,
        notes=[f"not defined on some test sets: {', '.join(undefined)}"] if undefined else [],
    )


def _rows(
    experiment: Experiment, values: Mapping[str, Floats]
) -> tuple[Sequence[dict[str, Cell]], list[str]]:
    rows: list[dict[str, Cell]] = []
    undefined = [name for name, x in values.items() if not np.isfinite(x).all()]
    for outcome in experiment.outcomes:
        for name, x in values.items():
            agreed = agreements(x, outcome, experiment.tested)
            paper = TABLE_4.get(name, (None,) * 4)
            rows.append(
                {
                    "optimiser": outcome.name,
                    "metric": name,
                    **{measure: a.tests for measure, a in agreed.items()},
                    "Spearman, other models": agreed["Spearman"].models,
                    "two runs (ceiling)": agreed["Spearman"].ceiling,
                    **dict(
                        zip(
                            ("paper: BoN Spearman", "BoN MRR", "PPO Spearman", "PPO MRR"),
                            paper,
                            strict=True,
                        )
                    ),
                }
            )
    return rows, undefined
