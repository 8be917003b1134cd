"""Accuracy against over-optimisation, and golden along the path: Figures 8 and 9, Table 7."""

import numpy as np

from rmcheck.lab.curves.goodhart import correlation_from_accuracy
from rmcheck.lab.study.agreement import agreements
from rmcheck.lab.study.experiment import Experiment, mean
from rmcheck.lab.study.finding import Cell, DesignResult
from rmcheck.lab.study.published import TABLE_7
from rmcheck.metrics.best_of_n import bon_kl
from rmcheck.metrics.bon_curve import BonCurve, n_grid
from rmcheck.metrics.ratio import ratio
from rmcheck.metrics.rewards import Floats
from rmcheck.reports.charts import Series, chart

PENALTY = "KL penalty "


def curve_totals(experiment: Experiment) -> tuple[BonCurve, Floats]:
    """Best-of-n over a grid of n on the optimised half, and the (Q, K) totals of every pair."""
    family = experiment.optimised
    curve = BonCurve(n_grid(family.responses))
    totals = [
        curve.sums(family.rewards(golden, proxy))[0].sum(axis=0)
        for golden, proxy in family.pairs.tolist()
    ]
    return curve, np.stack(totals)


def accuracy_and_overoptimisation(experiment: Experiment) -> DesignResult:
    """Figure 8: theory and data, in both conventions of the unit."""
    family, accuracy = experiment.optimised, mean(experiment.accuracy)
    curve, totals = curve_totals(experiment)
    at = curve.grid.index(min(curve.grid, key=lambda n: abs(n - experiment.n)))
    golden = curve.golden_gain(totals)[:, at] / curve.golden_sd(totals)
    proxy = curve.proxy_gain(totals)[:, at] / curve.proxy_sd(totals)
    found = ratio(golden, proxy)
    expected = correlation_from_accuracy(np.clip(accuracy, 0.0, 1.0))
    rows: list[dict[str, Cell]] = [
        {
            "golden": family.names[g],
            "proxy": family.names[m],
            "accuracy": float(accuracy[q]),
            "J golden / J proxy": float(found[q]),
            "theory, unit scales": float(expected[q]),
            "theory, common unit": float(expected[q] ** 2),
        }
        for q, (g, m) in enumerate(family.pairs.tolist())
    ]
    grid = np.linspace(min(0.5, float(accuracy.min())), 1.0, 60)
    theory = correlation_from_accuracy(grid)
    series = [
        Series("pairs", accuracy, found, dots=True),
        Series("theory, unit scales (ρ)", grid, theory),
        Series("theory, common unit (ρ²)", grid, theory * np.abs(theory)),
    ]
    apart = [
        float(np.sqrt(np.mean((found - t) ** 2))) for t in (expected, expected * abs(expected))
    ]
    return DesignResult(
        "figure-8",
        f"Figure 8: accuracy and over-optimisation at best of {curve.grid[at]}",
        "How much of the proxy's gain golden sees, J golden / J proxy, with both rewards in units "
        "of their standard deviation within prompts. If errors are Gaussian it is the correlation "
        "ρ = sin(π (accuracy − ½)). The paper's eq. 22 has ρ², which holds where both are in one "
        "common unit; points scaled to unit deviation belong beside ρ.",
        rows,
        [chart("Accuracy and over-optimisation", "accuracy", "J golden / J proxy", series)],
        [f"root mean square distance from ρ {apart[0]:.3f}, from ρ² {apart[1]:.3f}"],
    )


def golden_along_kl(experiment: Experiment) -> DesignResult:
    """Figure 9: what golden gains as best-of-n moves away in KL."""
    family = experiment.optimised
    curve, totals = curve_totals(experiment)
    gains = curve.golden_gain(totals) / curve.golden_sd(totals)[:, None]
    kl = np.array([bon_kl(n) for n in curve.grid])
    proxies = family.pairs[:, 1]
    by_proxy = {family.names[m]: gains[proxies == m].mean(axis=0) for m in family.judged}
    best = curve.best_gain(totals) / curve.golden_sd(totals)[:, None]
    rows: list[dict[str, Cell]] = [
        {"proxy": name, "n": n, "KL nats": float(kl[i]), "golden gain": float(gain[i])}
        for name, gain in {**by_proxy, "golden itself": best.mean(axis=0)}.items()
        for i, n in enumerate(curve.grid)
    ]
    series = [Series(name, kl, gain) for name, gain in by_proxy.items()]
    series.append(Series("golden itself", kl, best.mean(axis=0)))
    return DesignResult(
        "figure-9",
        "Figure 9: golden gain over KL",
        "Gain of golden above the policy, in its standard deviations, as best-of-n by each proxy "
        "moves away from the policy; mean over the goldens. A line that falls has gone too far.",
        rows,
        [chart("Golden gain over KL", "KL in nats", "golden gain, sd", series)],
    )


def penalties(experiment: Experiment) -> DesignResult | None:
    """Table 7: how well accuracy foretells regret at each KL penalty; None without any."""
    tilted = [o for o in experiment.outcomes if o.name.startswith(PENALTY)]
    if not tilted:
        return None
    rows: list[dict[str, Cell]] = []
    for outcome in tilted:
        found = agreements(experiment.accuracy, outcome, experiment.tested)
        rows.append(
            {
                "optimiser": outcome.name,
                **{name: agreed.models for name, agreed in found.items()},
                "two runs (ceiling)": found["Spearman"].ceiling,
            }
        )
    paper: list[dict[str, Cell]] = [
        {
            "optimiser": f"paper: PPO, penalty {penalty:g}",
            "Kendall": kendall,
            "Pearson": pearson,
            "Spearman": spearman,
            "MRR": mrr,
            "two runs (ceiling)": None,
        }
        for penalty, (spearman, kendall, pearson, mrr) in TABLE_7.items()
    ]
    return DesignResult(
        "table-7",
        "Table 7: KL penalties",
        "How well accuracy foretells the NDR of the policy that maximises reward − penalty × KL, "
        "exact on the pool, the same penalty for proxy and golden and rewards in units of their "
        "standard deviation. The paper ran PPO with such penalties; intervals are those of other "
        "models.",
        [*rows, *paper],
    )
