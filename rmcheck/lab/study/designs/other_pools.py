"""Other responses and other prompts: Table 2, Figures 5 and 15."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array, hstack

from rmcheck.lab.study.agreement import agreement, agreements
from rmcheck.lab.study.draws import Draws
from rmcheck.lab.study.experiment import Experiment
from rmcheck.lab.study.family import RmFamily
from rmcheck.lab.study.finding import Cell, DesignResult, banded
from rmcheck.lab.study.outcomes import best_of_n
from rmcheck.lab.study.published import TABLE_2
from rmcheck.metrics.pairwise import Accuracy
from rmcheck.reports.charts import Series, chart


def response_sources(experiment: Experiment, others: Mapping[str, RmFamily]) -> DesignResult | None:
    """Table 2: accuracy on responses of other models; None without any."""
    if not others:
        return None
    pools = {"the study's own": experiment.tested, **others}
    rows: list[dict[str, Cell]] = []
    for name, family in pools.items():
        k = min(experiment.responses, family.responses)
        values = replace(experiment, tested=family).draws(2, k).values(Accuracy())[0]
        for outcome in experiment.outcomes:
            found = agreements(values, outcome, experiment.tested)
            rows.append(
                {
                    "responses of": name,
                    "optimiser": outcome.name,
                    "Spearman": found["Spearman"].tests,
                    "MRR": found["MRR"].tests,
                    "prompts": family.prompts,
                }
            )
    paper: list[dict[str, Cell]] = [
        {"responses of": f"paper: {name}", "optimiser": who, "Spearman": rho, "MRR": mrr}
        for name, (bon, bon_mrr, ppo, ppo_mrr) in TABLE_2.items()
        for who, rho, mrr in (("BoN", bon, bon_mrr), ("PPO", ppo, ppo_mrr))
    ]
    return DesignResult(
        "table-2",
        "Table 2: whose responses a test has",
        "Accuracy is measured on responses of other models; what optimisation kept is that of the "
        "study's own pool. Intervals hold 95 in 100 test sets.",
        [*rows, *paper],
    )


def other_policies(experiment: Experiment, others: Mapping[str, RmFamily]) -> DesignResult | None:
    """Figure 15: what best-of-n keeps when another policy answers; None without another pool."""
    rows: list[dict[str, Cell]] = []
    series = []
    for name, family in others.items():
        halves = family.halves(experiment.seed)
        if experiment.n > halves[1].responses:
            continue
        outcome = best_of_n(halves, experiment.n)
        agreed = agreement("Spearman", experiment.accuracy, outcome, experiment.tested)
        rows.append(
            {
                "policy": name,
                "optimiser": outcome.name,
                "Spearman": agreed.models,
                "two runs (ceiling)": agreed.ceiling,
            }
        )
        series.append(Series(name, experiment.accuracy.mean(axis=0), outcome.kept, dots=True))
    if not rows:
        return None
    return DesignResult(
        "figure-15",
        "Figure 15: another policy",
        "Accuracy on the study's own pool, and what best-of-n by the proxy keeps when another "
        "policy answers. The interval is that of other models.",
        rows,
        [chart("Accuracy here, NDR with another policy", "accuracy", "NDR", series)],
    )


def prompt_shift(
    experiment: Experiment, rewritten: Mapping[str, RmFamily], shares: Sequence[float]
) -> DesignResult | None:
    """Figure 5: a share of the prompts of each test set is said anew; None where none are.

    Args:
        experiment: The study.
        rewritten: Way to the tested half with every prompt said anew.
        shares: Shares that are replaced.
    """
    if not rewritten:
        return None
    rows: list[dict[str, Cell]] = []
    series = []
    outcome = experiment.outcomes[0]
    for way, family in rewritten.items():
        line = []
        for share in shares:
            values = _mixed(experiment, family, share).values(Accuracy())[0]
            line.append(agreement("Spearman", values, outcome, experiment.tested).tests)
            rows.append({"prompts": way, "share": share, "Spearman": line[-1]})
        series.append(banded(way, np.array(shares), line))
    return DesignResult(
        "figure-5",
        "Figure 5: prompts said anew",
        "In each test set a share of the prompts is replaced by the same prompt in other words "
        "(paraphrased) or by one that asks for something more (rewritten), with the same "
        "responses; golden judges the new prompt where it is a model, and stays as it is where it "
        f"is a column. Spearman of accuracy and NDR, {outcome.name}.",
        rows,
        [chart("Prompts said anew", "share of prompts", "Spearman", series)],
    )


def _mixed(experiment: Experiment, other: RmFamily, share: float) -> Draws:
    """Test sets of which a share of the prompts is from another family."""
    k = min(experiment.responses, experiment.tested.responses)
    own, new = (replace(experiment, tested=f).draws(5, k) for f in (experiment.tested, other))
    rng = np.random.default_rng([experiment.seed, 5, round(1000 * share)])
    replaced = rng.permuted(
        np.tile(np.arange(own.weights.shape[1]), (own.weights.shape[0], 1)), axis=1
    ) < round(share * own.weights.shape[1])
    mask = replaced.astype(np.float64)
    parts = [csr_array(own.weights.multiply(1 - mask)), csr_array(new.weights.multiply(mask))]
    wide = replace(
        own.family,
        scores=np.concatenate([own.family.scores, new.family.scores], axis=1),
        categories=np.concatenate([own.family.categories, new.family.categories]),
    )
    return Draws(wide, csr_array(hstack(parts)))
