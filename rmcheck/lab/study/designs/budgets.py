"""More prompts or more responses: Figures 6 and 14 at equal samples, Figure 7 at equal labour."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from rmcheck.lab.study.agreement import agreement
from rmcheck.lab.study.annotator import annotated_ranks, comparisons
from rmcheck.lab.study.draws import Draws
from rmcheck.lab.study.experiment import Experiment
from rmcheck.lab.study.finding import Cell, DesignResult, banded
from rmcheck.lab.study.outcomes import KeptGain
from rmcheck.metrics.pairwise import Accuracy
from rmcheck.metrics.rewards import Floats
from rmcheck.reports.charts import chart

RESPONSES = (2, 3, 4, 5, 8, 12, 16, 24, 32)
# What a budget is, as a share of what all prompts cost with two responses each.
SHARES = (0.25, 1.0)
QUALITIES = (1.0, 5.0)
FEWEST_PROMPTS = 5

# (B, Q) values by budget and responses a prompt.
Values = Mapping[tuple[int, int], Floats]


def equal_samples(experiment: Experiment) -> list[DesignResult]:
    """Figure 6 for the first optimiser, and Figure 14 for each other one."""
    values = _over_budgets(
        experiment,
        float,
        lambda k, prompts: experiment.draws(6, k, prompts).values(Accuracy())[0],
    )
    about = (
        "Accuracy with more responses a prompt and fewer prompts, so that each line has as many "
        "scored responses everywhere. Bands hold 95 in 100 test sets."
    )
    return [
        _curve(
            f"figure-14-{i}" if i else "figure-6",
            f"{'Figure 14' if i else 'Figure 6'}: responses against prompts, {outcome.name}",
            about,
            "samples",
            values,
            outcome,
            experiment,
        )
        for i, outcome in enumerate(experiment.outcomes)
    ]


def equal_labour(experiment: Experiment) -> list[DesignResult]:
    """Figure 7, for annotators of two qualities: the golden order is what the annotator says."""
    found = []
    for i, quality in enumerate(QUALITIES):

        def annotated(k: int, prompts: int, i: int = i, quality: float = quality) -> Floats:
            rng = np.random.default_rng([experiment.seed, 7, i, k, prompts])
            return _annotated(experiment.draws(7, k, prompts), quality, rng)

        found.append(
            _curve(
                f"figure-7-{quality:g}",
                f"Figure 7: equal labour of an annotator of quality {quality:g}",
                f"An annotator who prefers a to b with probability σ({quality:g} (a − b)) sorts "
                "the responses of a prompt by comparing two at a time, and the metric sees this "
                "order in place of golden's. Each line has as many comparisons everywhere.",
                "comparisons",
                _over_budgets(experiment, comparisons, annotated),
                experiment.outcomes[0],
                experiment,
            )
        )
    return found


def _over_budgets(
    experiment: Experiment,
    cost: Callable[[int], float],
    measured: Callable[[int, int], Floats],
) -> Values:
    """What is measured with k responses on as many prompts as the budget allows."""
    values = {}
    for share in SHARES:
        budget = share * experiment.tested.prompts * cost(2)
        for k in (k for k in RESPONSES if k <= experiment.every_response):
            prompts = int(budget / cost(k))
            if prompts >= FEWEST_PROMPTS:
                values[round(budget), k] = measured(k, prompts)
    return values


def _annotated(draws: Draws, quality: float, rng: np.random.Generator) -> Floats:
    """(B, Q) accuracy against what the annotator says of each golden."""
    family = draws.family
    said = [annotated_ranks(scores, quality, rng) for scores in family.scores]
    both = replace(
        family,
        names=(*family.names, *family.names),
        scores=np.concatenate([family.scores, said]),
        pairs=family.pairs + np.array([len(said), 0]),
    )
    return replace(draws, family=both).values(Accuracy())[0]


def _curve(
    name: str,
    title: str,
    about: str,
    unit: str,
    values: Values,
    outcome: KeptGain,
    experiment: Experiment,
) -> DesignResult:
    found = {
        at: agreement("Spearman", x, outcome, experiment.tested).tests for at, x in values.items()
    }
    rows: list[dict[str, Cell]] = [
        {unit: budget, "responses": k, "Spearman": told} for (budget, k), told in found.items()
    ]
    series = []
    for budget in sorted({budget for budget, _ in found}):
        line = {k: told for (of, k), told in found.items() if of == budget}
        at = np.array(list(line), dtype=np.float64)
        series.append(banded(f"{budget} {unit}", at, list(line.values())))
    label = f"Spearman of accuracy and NDR, {outcome.name}"
    figure = chart(title, "responses a prompt", label, series, log_x=True)
    return DesignResult(name, title, about, rows, [figure])
