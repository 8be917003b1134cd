"""`rmcheck training`: whether an RL run followed its reward model too far, from its log."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmcheck.cli.arguments import writing
from rmcheck.wording import aligned

if TYPE_CHECKING:
    from rmcheck.rl_logs.training_analysis import TrainingAnalysis
    from rmcheck.rl_logs.training_log import TrainingLog
    from rmcheck.rl_logs.transfer import SeriesInterval

EXIT_FAILS_ON = 1
# Of `rmcheck.rl_logs.training_outcome`, which is not imported before it is needed.
OUTCOMES = ("follows", "stopped", "falls", "undecided")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Read the log of an RL run and say whether another reward (golden) followed the RM that "
        "the policy was trained against (proxy), stopped following it, or fell."
    )
    command.epilog = (
        "Exit code: 0, 1 where the outcome is one of --fail-on, 2 where the log is wrong."
    )
    command.add_argument(
        "log",
        type=Path,
        metavar="LOG",
        help="CSV, JSON Lines, or trainer_state.json, as TRL, OpenRLHF, verl, slime and loggers "
        "write them",
    )
    texts = {
        "step": "column of the step",
        "kl": "column of the KL from the initial policy, in nats a sequence",
        "proxy": "column of the training RM's mean reward",
        "golden": "column of the test reward's mean: another RM, a judge, a verifier",
    }
    for role, text in texts.items():
        command.add_argument(f"--{role}", metavar="NAME", help=text)
    command.add_argument(
        "--axis",
        choices=("step", "kl"),
        default="step",
        help="what a fall of golden is looked for over (default: step)",
    )
    command.add_argument(
        "--unit",
        type=float,
        metavar="NUMBER",
        help="golden that one unit of proxy is worth where golden follows in full (default: 1 "
        "where both lie in [0, 1], otherwise what it was early in the run)",
    )
    command.add_argument(
        "--at-least",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="share of proxy's gain that golden must keep (default: 0.5)",
    )
    command.add_argument(
        "--fail-on",
        type=_outcomes,
        default=(),
        metavar="OUTCOMES",
        help="outcomes with exit code 1, such as stopped,falls",
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="JSON file to write")


def _outcomes(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(","))
    if wrong := [word for word in words if word not in OUTCOMES]:
        raise argparse.ArgumentTypeError(
            f"{', '.join(map(repr, wrong))}; valid: {', '.join(OUTCOMES)}"
        )
    return words


def run(options: argparse.Namespace) -> int:
    """Print what was read, what was found, and one sentence."""
    from rmcheck.errors import UndefinedMetricError, UsageError
    from rmcheck.rl_logs.log_columns import ROLES
    from rmcheck.rl_logs.training_analysis import analyse_training
    from rmcheck.rl_logs.training_log import read_training_log

    for name, number in (("--unit", options.unit), ("--at-least", options.at_least)):
        if number is not None and not (math.isfinite(number) and number > 0):
            raise UsageError(f"{name} is {number:g}; it must be above 0")
    given = {role: getattr(options, role) for role in ROLES}
    log = read_training_log(options.log, {k: v for k, v in given.items() if v is not None})
    try:
        found = analyse_training(
            log, axis=options.axis, unit=options.unit, at_least=options.at_least
        )
    except UndefinedMetricError as error:
        raise UndefinedMetricError(f"{options.log}: {error}") from error
    _print_log(log, found)
    _print_analysis(log, found)
    if options.out is not None:
        with writing(options.out):
            _write(options.out, log, found)
    return EXIT_FAILS_ON if found.outcome in options.fail_on else 0


def _print_log(log: "TrainingLog", found: "TrainingAnalysis") -> None:
    columns = ", ".join(f"{role} {name!r}" for role, name in log.columns.items())
    averaged = f", averaged to {found.points}" if found.points < log.steps.size else ""
    kl = f", KL up to {found.kl_reached:.3g} nats" if found.kl_reached is not None else ""
    span = f"steps {log.steps[0]:g} to {log.steps[-1]:g}{kl}"
    print(f"{log.path}: {log.steps.size} points{averaged}; {span}")
    print(f"columns: {columns}")
    for reason, count in log.left_out.items():
        print(f"left out: {count} {reason}")
    for note in log.notes:
        print(f"note: {note}")


def _print_analysis(log: "TrainingLog", found: "TrainingAnalysis") -> None:
    rows = [
        ("", "value", "95% bounds"),
        ("gain of proxy", *_cells(found.proxy_gain)),
        ("gain of golden", *_cells(found.golden_gain)),
        (f"transfer ({found.transfer.measure})", *_cells(found.transfer)),
    ]
    if found.onset is not None and found.golden_after is not None:
        onset = found.onset
        rows += [
            ("onset (step)", f"{onset.step:g}", f"[{onset.lower:g}, {onset.upper:g}]"),
            ("change of golden from there on", *_cells(found.golden_after)),
        ]
    if found.curve is not None and found.kl_reached is not None:
        curve = found.curve
        rows += [
            ("golden at the initial policy", *_cells(curve.start)),
            ("alpha of d(alpha - beta ln d)", *_cells(curve.alpha)),
            ("beta", *_cells(curve.beta)),
            ("KL of that curve's peak (nats)", *_cells(curve.peak_kl, found.kl_reached)),
        ]
    print(*aligned(rows), sep="\n")
    if found.outcome == "falls" and found.lost_share is not None:
        print(f"share of golden's gain lost by the end: {found.lost_share:.3f}")
    print(found.sentence)


def _cells(interval: "SeriesInterval", most: float = math.inf) -> tuple[str, str]:
    """The value and its bounds; what lies beyond `most` is said to, not extrapolated."""

    def text(number: float) -> str:
        return f"{number:.4g}" if number <= most or math.isnan(number) else f"above {most:.3g}"

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
