"""`rmcheck training`: where an RL run over-optimised, from its log."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmcheck.regret.training_analysis import Interval, TrainingAnalysis
    from rmcheck.regret.training_log import TrainingLog


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Read the log of an RL run and say from where on the RM that it was trained against "
        "(proxy) keeps rising while another one (golden) falls."
    )
    command.add_argument(
        "log",
        type=Path,
        metavar="LOG",
        help="CSV, JSON Lines, or trainer_state.json, as TRL, OpenRLHF and loggers write them",
    )
    texts = {
        "step": "column of the step",
        "kl": "column of the KL from the initial policy, in nats a sequence",
        "proxy": "column of the training RM's mean reward",
        "golden": "column of the test RM's mean reward",
    }
    for role, text in texts.items():
        command.add_argument(f"--{role}", metavar="NAME", help=text)
    command.add_argument("--out", type=Path, metavar="FILE", help="JSON file to write")


def run(options: argparse.Namespace) -> int:
    """Print what was read, what was found, and one sentence."""
    from rmcheck.errors import UndefinedMetricError, UsageError
    from rmcheck.regret.training_analysis import analyse_training
    from rmcheck.regret.training_log import ROLES, read_training_log

    given = {role: getattr(options, role) for role in ROLES}
    log = read_training_log(options.log, {k: v for k, v in given.items() if v is not None})
    try:
        found = analyse_training(log)
    except UndefinedMetricError as error:
        raise UndefinedMetricError(f"{options.log}: {error}") from error
    _print_log(log, found.points)
    _print_analysis(log, found)
    if options.out is not None:
        try:
            _write(options.out, log, found)
        except OSError as error:
            raise UsageError(
                f"{options.out}: cannot be written ({error.strerror or error})"
            ) from error
    return 0


def _print_log(log: "TrainingLog", points: int) -> None:
    columns = ", ".join(f"{role} {name!r}" for role, name in log.columns.items())
    averaged = f", averaged to {points}" if points < log.steps.size else ""
    steps = f"steps {log.steps[0]:g} to {log.steps[-1]:g}, KL up to {log.kl.max():.3g} nats"
    print(f"{log.path}: {log.steps.size} points{averaged}; {steps}")
    print(f"columns: {columns}")
    for reason, count in log.left_out.items():
        print(f"left out: {count} {reason}")
    for note in log.notes:
        print(f"note: {note}")


def _print_analysis(log: "TrainingLog", found: "TrainingAnalysis") -> None:
    curve, split = found.curve, found.split
    rows = [("", "value", "95% bounds")]
    if found.outcome == "over-optimised":
        rows += [
            ("step where golden is highest", *_cells(split.step)),
            ("KL there (nats)", *_cells(split.kl)),
            ("change of golden from there on", *_cells(split.golden_after)),
        ]
    rows += [
        ("golden at the initial policy", *_cells(curve.start)),
        ("alpha of d(alpha - beta ln d)", *_cells(curve.alpha)),
        ("beta", *_cells(curve.beta)),
        ("KL of that curve's peak (nats)", *_cells(curve.peak_kl, float(log.kl.max()))),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    if found.outcome == "over-optimised":
        print(f"share of golden's gain lost by the end: {split.lost_share:.3f}")
    print(found.sentence)


def _cells(interval: "Interval", most: float = math.inf) -> tuple[str, str]:
    """The value and its bounds; what lies beyond `most` is said to, not extrapolated."""

    def text(number: float) -> str:
        return f"{number:.4g}" if number <= most else f"above {most:.3g}"

    return text(interval.value), f"[{text(interval.lower)}, {text(interval.upper)}]"


def _write(path: Path, log: "TrainingLog", found: "TrainingAnalysis") -> None:
    from rmcheck.store.folder import write_whole
    from rmcheck.wording import json_text

    read: dict[str, Any] = {
        "path": log.path,
        "columns": dict(log.columns),
        "left_out": dict(log.left_out),
        "notes": list(log.notes),
    }
    data = {"log": read, **found.as_dict()}
    write_whole(path, json_text(data).encode())
