"""A gate of which every score is known: from a full store, from a bundle, with slices, under xdist.

CPU seconds (user and system) of the process with all its children, and wall seconds, of whole
commands: the start of Python, pytest and the imports are in them, byte code of an earlier run is
kept as it is for users, and `pytest alone` says what a run of one empty test costs. With
`--before DIR`, a checkout of an earlier version, each command is run in turn with it and with this
one, on the same files.

* `warm`: six checks on `--prompts` x 8 answers of about 1,000 characters, all in the store;
* `xdist`: the same with `-n 4`;
* `bundle`: the same, from a bundle that says it was scored on a CPU;
* `slices`: 13 checks, four of them over 50 categories, 2733 x 16, candidate and baseline by bundle.

Run: OMP_NUM_THREADS=1 python benchmarks/gate.py [warm xdist bundle slices] [--before DIR]
Writes benchmarks/results/gate.json and gate.md; parts that were not asked for stay as they are.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import rmcheck
from rmcheck.pool.reading import read_pool
from rmcheck.scoring.bundle import write_bundle
from rmcheck.scoring.request import PoolSamples
from rmcheck.store.parts import Provenance

RESULTS = Path(__file__).parent / "results" / "gate.json"
HERE = Path(__file__).parent.parent
PARTS = ("warm", "xdist", "bundle", "slices")
WORDS = [f"word{i}" for i in range(500)]
JUDGE = """
import zlib
def score(prompts, responses):
    return [zlib.crc32(response.encode()) / 2**32 for response in responses]
"""
KEPT = ["--rmcheck-model=python:judge:score?version=1"]
SIX = """\
  - {name: accuracy, metric: accuracy, at_least: 0.1}
  - {name: xi, metric: xi, at_least: -0.9}
  - {name: ece, metric: ece, at_most: 0.99}
  - {name: best-of-4, metric: bon_drop_ratio, n: 4, at_most: 9}
  - {name: kendall, metric: kendall, at_least: -0.9}
  - {name: mrr, metric: mrr, at_least: 0.01}
"""
MORE = """\
  - {name: ndcg, metric: ndcg, at_least: 0.01}
  - {name: pearson, metric: pearson, at_least: -0.9}
  - {name: spearman, metric: spearman, at_least: -0.9}
"""
OVER = """\
  - {name: accuracy-each, metric: accuracy, over: category, max_drop: 0.9}
  - {name: xi-each, metric: xi, over: category, max_drop: 0.9}
  - {name: ece-each, metric: ece, over: category, max_drop: 0.9}
  - {name: kendall-each, metric: kendall, over: category, max_drop: 0.9}
"""


def make(folder: Path, prompts: int, answers: int, words: int, checks: str) -> None:
    """A suite and its pool of made-up texts."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (folder / "pool.jsonl").open("w") as file:
        for i in range(prompts):
            chosen = rng.integers(len(WORDS), size=(answers, words))
            row = {
                "prompt_id": str(i),
                "prompt": f"What is {i}?",
                "responses": [" ".join(WORDS[at] for at in one) for one in chosen],
                "golden": rng.normal(size=answers).tolist(),
                "category": f"c{i % 50}",
            }
            file.write(json.dumps(row) + "\n")
    head = "rmcheck: 1\nname: gate\ninconclusive: warn\npool: {path: pool.jsonl}\nchecks:\n"
    (folder / "suite.yaml").write_text(head + checks)
    (folder / "judge.py").write_text(JUDGE)
    (folder / "test_empty.py").write_text("def test_empty(): pass\n")
    past = time.time() - 60  # a file that was just written is not taken for unchanged
    os.utime(folder / "pool.jsonl", (past, past))


def bundles(folder: Path) -> list[str]:
    """Two bundles, as written on a machine without a GPU, and the options that name them."""
    samples = PoolSamples(read_pool(folder / "pool.jsonl"))
    for number, name in enumerate(("candidate", "baseline")):
        scores = np.random.default_rng(number).normal(size=len(samples))
        made = Provenance(str(number) * 64, f"hf:{name}", {"device": "cpu"})
        write_bundle(folder / f"{name}.parquet", samples, scores, made)
    return ["--rmcheck-model=scores:candidate.parquet"]


def timed(folder: Path, code: Path, arguments: list[str]) -> dict[str, float]:
    """CPU and wall seconds of pytest with the rmcheck of a checkout."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    wall, after = time.time() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_seconds": cpu, "wall_seconds": wall}


def commands(part: str, folder: Path, prompts: int) -> tuple[list[str], bool]:
    """The arguments of one part, its files made; and whether a first run fills a store."""
    if part in ("warm", "xdist"):
        make(folder, prompts, 8, 150, SIX)
        workers = ["-n", "4"] if part == "xdist" else []
        return ["--rmcheck", *KEPT, "suite.yaml", *workers], True
    if part == "bundle":
        make(folder, prompts, 8, 150, SIX)
        return ["--rmcheck", *bundles(folder), "suite.yaml"], False
    make(folder, 2733, 16, 20, SIX + MORE + OVER)
    baseline = "--rmcheck-baseline=scores:baseline.parquet"
    return ["--rmcheck", *bundles(folder), baseline, "suite.yaml"], False


def measured(part: str, folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Medians of one part, before and after in turn."""
    arguments, fills = commands(part, folder, chosen.prompts)
    versions = {"before": chosen.before, "after": HERE} if chosen.before else {"after": HERE}
    trusted = {n: trust(folder, code) if fills else [] for n, code in versions.items()}
    times: dict[str, list[dict[str, float]]] = {"pytest alone": [], **{n: [] for n in versions}}
    if fills:  # by this version: every version reads the store
        timed(folder, HERE, [*arguments, *trust(folder, HERE)])
    for name, code in versions.items():  # which writes byte code
        timed(folder, code, [*arguments, *trusted[name], "--collect-only"])
    for _ in range(chosen.rounds):
        times["pytest alone"].append(timed(folder, HERE, ["test_empty.py"]))
        for name, code in versions.items():
            times[name].append(timed(folder, code, [*arguments, *trusted[name]]))
    return {name: dict(medians(found)) for name, found in times.items()}


def trust(folder: Path, code: Path) -> list[str]:
    """The option by which a version lets a suite's own function run, where it has one."""
    known = (code / "rmcheck" / "pytest_plugin" / "__init__.py").read_text()
    return ["--rmcheck-trust-suites"] if "--rmcheck-trust-suites" in known else []


def commit(code: Path) -> str:
    """Which version a checkout is."""
    done = subprocess.run(
        ["git", "-C", code, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    return done.stdout.strip()


def medians(found: list[dict[str, float]]) -> Iterator[tuple[str, float]]:
    """Key to the median over rounds."""
    for key in found[0]:
        yield key, round(statistics.median(one[key] for one in found), 2)


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "CPU seconds (wall seconds) of whole commands. What a gate adds to a run of one empty test",
        "is the difference to `pytest alone`. On a busy machine CPU seconds grow too: numbers of",
        "one row compare, and those of two rows do not.",
        "",
        "| part | prompts | pytest alone | before | after | before is | load |",
        "|---|---|---|---|---|---|---|",
    ]
    for part, found in results.items():
        cells = [
            f"{one['cpu_seconds']:.1f} ({one['wall_seconds']:.0f})"
            if (one := found.get(way))
            else ""
            for way in ("pytest alone", "before", "after")
        ]
        name = f"| {part} | {found['prompts']:,} | {' | '.join(cells)}"
        lines.append(f"{name} | {found['before_is']} | {found['load']} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=list(PARTS))
    parser.add_argument("--before", type=Path, help="checkout of an earlier version")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=12_500, help="of all parts but slices")
    chosen = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for part in chosen.parts:
        with tempfile.TemporaryDirectory() as name:
            results[part] = {
                **measured(part, Path(name) / "gate", chosen),
                "prompts": 2733 if part == "slices" else chosen.prompts,
                "rounds": chosen.rounds,
                "load": round(os.getloadavg()[0], 1),
                "before_is": commit(chosen.before) if chosen.before else "",
                "versions": {"rmcheck": rmcheck.__version__, "python": platform.python_version()},
            }
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    RESULTS.with_suffix(".md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
