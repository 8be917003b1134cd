"""`rmcheck history`: what earlier checkpoints measured, and what RL made of them."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmcheck.cli.arguments import shows_help
from rmcheck.wording import aligned

if TYPE_CHECKING:
    from rmcheck.history.records import CheckEntry, RegretRecord, RunRecord, Target
    from rmcheck.metrics.regret.calibration import CalibrationTable


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = "Keep records of runs, attach what RL really gave, and look at both."
    actions = command.add_subparsers(title="actions", metavar="ACTION")
    command.set_defaults(action=shows_help(command))
    _add(actions)
    _list(actions)
    _show(actions)
    _add_regret(actions)
    _calibrate(actions)
    _export(actions)


def run(options: argparse.Namespace) -> int:
    """Do the action that was asked for."""
    return int(options.action(options))


def _action(actions: Any, name: str, text: str, function: Any) -> argparse.ArgumentParser:
    action: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text)
    action.set_defaults(action=function)
    return action


def _folder(action: argparse.ArgumentParser) -> None:
    action.add_argument("folder", type=Path, metavar="DIR", help="folder of the history")


def _targets(action: argparse.ArgumentParser, text: str) -> None:
    target = action.add_mutually_exclusive_group(required=True)
    target.add_argument("--n", type=int, metavar="N", help=f"{text}: n of best-of-n")
    target.add_argument("--kl", type=float, metavar="NATS", help=f"{text}: KL in nats")
    action.add_argument(
        "--optimizer",
        choices=("best_of_n", "rl"),
        default="best_of_n",
        help="what optimised it: best-of-n or tilting (the default), or RL, which needs --kl",
    )


def _target(options: argparse.Namespace) -> "Target":
    from rmcheck.history.records import Target

    if options.n is not None:
        return Target("n", options.n, options.optimizer)
    return Target("kl", options.kl, options.optimizer)


def _add(actions: Any) -> None:
    action = _action(actions, "add", "keep the runs of a report", add)
    action.add_argument(
        "report", type=Path, metavar="REPORT", help="folder of a run's report, or report.json"
    )
    action.add_argument("--to", type=Path, required=True, metavar="DIR", dest="folder")


def add(options: argparse.Namespace) -> int:
    """Keep one record for each suite of a report."""
    from rmcheck.errors import UsageError
    from rmcheck.history.history import History
    from rmcheck.history.record_reading import read_report
    from rmcheck.reports.document import REPORT_NAME

    report = options.report
    records = read_report(report / REPORT_NAME if report.is_dir() else report)
    if not records:
        raise UsageError(f"{options.report}: no check was decided, so there is nothing to keep.")
    history = History(options.folder)
    for record in records:
        print(history.add(record))
    return 0


def _list(actions: Any) -> None:
    _folder(_action(actions, "list", "all runs, oldest first", list_runs))


def list_runs(options: argparse.Namespace) -> int:
    """Print a line a run; files that are wrong are named after the good ones."""
    from rmcheck.errors import FileError
    from rmcheck.history.history import History

    found = History(options.folder).contents()
    rows = [("run", "suite", "verdicts", "regret")]
    for record in found.runs:
        regrets = [r for r in found.regrets if r.fingerprint == record.fingerprint]
        rows.append((record.id, record.suite, _verdicts(record), _regrets_text(regrets)))
    print(*aligned(rows), sep="\n")
    orphans = {r.fingerprint for r in found.regrets} - {r.fingerprint for r in found.runs}
    if orphans:
        print(f"{len(orphans)} reward models have a regret here but no run.")
    if found.problems:
        raise FileError(found.problems)
    return 0


def _show(actions: Any) -> None:
    action = _action(actions, "show", "one run with its checks and regrets", show)
    _folder(action)
    action.add_argument("name", metavar="RUN", help="id of a run, or how it begins")


def show(options: argparse.Namespace) -> int:
    """Print a run, its checks and its regrets."""
    from rmcheck.history.history import History
    from rmcheck.history.record_text import time_text

    history = History(options.folder)
    record = history.run(options.name)
    print(f"{record.id}  ({time_text(record.time)}, rmcheck {record.rmcheck})")
    print(f"rm      {record.rm} ({record.spec}, {record.fingerprint[:8]})")
    print(f"suite   {record.suite} ({record.suite_path})")
    print(f"pool    {record.pool} ({record.pool_fingerprint[:8]}), golden {record.golden}")
    rows = [("check", "n", "measured", "bounds", "verdict")]
    for c in record.checks:
        name = f"{c.name}[{c.slice}]" if c.slice else c.name
        bounds = f"[{c.lower:.3f}, {c.upper:.3f}]"
        rows.append((name, str(c.n), f"{c.value:.3f}", bounds, c.verdict))
    print(*aligned(rows), sep="\n")
    for regret in history.sound().regrets:
        if regret.fingerprint == record.fingerprint:
            print(f"regret {_regret_text(regret)}")
    return 0


def _add_regret(actions: Any) -> None:
    action = _action(actions, "add-regret", "attach what optimising it really gave", add_regret)
    _folder(action)
    action.add_argument("name", metavar="RUN", help="id of a run, or how it begins")
    text = "share of the golden gain that was lost: 0 lost nothing, 1 gained nothing"
    action.add_argument("--regret", type=float, required=True, metavar="SHARE", help=text)
    _targets(action, "how far the policy was optimised")
    action.add_argument("--lower", type=float, metavar="SHARE", help="lower confidence bound")
    action.add_argument("--upper", type=float, metavar="SHARE", help="upper confidence bound")
    action.add_argument("--seed", type=int, help="seed of the RL run")
    action.add_argument("--note", default="", metavar="TEXT", help="where the number came from")


def add_regret(options: argparse.Namespace) -> int:
    """Attach a regret to a run, and so to its reward model."""
    from datetime import UTC, datetime

    from rmcheck.history.history import History
    from rmcheck.history.records import RegretRecord

    history = History(options.folder)
    record = history.run(options.name)
    regret = RegretRecord(
        run=record.id,
        fingerprint=record.fingerprint,
        value=options.regret,
        target=_target(options),
        time=datetime.now(UTC).replace(microsecond=0),
        lower=options.lower,
        upper=options.upper,
        seed=options.seed,
        note=options.note,
    )
    print(history.add(regret))
    return 0


def _calibrate(actions: Any) -> None:
    text = "the table that a calibrated prediction learns from, and how well it predicts"
    action = _action(actions, "calibrate", text, calibrate)
    _folder(action)
    _targets(action, "how far the policy will be optimised")
    text = "run whose pool, golden and metric count; the latest by default"
    action.add_argument("--like", metavar="RUN", help=text)
    action.add_argument("--metric", default="predicted_regret", metavar="NAME")
    text = "facts of the check to learn from, with commas; by default its uncalibrated prediction"
    action.add_argument("--features", metavar="NAMES", help=text)
    action.add_argument("--confidence", type=float, default=0.95, metavar="LEVEL")


def calibrate(options: argparse.Namespace) -> int:
    """Print the calibration table, its left-one-out bounds and their coverage."""
    from rmcheck.errors import UsageError
    from rmcheck.history.calibration import Basis, calibration_table, check_at
    from rmcheck.history.history import History
    from rmcheck.run.find import FREE

    if not 0.5 < options.confidence < 1:
        raise UsageError(f"confidence is {options.confidence:g}; valid: above 0.5, below 1.")
    history, target = History(options.folder), _target(options)
    known = history.sound()
    runs = known.runs
    measured = [r for r in runs if any(c.metric == options.metric for c in r.checks)]
    if options.like is None and not measured:
        raise UsageError(f"{options.folder}: no run has a check of {options.metric!r}")
    like = history.run(options.like) if options.like is not None else measured[-1]
    check = check_at(like, options.metric, target)
    table = calibration_table(
        runs,
        known.regrets,
        basis=Basis.of_check(like, check, ignored=FREE),
        target=target,
        features=_features(options.features, check),
        ignored=FREE,
    )
    print(f"Reward models measured like {like.id}, with a regret at {target}:")
    _print_calibration(table, options.confidence)
    return 0


def _features(given: str | None, check: "CheckEntry") -> list[str]:
    """The facts asked for, or the prediction under the name of the method that made it."""
    from rmcheck.errors import UsageError, near_miss
    from rmcheck.metrics.best_of_n import BonDropRatio
    from rmcheck.metrics.matched_kl import MatchedKlRegret
    from rmcheck.metrics.regret.nested import NestedDrop
    from rmcheck.metrics.regret.ordinal import OrdinalDrop
    from rmcheck.metrics.regret.pooled import PooledDrop

    methods = (PooledDrop, NestedDrop, OrdinalDrop, MatchedKlRegret, BonDropRatio)
    there = ", ".join(check.facts) or "none"
    if given is None:
        found = [method.name for method in methods if method.name in check.facts]
        if len(found) != 1:
            raise UsageError(f"name the facts to learn from with --features. Facts: {there}.")
        return found
    names = [name.strip() for name in given.split(",")]
    for name in names:
        if name not in check.facts:
            hint = near_miss(name, check.facts)
            raise UsageError(f"the check has no fact {name!r}.{hint} Facts: {there}.")
    return names


def _print_calibration(table: "CalibrationTable", confidence: float) -> None:
    """The table, what one row's bound from the others was, and what is missing."""
    import numpy as np

    from rmcheck.stats.conformal import jackknife_plus, left_one_out_bounds, rows_needed

    needed, predictable = rows_needed(confidence), len(table) >= 3
    level = f"{100 * confidence:g}%"
    rows = [("rm", *table.feature_names, "regret", "RL runs", "left-one-out", f"{level} bound")]
    if predictable:
        bounds = left_one_out_bounds(table.features, table.regrets, confidence)
        fit = jackknife_plus(table.features, table.regrets, table.features[0])
        errors = fit.residuals
    for m, name in enumerate(table.names):
        cells = [name, *(f"{x:.3f}" for x in table.features[m]), f"{table.regrets[m]:.3f}"]
        cells.append(str(table.regret_counts[m]))
        predicted = table.regrets[m] - errors[m] if predictable else None
        cells += [f"{predicted:.3f}", f"{bounds[m]:.3f}"] if predicted is not None else ["-", "-"]
        rows.append(tuple(cells))
    print(*aligned(rows), sep="\n")
    if table.left_out:
        print(f"left out: {table.left_out_text()}")
    if predictable:
        error = np.sqrt(np.mean(errors**2))
        print(f"left-one-out error {error:.3f} (root mean square)")
    if len(table) > needed:
        covered = int((table.regrets <= bounds).sum())
        print(f"left-one-out coverage of the {level} upper bound: {covered} of {len(table)}")
    if len(table) < needed:
        few = "1 reward model is" if len(table) == 1 else f"{len(table)} reward models are"
        print(f"{few} too few: a {level} bound needs {needed}")
    if any(count > 1 for count in table.regret_counts):
        print("averaged regrets: the bound does not cover the noise of a single RL run")


def _export(actions: Any) -> None:
    action = _action(actions, "export", "one run of a tracker a record", export)
    _folder(action)
    where = action.add_mutually_exclusive_group(required=True)
    where.add_argument("--mlflow", metavar="URI", help="MLflow tracking URI")
    where.add_argument("--wandb", metavar="PROJECT", help="project of Weights & Biases")
    where.add_argument("--trackio", metavar="PROJECT", help="project of trackio")
    action.add_argument(
        "--experiment", default="rmcheck", metavar="NAME", help="with --mlflow: the experiment"
    )


def export(options: argparse.Namespace) -> int:
    """Add to a tracker what it does not have yet."""
    from rmcheck.history.history import History
    from rmcheck.history.mlflow_export import export_to_mlflow
    from rmcheck.history.tracker_export import Tracker, export_to_tracker

    known = History(options.folder).sound()
    runs, regrets = known.runs, known.regrets
    if options.mlflow:
        place = options.mlflow
        added = export_to_mlflow(runs, regrets, place, options.experiment)
    else:
        place = options.wandb or options.trackio
        tracker: Tracker = "wandb" if options.wandb else "trackio"
        added = export_to_tracker(tracker, runs, regrets, place)
    print(f"{added.runs} runs and {added.regrets} regrets added to {place}")
    return 0


def _verdicts(record: "RunRecord") -> str:
    found = [check.verdict for check in record.checks]
    return ", ".join(f"{found.count(v)} {v}" for v in dict.fromkeys(sorted(found)))


def _regrets_text(regrets: "Sequence[RegretRecord]") -> str:
    return "; ".join(f"{r.value:.3f} at {r.target}" for r in regrets) or "none yet"


def _regret_text(regret: "RegretRecord") -> str:
    parts = [f"{regret.value:.3f} at {regret.target}"]
    if regret.lower is not None or regret.upper is not None:
        bounds = ("?" if b is None else f"{b:.3f}" for b in (regret.lower, regret.upper))
        parts.append(f"[{', '.join(bounds)}]")
    if regret.seed is not None:
        parts.append(f"seed {regret.seed}")
    return " ".join([*parts, f"({regret.note})"] if regret.note else parts)
