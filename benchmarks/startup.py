"""What the plugin costs a pytest run: installed and unused, and switched on.

CPU seconds of whole processes in turn, so that a change in the machine's speed meets all of them,
without other plugins, whose own start would drown the difference:

* `off`: `-p no:rmcheck`, as if it were not installed;
* `idle`: installed, without `--rmcheck`;
* `active`: `--rmcheck` on a small suite with a fake model;
* `collect`: `--rmcheck --collect-only` on a suite of 1,000 checks.

Run: python benchmarks/startup.py [--rounds 21]
Writes benchmarks/results/startup.json.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import rmcheck

RESULTS = Path(__file__).parent / "results" / "startup.json"
OTHERS = ("cacheprovider", "hypothesispytest", "xdist", "anyio")
HEAVY = ("numpy", "scipy", "yaml", "pyarrow", "torch", "transformers")


def make_folder(folder: Path) -> None:
    """A test, a small pool, a suite of three checks and one of 1,000."""
    (folder / "test_one.py").write_text("def test_one(): pass\n")
    rows = (
        {
            "prompt_id": str(i),
            "prompt": f"What is {i}?",
            "responses": ["a" * (j + 1) + str(i) for j in range(8)],
            "golden": list(range(8)),
        }
        for i in range(60)
    )
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    head = "rmcheck: 1\npool: {path: pool.jsonl}\nchecks:\n"
    check = "  - {{name: check-{i}, metric: accuracy, at_least: 0.5}}\n"
    for name, count in (("small", 3), ("large", 1000)):
        text = head + "".join(check.format(i=i) for i in range(count))
        (folder / f"{name}.yaml").write_text(text)


def commands() -> dict[str, list[str]]:
    """Name of each way to its arguments."""
    gate = ["--rmcheck", "--rmcheck-model=fake:length_biased"]
    return {
        "off": ["-p", "no:rmcheck", "test_one.py"],
        "idle": ["test_one.py"],
        "active": [*gate, "test_one.py", "small.yaml"],
        "collect": [*gate, "--collect-only", "large.yaml"],
    }


def seconds(arguments: list[str], folder: Path) -> float:
    """CPU time of one process."""
    off = [word for name in OTHERS for word in ("-p", f"no:{name}")]
    command = [sys.executable, "-m", "pytest", "-q", *off, *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def heavy_modules(folder: Path) -> list[str]:
    """Heavy modules that an idle run has imported; there should be none."""
    (folder / "conftest.py").write_text(
        "import sys\n"
        "def pytest_unconfigure():\n"
        f"    print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-s", "test_one.py"]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    (folder / "conftest.py").unlink()
    line = next(line for line in done.stdout.splitlines() if line.startswith("HEAVY"))
    return [name for name in HEAVY if repr(name) in line]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_folder(folder)
        heavy = heavy_modules(folder)
        times: dict[str, list[float]] = {way: [] for way in commands()}
        for arguments in commands().values():  # warm the file cache
            seconds(arguments, folder)
        for _ in range(rounds):
            for way, arguments in commands().items():
                times[way].append(seconds(arguments, folder))
    median = {way: statistics.median(values) for way, values in times.items()}
    added = [idle - off for idle, off in zip(times["idle"], times["off"], strict=True)]
    result = {
        "machine": f"{platform.machine()}, {platform.system()}",
        "versions": {
            "rmcheck": rmcheck.__version__,
            "python": platform.python_version(),
            "pytest": pytest.__version__,
        },
        "rounds": rounds,
        "median_cpu_seconds": median,
        "idle_minus_off_ms": {
            "median": 1000 * statistics.median(added),
            "min": 1000 * min(added),
            "max": 1000 * max(added),
        },
        "heavy_modules_when_idle": heavy,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    for way, value in median.items():
        print(f"{way:8s} {value:6.3f} CPU s")
    print(f"idle - off: {1000 * statistics.median(added):.1f} ms; heavy modules when idle: {heavy}")


if __name__ == "__main__":
    main()
