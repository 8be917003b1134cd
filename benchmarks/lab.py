"""What a laboratory found, as a page: NDR of every policy, best-of-n against RL, and remedies.

rmcheck lab policies suites/lab/lab.yaml --out runs/lab --trust-suites
python benchmarks/lab.py runs/lab --numbers benchmarks/results/lab > benchmarks/results/lab.md
"""

import argparse
import csv
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rmcheck.lab.study.correlations import jackknifed, spearman

Row = dict[str, str]
Pair = tuple[str, str]
# Columns of the numbers that are kept of each policy against the fixed golden.
KEPT = (
    "proxy",
    "optimizer",
    "seed",
    "at",
    "value",
    "kl",
    "golden_gain",
    "best_gain",
    "ndr",
    "note",
)


def read(path: Path) -> list[Row]:
    """The rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def ends(rows: Sequence[Row]) -> list[Row]:
    """Each policy once: RL at the end of a run, the others at every n or KL."""
    return [row for row in rows if row["at"] == "step" or row["seed"] == "-1"]


def name_of(row: Row) -> str:
    """`best-of-n 16`, `ppo`."""
    return row["optimizer"] + (f" {float(row['value']):g}" if row["seed"] == "-1" else "")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def by_seed(rows: Sequence[Row]) -> dict[str, dict[str, dict[Pair, float]]]:
    """NDR of each optimiser, then seed, then (golden, proxy)."""
    found: dict[str, dict[str, dict[Pair, float]]] = {}
    for row in ends(rows):
        if row["ndr"]:
            of = found.setdefault(name_of(row), {}).setdefault(row["seed"], {})
            of[row["golden"], row["proxy"]] = float(row["ndr"])
    return found


def mean_of(seeds: Mapping[str, Mapping[Pair, float]]) -> dict[Pair, float]:
    """The mean over the seeds of each pair that all of them have."""
    shared = set.intersection(*(set(each) for each in seeds.values()))
    return {pair: float(np.mean([each[pair] for each in seeds.values()])) for pair in shared}


def ndr_table(rows: Sequence[Row]) -> str:
    """NDR judged by the fixed golden: proxies down, optimisers across; mean ± sd over seeds."""
    found = by_seed(rows)
    proxies = dict.fromkeys(row["proxy"] for row in ends(rows) if row["golden"] == "golden")

    def cell(seeds: Mapping[str, Mapping[Pair, float]], proxy: str) -> str:
        values = [each["golden", proxy] for each in seeds.values() if ("golden", proxy) in each]
        spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
        return f"{np.mean(values):.2f}{spread}" if values else "none"

    lines = [[proxy, *(cell(seeds, proxy) for seeds in found.values())] for proxy in proxies]
    return table(["proxy", *found], lines)


def correlation(first: Mapping[Pair, float], second: Mapping[Pair, float]) -> str:
    """Spearman over the pairs of both, with the jackknife interval of other reward models."""
    pairs = sorted(first.keys() & second.keys())
    x, y = (np.array([of[pair] for pair in pairs]) for of in (first, second))
    names = np.array(pairs)
    models = np.unique(names)

    def over(kept: np.ndarray) -> float:
        inside = np.isin(names, models[kept]).all(axis=1)
        return float(spearman(x[inside], y[inside])) if inside.sum() > 2 else float("nan")

    removable = np.flatnonzero(~np.isin(models, "golden"))
    found = jackknifed(models.size, over, removable)
    if found.value is None:
        return "none"
    bounds = "" if found.lower is None else f" [{found.lower:.2f}, {found.upper:.2f}]"
    return f"{found.value:.2f}{bounds}"


def together(rows: Sequence[Row]) -> set[str]:
    """Ensembles: no golden judges by them."""
    return {row["proxy"] for row in rows} - {row["golden"] for row in rows}


def agreement_table(rows: Sequence[Row], only_golden: bool) -> str:
    """Spearman of NDR between optimisers, and between two seeds of one: the ceiling of any rank."""
    goldens = {"golden"} if only_golden else {row["golden"] for row in rows}
    single = [
        row for row in rows if row["golden"] in goldens and row["proxy"] not in together(rows)
    ]
    found = by_seed(single)
    trained = [name for name in found if not name.startswith(("best-of-n", "tilting"))]
    lines = []
    for first in found:
        cells = []
        for second in trained:
            if first != second:
                cells.append(correlation(mean_of(found[first]), mean_of(found[second])))
                continue
            couples = list(itertools.combinations(found[first].values(), 2))
            each = [
                float(
                    spearman(
                        *(np.array([of[p] for p in sorted(a.keys() & b.keys())]) for of in (a, b))
                    )
                )
                for a, b in couples
            ]
            cells.append(
                f"**{np.mean(each):.2f}** ({min(each):.2f} to {max(each):.2f})" if each else ""
            )
        lines.append([first, *cells])
    return table(["", *trained], lines)


def remedies_table(rows: Sequence[Row]) -> str:
    """What each remedy saves."""
    head = ["optimizer", "remedy", "runs", "KL", "regret", "saved, 95 % bounds", "sd over seeds"]
    return table(
        head,
        [
            [
                row["optimizer"],
                row["remedy"],
                row["runs"],
                f"{float(row['kl']):.1f}",
                f"{float(row['regret_without']):.2f} → {float(row['regret']):.2f}",
                f"{float(row['saved']):.2f} [{float(row['lower']):.2f}, {float(row['upper']):.2f}]",
                f"{float(row['seed_sd']):.2f}" if row["seed_sd"] else "one seed",
            ]
            for row in rows
        ],
    )


def course_table(rows: Sequence[Row]) -> str:
    """Golden at the start, best and end of the runs, and KL at the end: means over seeds."""
    runs: dict[Pair, dict[str, list[Row]]] = {}
    for row in rows:
        of = runs.setdefault((row["optimizer"], row["reward"]), {})
        of.setdefault(row["seed"], []).append(row)
    lines = []
    for (optimizer, reward), seeds in runs.items():
        golden = np.array([[float(look["golden"]) for look in looks] for looks in seeds.values()])
        ended = np.mean([float(looks[-1]["kl"]) for looks in seeds.values()])
        steps = [next(iter(seeds.values()))[int(at)]["step"] for at in golden.argmax(axis=1)]
        lines.append(
            [
                f"{optimizer}, {reward}",
                f"{ended:.1f}",
                f"{golden[:, 0].mean():.2f}",
                f"{golden.max(axis=1).mean():.2f} (step {', '.join(steps)})",
                f"{golden[:, -1].mean():.2f}",
            ]
        )
    return table(["runs", "KL at the end", "golden at step 0", "best", "at the end"], lines)


def keep_numbers(folder: Path, out: Path) -> None:
    """The numbers behind the page: every policy against golden, and every pair of RL."""
    out.mkdir(parents=True, exist_ok=True)
    judged = [row for row in read(folder / "outcomes.csv") if row["golden"] == "golden"]
    tables = {
        "outcomes.csv": [{key: row[key] for key in KEPT} for row in judged],
        "rl.csv": read(folder / "rl.csv"),
        "curves.csv": read(folder / "curves.csv"),
        "mitigation.csv": read(folder / "mitigation.csv"),
    }
    for name, rows in tables.items():
        with (out / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="--out of rmcheck lab policies")
    parser.add_argument("--numbers", type=Path, help="folder for the numbers behind it, as CSV")
    chosen = parser.parse_args()
    outcomes = read(chosen.folder / "outcomes.csv")
    print("# The laboratory on its example\n")
    print("NDR, judged by golden: 1 keeps all of what optimising golden gains. ± over seeds.\n")
    print(ndr_table(outcomes))
    print("\nSpearman of NDR between optimisers, each reward model golden in turn. In brackets the")
    print("interval of other reward models. In bold: between two seeds of one optimiser.\n")
    print(agreement_table(outcomes, only_golden=False))
    print("\nThe same with the fixed golden alone:\n")
    print(agreement_table(outcomes, only_golden=True))
    print("\nRemedies. Bounds are over prompts:\n")
    print(remedies_table(read(chosen.folder / "mitigation.csv")))
    print("\nCourse of the runs:\n")
    print(course_table(read(chosen.folder / "curves.csv")))
    if chosen.numbers:
        keep_numbers(chosen.folder, chosen.numbers)


if __name__ == "__main__":
    main()
