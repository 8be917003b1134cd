"""What foretells RL for a reward model, or a kind of them, that was left out; and what could.

    rmcheck lab policies suites/lab/lab.yaml --out runs/lab --trust-suites
    python benchmarks/foretelling.py suites/lab/lab.yaml runs/lab

Numbers are measured on responses of the initial policy, and of later policies: those at a look of
all RL runs against other reward models than the two of a pair, so that nothing of what is asked
is seen. Outcomes are means over the seeds. Which number is used may be chosen too, by the models
that are not left out. Prints Markdown.
"""

import argparse
import csv
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import t

from rmcheck.errors import UndefinedMetricError
from rmcheck.lab.experiment import _opened
from rmcheck.lab.family.training import train_family
from rmcheck.lab.file import read_laboratory
from rmcheck.lab.outcomes.scoring import Panel
from rmcheck.lab.rl.looks import RESPONSES, look_folder
from rmcheck.lab.rl.runs import planned_runs
from rmcheck.lab.study.agreement import agreement
from rmcheck.lab.study.correlations import spearman
from rmcheck.lab.study.designs.foretelling import left_out
from rmcheck.lab.study.draws import Draws
from rmcheck.lab.study.experiment import turned
from rmcheck.lab.study.family import RmFamily
from rmcheck.lab.study.outcomes import KeptGain
from rmcheck.metrics.registry import make_metric
from rmcheck.models.trust import trusting
from rmcheck.pool.reading import read_pool

Floats = NDArray[np.float64]
METRICS = {
    "accuracy": make_metric("accuracy"),
    "ndr n=2": make_metric("ndr", n=2),
    "best of n": make_metric("bo_n"),
    "mrr": make_metric("mrr"),
    "ndcg": make_metric("ndcg"),
    "xi": make_metric("xi"),
    "matched_kl_regret": make_metric("matched_kl_regret", kl=1.0),
    "predicted_regret": make_metric("predicted_regret", n=256, predictor="pooled"),
    "reward_variance": make_metric("reward_variance"),
    "tail_excess": make_metric("tail_excess"),
}
LATER = ("accuracy", "ndr n=2", "best of n", "reward_variance")
# Fixed before any outcome was looked at: order, top of the order, how strongly a policy is pulled.
FEW = ("accuracy", "best of n", "reward_variance")
LOOKS = (2, 4, 8)
SEEDS_AHEAD = (1, 3, 10)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path)
    chosen = parser.parse_args()
    laboratory = read_laboratory(chosen.file)
    optimization = laboratory.optimization
    assert optimization is not None
    with trusting(True):
        models = _opened(laboratory, optimization, train_family(laboratory.family, chosen.out))
    panel = Panel(models, chosen.out / "scores")
    runs = planned_runs(optimization, list(models), chosen.out)
    runs = [r for r in runs if r.seed == 1 and r.settings.name in ("ppo", "grpo", "rloo")]
    looks = [(run, step) for step in LOOKS for run in runs]
    pools = [read_pool(look_folder(run.folder, s) / RESPONSES).prompts for run, s in looks]
    first, *later = panel.rewards([read_pool(chosen.out / "pool.jsonl").prompts, *pools])
    names = list(models)
    family = RmFamily.of(names, np.stack([first[name] for name in names]))
    numbers = {name: value(family, name) for name in METRICS}
    for step in LOOKS:
        of = [
            (run.reward, found) for (run, s), found in zip(looks, later, strict=True) if s == step
        ]
        numbers |= {f"{name}, step {step}": at_step(family, of, name) for name in LATER}
    numbers = {name: x for name, x in numbers.items() if np.isfinite(x).all()}
    data = {each.name: laboratory.family.data_of(each) for each in laboratory.family.recipes}
    kinds = ["golden" if n == "golden" else str(data[n]) for n in names]
    for optimizer in ("ppo", "grpo", "rloo"):
        print(report(optimizer, numbers, family, kinds, by_seed(chosen.out / "rl.csv", optimizer)))


def value(family: RmFamily, name: str) -> Floats:
    """(Q,) a metric of every pair, a higher one better; NaN where it is undefined."""
    whole = Draws(family, csr_array(np.ones((1, family.prompts))))
    try:
        return turned(METRICS[name], whole.values(METRICS[name])[0][0])
    except UndefinedMetricError:
        return np.full(len(family.pairs), np.nan)


def at_step(
    family: RmFamily, looks: Sequence[tuple[str, Mapping[str, Floats]]], name: str
) -> Floats:
    """(Q,) the same on responses of policies that were trained for neither model of a pair."""
    out = np.empty(len(family.pairs))
    for q, pair in enumerate(family.pairs):
        both = [family.names[i] for i in pair]
        others = [found for reward, found in looks if reward not in both]
        scores = np.stack([np.hstack([found[n] for found in others]) for n in both])
        two = RmFamily(tuple(both), scores, np.array([[0, 1]]), family.categories, ("", ""))
        out[q] = value(two, name)[0]
    return out


def by_seed(path: Path, optimizer: str) -> dict[str, dict[tuple[str, str], float]]:
    """NDR at the end of the runs: seed to (golden, rm) to NDR."""
    found: dict[str, dict[tuple[str, str], float]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["optimizer"] == optimizer and row["ndr"]:
                found.setdefault(row["seed"], {})[row["golden"], row["rm"]] = float(row["ndr"])
    return found


def report(
    optimizer: str,
    numbers: Mapping[str, Floats],
    family: RmFamily,
    kinds: Sequence[str],
    seeds: Mapping[str, Mapping[tuple[str, str], float]],
) -> str:
    """Every number against one optimiser, and what a perfect one would reach."""
    pairs = [(family.names[g], family.names[m]) for g, m in family.pairs]
    each = np.array([[of.get(pair, np.nan) for pair in pairs] for of in seeds.values()])
    y = each.mean(axis=0)
    known = np.isfinite(y)
    models = [np.arange(len(family.names)) == i for i in range(len(family.names))]
    groups = [np.array(kinds) == kind for kind in sorted(set(kinds))]
    inputs = {name: x[:, None] for name, x in numbers.items()}
    later = [f"{name}, step 8" for name in FEW if f"{name}, step 8" in numbers]
    inputs["ridge of three"] = np.stack([numbers[n] for n in FEW], axis=1)
    inputs["ridge of three, step 8"] = np.stack([numbers[n] for n in later], axis=1)
    inputs["ridge of six"] = np.stack([numbers[n] for n in (*FEW, *later)], axis=1)
    rows = []
    for name, x in inputs.items():
        cells = [told(x[:, 0], y, family) if x.shape[1] == 1 else ""]
        out = [left_out(x, y, known, family, parts) for parts in (models, groups)]
        rows.append((name, *cells, *(told(values, y, family) for values in out)))
    singles = {n: x for n, x in inputs.items() if x.shape[1] == 1}
    out = [chosen(singles, y, known, family, parts) for parts in (models, groups)]
    rows.append(("chosen by the others", "", *(told(values, y, family) for values in out)))
    couples = itertools.combinations(each, 2)
    one = float(np.mean([spearman(a[known], b[known]) for a, b in couples]))
    perfect = {k: np.sqrt(k * one / (1 + (k - 1) * one)) for k in (*SEEDS_AHEAD, len(each))}
    lines = [f"## {optimizer}, {known.sum()} pairs, mean of {len(each)} seeds", ""]
    lines += ["| number | Spearman | model left out | kind left out |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in sorted(rows, key=lambda row: row[2])[::-1]]
    reach = ", ".join(f"{k} seeds {p:.2f}" for k, p in sorted(perfect.items()))
    best = max(float(row[2].split()[0]) for row in rows[:-1])
    more = [
        left_out(inputs[n], y, known, family, models) for n in ("best of n, step 8", "best of n")
    ]
    return "\n".join(
        [
            *lines,
            "",
            f"Two single seeds agree to {one:.2f}; a perfect number would reach: {reach}.",
            f"The highest for left-out models, freed of the noise of the seeds: "
            f"{best / perfect[len(each)]:.2f}. Best of n on responses of step 8, in place of the "
            f"initial policy's, adds {difference(*more, y, known, family)}. "
            f"{bias(numbers, y, known, family, kinds, groups)}",
            "",
        ]
    )


def chosen(
    inputs: Mapping[str, Floats], y: Floats, known: Any, family: RmFamily, parts: Sequence[Any]
) -> Floats:
    """(Q,) what is foretold by the number that ranks best without what is left out."""
    out = np.full(len(y), np.nan)
    for part in parts:
        met = part[family.pairs].any(axis=1)
        train = known & ~met
        best = max(inputs, key=lambda name: float(spearman(inputs[name][train, 0], y[train])))
        asked = part[family.pairs[:, 1]]
        out[asked] = left_out(inputs[best], y, known, family, [part])[asked]
    return out


def bias(
    numbers: Mapping[str, Floats],
    y: Floats,
    known: Any,
    family: RmFamily,
    kinds: Sequence[str],
    groups: Sequence[Any],
) -> str:
    """How far best of n is off for the models of each kind, where the kind was left out."""
    said = left_out(numbers["best of n"][:, None], y, known, family, groups)
    off = {}
    for kind in sorted(set(kinds) - {"golden"}):
        of = known & (np.array(kinds) == kind)[family.pairs[:, 1]]
        name = next(n for n, k in zip(family.names, kinds, strict=True) if k == kind)
        off[f"{name}'s kind"] = float(np.mean((said - y)[of]))
    return "Best of n, kind left out, is too high by: " + ", ".join(
        f"{kind} {value:+.2f}" for kind, value in off.items()
    )


def told(x: Floats, y: Floats, family: RmFamily) -> str:
    """Spearman, with the interval of other families of models (jackknife)."""
    found = agreement("Spearman", x[None], KeptGain("", y), family).models
    ends = "" if found.lower is None else f" [{found.lower:.2f}, {found.upper:.2f}]"
    return f"{found.value:.2f}{ends}"


def difference(first: Floats, second: Floats, y: Floats, known: Any, family: RmFamily) -> str:
    """Of two correlations, with its jackknife interval over models."""

    def of(kept: Any) -> float:
        return float(spearman(first[kept], y[kept]) - spearman(second[kept], y[kept]))

    count = len(family.names)
    without = [of(known & (family.pairs != i).all(axis=1)) for i in range(count)]
    reach = t.ppf(0.975, count - 1) * np.sqrt((count - 1) * np.var(without))
    return f"{of(known):.2f} [{of(known) - reach:.2f}, {of(known) + reach:.2f}]"


if __name__ == "__main__":
    main()
