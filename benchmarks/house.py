"""The size of the house, how much of it the gate uses, and how far a check is from its verdict.

* lines by room, of the package and of its tests;
* functions of ours that `make gate` runs, as a share of all and of those that a gate may use;
* hops of one `hf:` accuracy check: functions of ours on the stacks above its `STAGES`, from
  the file to the checks, from a check to stored scores, and from stored scores to the verdict. What
  a stage does inside itself is not counted;
* frames of ours in the deepest stack under that check.

Run: OMP_NUM_THREADS=1 python benchmarks/house.py [--lines] [--functions] [--hops]
"""

import argparse
import ast
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

HERE = Path(__file__).parent.parent
PACKAGE = HERE / "rmcheck"
GATE = [
    str(HERE / "suites" / "quickstart"),
    f"--rmcheck-model=hf:{HERE}/suites/quickstart/models/good",
    f"--rmcheck-baseline=hf:{HERE}/suites/quickstart/models/baseline",
]
SUITE = """\
rmcheck: 1
name: hops
pool: {path: pool.jsonl}
checks: [{name: accuracy, metric: accuracy, at_least: 0.01}]
"""
CHECK = ("pytest_plugin/items.py", "CheckItem.setup")
# Of a check, in the order in which they begin: file and function that each ends in.
STAGES = {
    "reading": [
        ("suite/loader.py", "load_suite"),
        ("pool/reading.py", "read_pool"),
    ],
    "scoring": [
        ("models/text/tokenization.py", "ConversationTokenizer.encode"),
        ("models/engines/torch/model.py", "TorchModel.numbers"),
        ("store/scores.py", "FolderModelScores.append"),
    ],
    "deciding": [
        ("scoring/request.py", "read_scores"),
        ("metrics/pairwise.py", "Accuracy.per_prompt"),
        ("stats/bootstrap.py", "resample"),
        ("checks/verdict.py", "decide"),
    ],
}
# Rooms that a gate never enters.
BEHIND = ("lab", "cli", "hooks", "testing", "rl_logs", "policies")
Place = tuple[str, str]


@cache
def of(code: CodeType) -> Place | None:
    """File and name of a function of ours; None for others, and for parts of functions."""
    file = Path(code.co_filename)
    if not file.is_relative_to(PACKAGE) or "<" in code.co_name:
        return None
    return str(file.relative_to(PACKAGE)), code.co_qualname.replace(".<locals>", "")


def functions() -> set[tuple[str, int]]:
    """File and first line of every function of the package."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        (str(path), min([node.lineno, *(one.lineno for one in node.decorator_list)]))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, kinds)
    }


def run_pytest(folder: Path, *arguments: str) -> None:
    """A run of the gate in this process, with a store of its own."""
    own = ["-p", "no:cacheprovider", f"--rmcheck-store={folder / 'store'}", "--capture=no"]
    code = pytest.main([*arguments, "--rmcheck", "-q", *own])
    if code:
        raise SystemExit(f"pytest ended with {code}")


def used_by_the_gate() -> set[tuple[str, int]]:
    """File and first line of all code that `make gate` runs."""
    seen: set[CodeType] = set()
    with tempfile.TemporaryDirectory() as folder:
        sys.settrace(lambda frame, event, _: seen.add(frame.f_code))
        try:
            run_pytest(Path(folder), *GATE)
        finally:
            sys.settrace(None)
    return {(code.co_filename, code.co_firstlineno) for code in seen}


def traced(run: Callable[[], None]) -> tuple[list[Place], dict[Place, list[Place]]]:
    """The deepest stack of ours under a check, and the stack above the first call of each stage."""
    deepest: list[Place] = []
    above: dict[Place, list[Place]] = {}
    ends = {end for stages in STAGES.values() for end in stages}

    def note(frame: FrameType, event: str, _: Any) -> None:
        nonlocal deepest
        if event != "call" or (here := of(frame.f_code)) is None:
            return
        stack: list[Place] = []
        at: FrameType | None = frame
        while at is not None:
            if place := of(at.f_code):
                stack.insert(0, place)
            at = at.f_back
        if CHECK in stack:
            deepest = max(deepest, stack, key=len)
        if here in ends:
            above.setdefault(here, stack)

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return deepest, above


def one_check() -> tuple[list[Place], dict[Place, list[Place]]]:
    """`traced` of an accuracy check of a tiny Llama."""
    sys.path.insert(0, str(HERE / "tests" / "models"))
    from tiny_models import llama

    rows = [{"prompt": f"why {i}", "chosen": f"four {i}", "rejected": "five"} for i in range(40)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "suite.yaml").write_text(SUITE)
        model = f"--rmcheck-model=hf:{llama(folder / 'model')}"
        return traced(lambda: run_pytest(folder, str(folder / "suite.yaml"), model))


def lines() -> None:
    """Lines of Python by room, of the package and of its tests."""
    for top in (PACKAGE, HERE / "tests"):
        found: Counter[str] = Counter()
        for path in top.rglob("*.py"):
            room = path.relative_to(top).parts[0].removesuffix(".py")
            found[room] += len(path.read_text(encoding="utf-8").splitlines())
        print(f"\n{top.name}: {found.total():,} lines")
        print(", ".join(f"{room} {count:,}" for room, count in found.most_common()))


def share_of_the_gate() -> None:
    """How many functions `make gate` runs."""
    every = functions()
    run = len(every & used_by_the_gate())
    behind = tuple(str(PACKAGE / room) for room in BEHIND)
    gate = sum(not file.startswith(behind) for file, _ in every)
    print(f"\nmake gate runs {run:,} of {len(every):,} functions ({run / len(every):.0%}),")
    print(f"{run / gate:.0%} of the {gate:,} in rooms that it may use")


def distance() -> None:
    """The hops of a check, and its deepest stack."""
    deepest, above = one_check()
    for name, ends in STAGES.items():
        if missing := [end for end in ends if end not in above]:
            raise SystemExit(f"{name} no longer ends in {missing}")
        hops = list(dict.fromkeys(place for end in ends for place in above[end]))
        print(f"\n{name}, {len(hops)} hops: {' > '.join(function for _, function in hops)}")
    print(f"\n{len(deepest)} frames at the deepest: {' > '.join(name for _, name in deepest)}")


def main() -> None:
    """Print what was asked for, or all of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    for name in ("lines", "functions", "hops"):
        parser.add_argument(f"--{name}", action="store_true")
    chosen = parser.parse_args()
    every = not any(vars(chosen).values())
    if every or chosen.lines:
        lines()
    if every or chosen.functions:
        share_of_the_gate()
    if every or chosen.hops:
        distance()


if __name__ == "__main__":
    main()
