"""`rmcheck score`: score the pools of suites, without pytest."""

import argparse
from pathlib import Path

from rmcheck.cli.arguments import add_model, add_suites, opened


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Score the pools of suites into the store, and write them as a bundle that the model "
        "scores:FILE reads on a machine without the checkpoint."
    )
    add_suites(command)
    add_model(command, "reward model to score with")
    command.add_argument("--bundle", type=Path, metavar="FILE", help="Parquet file to write")


def run(options: argparse.Namespace) -> int:
    """Score, and write the bundle where one is asked for."""
    from rmcheck.scoring.bundle import write_bundle

    with opened(options) as (runner, _):
        samples, scores, provenance = runner.score()
        for line in runner.scoring_lines():
            print(line)
        if options.bundle is not None:
            write_bundle(options.bundle, samples, scores, provenance)
            print(f"{options.bundle}: {len(samples)} scores; use it as scores:{options.bundle}")
    return 0
