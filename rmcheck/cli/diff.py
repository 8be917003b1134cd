"""`rmcheck diff`: what became of each check between two runs."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rmcheck.wording import aligned


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Compare two runs check by check. Exit code 1 when a check that passed in the first does "
        "not pass in the second. `rmcheck report OLD NEW` draws the same as a page."
    )
    command.add_argument("old", type=Path, metavar="OLD", help="folder of the earlier run")
    command.add_argument("new", type=Path, metavar="NEW", help="folder of the later run")


def run(options: argparse.Namespace) -> int:
    """Print a line a check, and which models were compared."""
    from rmcheck.reports.document import read_run
    from rmcheck.reports.page import changes

    old, new = read_run(options.old), read_run(options.new)
    rows = changes(new, old)
    table = [("check", "old", "new", "change", "old verdict", "new verdict", "")]
    print(*aligned(table + [_row(row) for row in rows], right=(1, 2, 3)), sep="\n")
    print(f"old: {_models(old)}\nnew: {_models(new)}")
    worse = [row["title"] for row in rows if _worse(row)]
    if worse:
        print(f"no longer pass: {', '.join(worse)}")
    return 1 if worse else 0


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    sides = [row["before"], row["now"]]
    values = ["-" if s is None else _number(s["value"]) for s in sides]
    verdicts = ["not there" if s is None else s["verdict"] for s in sides]
    moved = "" if row["moved"] is None else f"{row['moved']:+.3f}"
    return (row["title"], *values, moved, *verdicts, row["remark"])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _worse(row: Mapping[str, Any]) -> bool:
    old, new = row["before"], row["now"]
    return bool(old) and old["verdict"] == "pass" and (new is None or new["verdict"] != "pass")


def _models(run: Mapping[str, Any]) -> str:
    """Each model of the run once, by role."""
    named = {
        f"{model['role']} {model['spec']} ({model['fingerprint'][:8]})": None
        for suite in run["suites"]
        for model in suite["models"]
    }
    return ", ".join(named) or "no model"
