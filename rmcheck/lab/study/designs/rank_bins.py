"""Figure 4: which distance in golden rank a pair should have to foretell regret."""

import numpy as np

from rmcheck.lab.study.agreement import agreement
from rmcheck.lab.study.experiment import Experiment
from rmcheck.lab.study.finding import Cell, DesignResult
from rmcheck.metrics.rank_bins import RankBinAccuracy
from rmcheck.reports.charts import matrix

MOST_BINS = 5


def rank_bins(experiment: Experiment) -> DesignResult | None:
    """Figure 4, on all tested responses; None where there are too few for two bins."""
    bins = min(MOST_BINS, experiment.every_response // 2)
    if bins < 2:
        return None
    draws = experiment.draws(4, experiment.every_response)
    cells = [(c, r) for c in range(1, bins + 1) for r in range(c, bins + 1)]
    metrics = [RankBinAccuracy(bins=bins, chosen=c, rejected=r) for c, r in cells]
    values = draws.values(*metrics)
    rows: list[dict[str, Cell]] = []
    figures = []
    names = [f"{i} of {bins}" for i in range(1, bins + 1)]
    for outcome in experiment.outcomes:
        square = np.full((bins, bins), np.nan)
        for (chosen, rejected), x in zip(cells, values, strict=True):
            agreed = agreement("Spearman", x, outcome, experiment.tested)
            square[chosen - 1, rejected - 1] = agreed.tests.value
            rows.append(
                {
                    "optimiser": outcome.name,
                    "bin of chosen": chosen,
                    "bin of rejected": rejected,
                    "Spearman": agreed.tests,
                }
            )
        figures.append(
            matrix(f"Spearman of accuracy and NDR, {outcome.name}", names, names, square)
        )
    return DesignResult(
        "figure-4",
        "Figure 4: rank bins",
        f"The responses of a prompt are cut by golden rank into {bins} bins, 1 the best. Accuracy "
        "is measured on pairs whose better response is in one bin (rows) and whose worse one is in "
        "another (columns); each cell is its Spearman correlation with NDR. The paper found a "
        "middling chosen and a low rejected response best for best-of-n, and a high chosen and a "
        "middling rejected one for PPO.",
        rows,
        figures,
    )
