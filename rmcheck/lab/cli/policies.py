"""`rmcheck lab policies`: policies against each reward model, and golden meanwhile."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rmcheck.lab.cli.train import add_laboratory, tell_trained

if TYPE_CHECKING:
    from rmcheck.lab.experiment import Findings
    from rmcheck.lab.outcomes.mitigation import Mitigation
    from rmcheck.lab.rl.runs import RlRun


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Trains the reward models that a file describes, optimises a policy against each of them "
        "and against golden with the same settings (best-of-n, tilting, PPO, GRPO, RLOO), and "
        "writes outcomes.csv (NDR and regret of each policy), curves.csv (each run over its steps) "
        "and mitigation.csv (what ensembles, KL penalties and early stopping save), beside rl.csv "
        "and study.yaml, which `rmcheck study` takes. What is finished is kept, and a run that was "
        "killed goes on."
    )
    add_laboratory(command)


def run(options: argparse.Namespace) -> int:
    """Do what is not done yet; 1 where runs diverged, unless the file leaves them out."""
    from rmcheck.lab.experiment import run_laboratory
    from rmcheck.lab.file import read_laboratory
    from rmcheck.lab.quiet import require_laboratory

    laboratory = read_laboratory(options.file)
    require_laboratory()
    found = run_laboratory(laboratory, options.out, tell_trained, _tell_run)
    _tell(found, options.out)
    leaves_out = laboratory.optimization and laboratory.optimization.diverged == "leave_out"
    return 1 if found.diverged and not leaves_out else 0


def _tell_run(run: "RlRun") -> None:
    status = run.status
    print(f"{run}: {status['status']}{status['reason'] and ', '}{status['reason']}", flush=True)


def _tell(found: "Findings", out: Path) -> None:
    if found.mitigations:
        print(_saved(found.mitigations))
    undefined = sum(bool(outcome.note) for outcome in found.outcomes)
    print(
        f"{out}: outcomes.csv has {len(found.outcomes)} policies, {undefined} of them without a "
        f"regret, as `note` says; curves.csv, mitigation.csv; rmcheck study {out}/study.yaml"
    )
    for course in found.diverged:
        print(f"left out of all tables: {course.run} diverged at {course.diverged}")


def _saved(rows: "Sequence[Mitigation]") -> str:
    lines = [f"{'optimizer':12} {'remedy':48} {'KL':>6} {'regret':>16} {'saved, 95% bounds':>24}"]
    lines += [
        f"{row.optimizer:12} {row.remedy:48} {row.kl:6.2f} "
        f"{row.regret_without:6.3f} to {row.regret:6.3f} "
        f"{row.saved:7.3f} [{row.lower:6.3f}, {row.upper:6.3f}]"
        for row in rows
    ]
    return "\n".join(lines)
