"""Memory of `rmcheck score --out` against the number of responses, with a function of no cost.

Shards of 100,000 responses of a few words, hard links of one file. The command
is killed (SIGKILL) after `--seconds` and started again until every shard has its bundle, so that
resuming is part of it. The function counts what it is asked; what is asked twice was in flight when
the command was killed.

Run: python benchmarks/shards.py [--shards 1 10 100] [--seconds 300] [--folder DIR]
A folder that is named is kept, and a run that was stopped goes on there.
Writes benchmarks/results/shards.json.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import rmcheck

RESULTS = Path(__file__).parent / "results" / "shards.json"
PROMPTS, RESPONSES = 1000, 100
JUDGE = """
import os
asked = os.open("asked", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def score(prompts, responses):
    os.write(asked, b"%d\\n" % len(responses))
    return [float(len(response)) for response in responses]
"""
MODEL = "python:judge:score?version=1"


def make_shards(folder: Path, count: int) -> None:
    """A folder of shards, all of the same texts: each is scored for itself."""
    (folder / "pool").mkdir(parents=True)
    (folder / "judge.py").write_text(JUDGE)
    first = folder / "pool" / "0000.jsonl"
    with first.open("w") as file:
        for i in range(PROMPTS):
            answers = [f"It is {i + j}." + " I think so." * (j % 3) for j in range(RESPONSES)]
            row = {"prompt": f"What is {i}, plus {i % 7}?", "responses": answers}
            file.write(json.dumps(row) + "\n")
    for number in range(1, count):
        os.link(first, folder / "pool" / f"{number:04d}.jsonl")


def run(folder: Path, seconds: float) -> dict[str, Any]:
    """One start of the command: until it is done, or is killed."""
    command = [sys.executable, "-c", "from rmcheck.cli import main; raise SystemExit(main())"]
    command += ["score", "pool", f"--model={MODEL}", "--out=out", "--trust-suites"]
    began = time.time()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    killed = False
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if not killed and time.time() - began > seconds:
            process.kill()
            killed = True
        time.sleep(0.2)
    return {
        "killed": killed,
        "exit": os.waitstatus_to_exitcode(status),
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "wall_seconds": time.time() - began,
        "max_rss_mib": usage.ru_maxrss / 1024,
        "bundles": len(list((folder / "out").glob("*.parquet"))),
        "asked": sum(map(int, (folder / "asked").read_text().split())),
    }


def measure(folder: Path, shards: int, seconds: float, starts: int) -> dict[str, Any]:
    """All starts of one size."""
    if not (folder / "pool").exists():
        make_shards(folder, shards)
    log = folder / "runs.jsonl"
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    while starts and not (done and done[-1]["bundles"] == shards):
        done.append(run(folder, seconds))
        log.open("a").write(json.dumps(done[-1]) + "\n")
        starts -= 1
    return {
        "responses": shards * PROMPTS * RESPONSES,
        "starts": len(done),
        "killed": sum(one["exit"] < 0 for one in done),
        "scored": done[-1]["bundles"] * PROMPTS * RESPONSES,
        "asked": done[-1]["asked"],
        "max_rss_mib": max(one["max_rss_mib"] for one in done),
        "cpu_seconds": sum(one["cpu_seconds"] for one in done),
        "wall_seconds": sum(one["wall_seconds"] for one in done),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--starts", type=int, default=1000, help="at most, of each size")
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.folder or Path(temporary)).absolute()
        found = [measure(folder / str(n), n, chosen.seconds, chosen.starts) for n in chosen.shards]
    result = {
        "machine": f"{platform.machine()}, {platform.system()}",
        "versions": {"rmcheck": rmcheck.__version__, "python": platform.python_version()},
        "sizes": found,
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    for one in found:
        print({name: round(value) for name, value in one.items()})


if __name__ == "__main__":
    main()
