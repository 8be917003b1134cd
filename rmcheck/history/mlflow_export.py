"""The history as runs of an MLflow experiment."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rmcheck.errors import MissingDependencyError, StoreError
from rmcheck.history.record_text import content_hash
from rmcheck.history.records import RegretRecord, RunRecord

RUN_TAG = "rmcheck.run"
# Tag values and parameters are cut here; MLflow takes more in some stores, not in all.
MAX_TEXT = 500


@dataclass(frozen=True)
class Exported:
    """What an export added; nothing where all was there already."""

    runs: int
    regrets: int


def export_to_mlflow(
    runs: Sequence[RunRecord], regrets: Sequence[RegretRecord], uri: str, experiment: str
) -> Exported:
    """One MLflow run a record, found again by the tag `rmcheck.run`.

    A regret becomes a metric of the run that it was attached to, also when it came after that run
    had been exported.

    Raises:
        MissingDependencyError: MLflow is not installed.
        StoreError: MLflow could not read or write at the URI.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise MissingDependencyError(
            "the export needs MLflow. Install it with: pip install 'rmcheck[mlflow]'"
        ) from error
    try:
        return _export(MlflowClient(tracking_uri=uri), runs, regrets, experiment)
    except ImportError as error:  # databases need more than the client alone
        raise MissingDependencyError(
            f"{uri}: {error}. Install what this URI needs, with: pip install mlflow"
        ) from error
    except (MlflowException, OSError) as error:
        raise StoreError(f"{uri}: the export failed: {error}") from error


def _export(
    client: Any, runs: Sequence[RunRecord], regrets: Sequence[RegretRecord], experiment: str
) -> Exported:
    found = client.get_experiment_by_name(experiment)
    place = found.experiment_id if found else client.create_experiment(experiment)
    new_runs = new_regrets = 0
    for record in runs:
        filter_text = f"tags.`{RUN_TAG}` = '{record.id}'"
        known = client.search_runs([place], filter_string=filter_text, max_results=1)
        if known:
            run_id, tags = known[0].info.run_id, known[0].data.tags
        else:
            run_id, tags = _add_run(client, place, record), {}
            new_runs += 1
        for regret in regrets:
            if regret.run == record.id and _regret_tag(regret) not in tags:
                _add_regret(client, run_id, regret)
                new_regrets += 1
    return Exported(new_runs, new_regrets)


def _add_run(client: Any, experiment_id: str, record: RunRecord) -> str:
    time = int(record.time.timestamp() * 1000)
    run = client.create_run(experiment_id, start_time=time, run_name=record.id)
    run_id = str(run.info.run_id)
    for name, value in parameters_of(record).items():
        client.log_param(run_id, name, value[:MAX_TEXT])
    for name, number in numbers_of(record).items():
        client.log_metric(run_id, name, number, timestamp=time)
    for check in record.checks:
        client.set_tag(run_id, f"rmcheck.verdict.{_key(check.name, check.slice)}", check.verdict)
    # Last, so that a run that was cut off half-way is not taken for a whole one.
    client.set_tag(run_id, RUN_TAG, record.id)
    client.set_terminated(run_id, end_time=time)
    return run_id


def _add_regret(client: Any, run_id: str, regret: RegretRecord) -> None:
    time = int(regret.time.timestamp() * 1000)
    name = f"rl_regret.{regret.target.kind}.{regret.target.value:g}"
    name += ".rl" if regret.target.optimizer == "rl" else ""
    bounds = {"": regret.value, ".lower": regret.lower, ".upper": regret.upper}
    for suffix, number in bounds.items():
        if number is not None:
            client.log_metric(run_id, f"{name}{suffix}", number, timestamp=time)
    client.set_tag(run_id, _regret_tag(regret), regret.note[:MAX_TEXT])


def _regret_tag(regret: RegretRecord) -> str:
    return f"rmcheck.regret.{content_hash(regret.as_dict())}"


def parameters_of(record: RunRecord) -> dict[str, str]:
    """Which model was judged, by which suite, on which pool."""
    return {
        "rm": record.rm,
        "rm.spec": record.spec,
        "rm.fingerprint": record.fingerprint,
        "suite": record.suite,
        "suite.path": record.suite_path,
        "pool": record.pool,
        "pool.fingerprint": record.pool_fingerprint,
        "golden": record.golden,
        "rmcheck": record.rmcheck,
    }


def numbers_of(record: RunRecord) -> dict[str, float]:
    """Values, bounds and facts of every check, as far as they are finite."""
    found: dict[str, float] = {}
    for check in record.checks:
        name = _key(check.name, check.slice)
        bounds = {"value": check.value, "lower": check.lower, "upper": check.upper}
        found |= {f"{name}.{key}": number for key, number in {**bounds, **check.facts}.items()}
    return {_word(name): number for name, number in found.items() if math.isfinite(number)}


def _key(name: str, where: str) -> str:
    return _word(f"{name}.{where}" if where else name)


def _word(text: str) -> str:
    """A name that MLflow takes: letters, digits, and _ - . / and spaces."""
    return re.sub(r"[^\w\-. /]", "_", text)
