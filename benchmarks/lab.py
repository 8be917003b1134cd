"""What a laboratory found, as a page: NDR of every policy, best-of-n against RL, and remedies.

rmcheck lab policies suites/lab/small.yaml --out runs/lab-small --trust-suites
python benchmarks/lab.py runs/lab-small > benchmarks/results/lab.md
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

Row = dict[str, str]


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


def ndr_table(rows: Sequence[Row]) -> str:
    """NDR judged by the fixed golden: proxies down, optimisers across; the mean over seeds."""
    mine = [row for row in ends(rows) if row["golden"] == "golden"]
    columns = list(dict.fromkeys(name_of(row) for row in mine))
    proxies = list(dict.fromkeys(row["proxy"] for row in mine))
    lines = ["| proxy | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for proxy in proxies:
        cells = []
        for column in columns:
            found = [
                float(row["ndr"])
                for row in mine
                if row["proxy"] == proxy and name_of(row) == column and row["ndr"]
            ]
            cells.append(f"{np.mean(found):.2f}" if found else "none")
        lines.append(f"| {proxy} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def agreement_table(rows: Sequence[Row]) -> str:
    """Spearman of best-of-n's NDR with that of each RL optimiser, over all golden-proxy pairs."""
    by_name: dict[str, dict[tuple[str, str], list[float]]] = {}
    for row in ends(rows):
        if row["ndr"]:
            pair = row["golden"], row["proxy"]
            by_name.setdefault(name_of(row), {}).setdefault(pair, []).append(float(row["ndr"]))
    pooled = [name for name in by_name if name.startswith("best-of-n")]
    trained = [name for name in by_name if not name.startswith(("best-of-n", "tilting"))]
    lines = ["| | " + " | ".join(trained) + " |", "|---" * (len(trained) + 1) + "|"]
    for first in [*pooled, *trained]:
        cells = []
        for second in trained:
            pairs = sorted(by_name[first].keys() & by_name[second].keys())
            values = [[np.mean(by_name[name][p]) for p in pairs] for name in (first, second)]
            cells.append(f"{spearmanr(*values).statistic:.2f} ({len(pairs)})" if pairs else "")
        lines.append(f"| {first} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def remedies_table(rows: Sequence[Row]) -> str:
    """What each remedy saves."""
    lines = ["| optimizer | remedy | runs | KL | regret | saved, 95 % bounds |", "|---" * 6 + "|"]
    lines += [
        f"| {row['optimizer']} | {row['remedy']} | {row['runs']} | {float(row['kl']):.1f} "
        f"| {float(row['regret_without']):.2f} → {float(row['regret']):.2f} "
        f"| {float(row['saved']):.2f} [{float(row['lower']):.2f}, {float(row['upper']):.2f}] |"
        for row in rows
    ]
    return "\n".join(lines)


def course_table(rows: Sequence[Row]) -> str:
    """First, best and last golden of every run against a reward model, and its KL."""
    lines = ["| run | KL at the end | golden at step 0 | best | at the end |", "|---" * 5 + "|"]
    runs: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        runs.setdefault((row["optimizer"], row["seed"], row["reward"]), []).append(row)
    for (optimizer, seed, reward), looks in runs.items():
        golden = [float(look["golden"]) for look in looks]
        at = looks[int(np.argmax(golden))]["step"]
        lines.append(
            f"| {optimizer}, seed {seed}, {reward} | {float(looks[-1]['kl']):.1f} "
            f"| {golden[0]:.2f} | {max(golden):.2f} (step {at}) | {golden[-1]:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="--out of rmcheck lab policies")
    folder = parser.parse_args().folder
    outcomes = read(folder / "outcomes.csv")
    print("# The laboratory on its example\n")
    print("NDR, judged by golden: 1 keeps all of what optimising golden gains.\n")
    print(ndr_table(outcomes))
    print("\nSpearman of NDR between optimisers over golden-proxy pairs (number of pairs):\n")
    print(agreement_table(outcomes))
    print("\nRemedies. Bounds are over prompts, not over seeds:\n")
    print(remedies_table(read(folder / "mitigation.csv")))
    print("\nCourse of every run:\n")
    print(course_table(read(folder / "curves.csv")))


if __name__ == "__main__":
    main()
