"""The command `rmcheck`: what can be done without pytest."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import rmcheck
from rmcheck.errors import RmcheckError

EXIT_WRONG_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 when it did what was asked, 2 when something given to it is wrong.
    """
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except RmcheckError as error:
        print(f"rmcheck: {error}", file=sys.stderr)
        return EXIT_WRONG_INPUT


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="rmcheck", description="Gate reward-model checkpoints. The gate is `pytest --rmcheck`."
    )
    top.add_argument("--version", action="version", version=f"rmcheck {rmcheck.__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_score(commands.add_parser("score", help="score the pools of suites, without pytest"))
    _add_validate(commands.add_parser("validate", help="check suite files and their pools"))
    return top


def _add_suites(command: argparse.ArgumentParser) -> None:
    text = "suite file, or a folder of them"
    command.add_argument("suites", nargs="+", type=Path, metavar="SUITE", help=text)


def _add_score(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Score the pools of suites into the store, and write them as a bundle that the model "
        "scores:FILE reads on a machine without the checkpoint."
    )
    _add_suites(command)
    command.add_argument(
        "--model", required=True, metavar="SPEC", help="reward model to score with"
    )
    command.add_argument("--store", type=Path, default=Path(".rmcheck"), metavar="DIR")
    command.add_argument("--bundle", type=Path, metavar="FILE", help="Parquet file to write")
    command.set_defaults(run=_score)


def _score(options: argparse.Namespace) -> int:
    from rmcheck.runner.runner import Runner
    from rmcheck.scoring.bundle import write_bundle
    from rmcheck.suite.detect import suite_files

    with tempfile.TemporaryDirectory(prefix="rmcheck-") as session:
        runner = Runner(
            candidate=options.model,
            store=options.store,
            session_folder=Path(session),
            shown_relative_to=Path.cwd(),
            compares=False,
        )
        for path in suite_files(options.suites):
            runner.add(path)
        samples, scores, provenance = runner.score()
        for line in runner.scoring_lines():
            print(line)
        if options.bundle is not None:
            write_bundle(options.bundle, samples, scores, provenance)
            print(f"{options.bundle}: {len(samples)} scores; use it as scores:{options.bundle}")
    return 0


def _add_validate(command: argparse.ArgumentParser) -> None:
    command.description = "Read suite files and their pools and say everything that is wrong."
    _add_suites(command)
    command.set_defaults(run=_validate)


def _validate(options: argparse.Namespace) -> int:
    from rmcheck.pool.faults import fault_counts
    from rmcheck.reports.table import PAST
    from rmcheck.runner.loaded import load
    from rmcheck.suite.detect import suite_files

    wrong = 0
    for path in suite_files(options.suites):
        try:
            loaded = load(path)
        except RmcheckError as error:
            wrong += 1
            print(f"{error}\n", file=sys.stderr)
            continue
        print(
            f"{path}: {len(loaded.planned)} checks on {loaded.units} prompts, "
            f"{len(loaded.samples)} responses ({loaded.pool.format})"
        )
        for kind, counts in fault_counts(loaded.pool).items():
            done = ", ".join(f"{count} {PAST[action]}" for action, count in counts.items())
            print(f"  {kind}: {done}")
    return EXIT_WRONG_INPUT if wrong else 0
