"""`rmcheck lab logs`: what RL runs made of reward models, from their trainers' logs."""

import argparse
import math
from pathlib import Path

from rmcheck.cli.arguments import writing


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Read the logs of your own RL runs (TRL, OpenRLHF, verl, slime, CSV), each run against a "
        "reward model or against golden itself, and write the table of their NDR that a study "
        "takes as `rl:`."
    )
    command.add_argument(
        "runs",
        type=Path,
        metavar="RUNS",
        help="CSV with the columns rm, golden, optimizer, seed, log; a row where rm is golden is "
        "golden's own run. step_column, kl_column, proxy_column, golden_column name columns of the "
        "log where they are not known ones",
    )
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="CSV to write")


def run(options: argparse.Namespace) -> int:
    """Write the table, and say which runs have no NDR."""
    from rmcheck.errors import UsageError
    from rmcheck.lab.outcomes.logged import logged_rows, over_seeds, read_runs
    from rmcheck.lab.outcomes.table import write_rows

    rows = logged_rows(read_runs(options.runs))
    if not rows:
        raise UsageError(f"{options.runs}: no run against anything but golden itself")
    with writing(options.out):
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_rows(options.out, rows)
    for row in rows:
        about = f"{row['rm']} against {row['golden']}, {row['optimizer']}, seed {row['seed']}"
        print(f"{about}: {row['note'] or _told(row)}")
    for (rm, golden, optimizer), told in over_seeds(rows).items():
        ends = f"{told.value:.3f} [{told.lower:.3f}, {told.upper:.3f}]"
        print(f"{rm} against {golden}, {optimizer}: NDR {ends}, mean over seeds")
    return 0


def _told(row: dict[str, float]) -> str:
    bounds = matched = ""
    if not math.isnan(row["lower"]):
        bounds = f" [{row['lower']:.3f}, {row['upper']:.3f}]"
    if not math.isnan(row["matched_kl"]):
        matched = f", {row['ndr_matched']:.3f} at {row['matched_kl']:.3g} nats"
    return f"NDR {row['ndr']:.3f}{bounds} at the end{matched}"
