"""The history as runs of Weights & Biases or trackio, which have one interface."""

import importlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from rmcheck.errors import MissingDependencyError, StoreError
from rmcheck.history.mlflow_export import Exported, numbers_of, parameters_of
from rmcheck.history.record_text import content_hash
from rmcheck.history.records import RegretRecord, RunRecord

Tracker = Literal["wandb", "trackio"]


class _Entry(NamedTuple):
    """One run of the tracker: a run of the gate, or a regret that RL gave later."""

    name: str
    group: str
    config: dict[str, str]
    numbers: dict[str, float]


def export_to_tracker(
    tracker: Tracker, runs: Sequence[RunRecord], regrets: Sequence[RegretRecord], project: str
) -> Exported:
    """One run of the project a record, and one a regret in the group of its run.

    A record has one name for ever, so that what is there already is not added again. Accounts and
    servers are those that the tracker is set up for (`WANDB_MODE=offline`, `TRACKIO_DIR`, …).

    Raises:
        MissingDependencyError: The tracker is not installed.
        StoreError: It could not read or write the project.
    """
    try:
        module = importlib.import_module(tracker)
    except ImportError as error:
        message = f"the export needs {tracker}. Install it with: pip install 'rmcheck[{tracker}]'"
        raise MissingDependencyError(message) from error
    try:
        known = _known(module, tracker, project)
        new_runs = [one for one in map(_of_run, runs) if one.name not in known]
        new_regrets = [one for one in _of_regrets(runs, regrets) if one.name not in known]
        for entry in new_runs + new_regrets:
            _add(module, tracker, project, entry)
    except Exception as error:  # each tracker has errors of its own, and of its transport
        raise StoreError(f"{tracker} project {project}: the export failed: {error}") from error
    return Exported(len(new_runs), len(new_regrets))


def _known(module: Any, tracker: Tracker, project: str) -> set[str]:
    """Names of the runs that the project has."""
    try:
        return {
            str(run.id if tracker == "wandb" else run.name) for run in module.Api().runs(project)
        }
    except Exception:  # a project that is not there yet, or a tracker that works offline
        return set()


def _add(module: Any, tracker: Tracker, project: str, entry: _Entry) -> None:
    # Offline nobody can be asked what is there: a run of the same id is one run when it arrives.
    again = {"id": entry.name, "resume": "allow"} if tracker == "wandb" else {}
    module.init(project=project, name=entry.name, group=entry.group, config=entry.config, **again)
    module.log(entry.numbers)
    module.finish()


def _of_run(record: RunRecord) -> _Entry:
    verdicts = {f"verdict.{c.name}.{c.slice}".rstrip("."): c.verdict for c in record.checks}
    config = {**parameters_of(record), **verdicts}
    return _Entry(record.id, record.id, config, numbers_of(record))


def _of_regrets(runs: Sequence[RunRecord], regrets: Sequence[RegretRecord]) -> Iterator[_Entry]:
    there = {record.id for record in runs}
    for regret in regrets:
        if regret.run in there:
            name = f"{regret.run}-regret-{content_hash(regret.as_dict())}"
            config = {"target": str(regret.target), "note": regret.note}
            bounds = {"": regret.value, ".lower": regret.lower, ".upper": regret.upper}
            numbers = {f"rl_regret{end}": x for end, x in bounds.items() if x is not None}
            yield _Entry(name, regret.run, config, numbers)
