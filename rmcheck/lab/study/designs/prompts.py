"""Table 3: accuracy on one category of prompts against regret on another."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array, vstack

from rmcheck.lab.study.agreement import agreement
from rmcheck.lab.study.experiment import Experiment
from rmcheck.lab.study.finding import Cell, DesignResult
from rmcheck.lab.study.outcomes import KeptGain, bon_sums, kept_of
from rmcheck.lab.study.published import CATEGORIES, TABLE_3
from rmcheck.metrics.pairwise import Accuracy
from rmcheck.metrics.rewards import Floats
from rmcheck.reports.charts import matrix


def categories(experiment: Experiment) -> DesignResult | None:
    """Table 3, for best-of-n; None where the prompts have fewer than two categories."""
    family = experiment.tested
    names = sorted(set(family.categories.tolist()))
    if len(names) < 2:
        return None
    masks = np.stack([family.categories == name for name in names]).astype(np.float64)
    accuracy = _accuracy(experiment, names)
    kept, again = (
        kept_of(np.einsum("cp,qpk->cqk", masks, bon_sums(half, experiment.n)))
        for half in (experiment.optimised, family)
    )
    rows: list[dict[str, Cell]] = []
    square = np.full((len(names), len(names)), np.nan)
    for i, of_regret in enumerate(names):
        outcome = KeptGain(of_regret, kept[i], again[i])
        told = [agreement("Spearman", accuracy[:, j], outcome, family) for j in range(len(names))]
        square[i] = [agreed.tests.value for agreed in told]
        rows.append(
            {
                "regret on": of_regret,
                "prompts": int(masks[i].sum()),
                **{name: agreed.tests for name, agreed in zip(names, told, strict=True)},
                "two runs (ceiling)": told[i].ceiling,
            }
        )
    paper = np.array([TABLE_3[name] for name in CATEGORIES])
    return DesignResult(
        "table-3",
        f"Table 3: accuracy on one category, regret on another (best of {experiment.n})",
        "Spearman correlation of the accuracy on the prompts of one category (columns) with the "
        "NDR on those of another (rows). If the diagonal is no higher than the rest, what a "
        "category tells is not about itself. The second matrix is the paper's, best of 1280.",
        rows,
        [
            matrix("Accuracy by category against NDR by category", names, names, square),
            matrix("The paper's table 3, best of n", CATEGORIES, CATEGORIES, paper),
        ],
    )


def _accuracy(experiment: Experiment, names: Sequence[str]) -> Floats:
    """(B, C, Q) accuracy on each category on every test set."""
    draws = experiment.draws(1, experiment.every_response)
    of = draws.family.categories
    parts = [draws.weights.multiply((of == name)[None]) for name in names]
    found = replace(draws, weights=csr_array(vstack(parts))).values(Accuracy())[0]
    return found.reshape(len(names), experiment.sets, -1).transpose(1, 0, 2)
