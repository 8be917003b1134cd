"""Gate checkpoints one after another, as a training run saves them."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rmcheck.checks.record import CheckRecord
from rmcheck.errors import RmcheckError, UsageError, near_miss
from rmcheck.metrics.registry import metric_class
from rmcheck.run.load import load, read_anew
from rmcheck.run.runner import Runner
from rmcheck.suite.suite import Check

CHECKPOINT = "{checkpoint}"


@dataclass(frozen=True)
class GatedCheckpoint:
    """What the suites said of one checkpoint.

    Attributes:
        records: `suite::check` to what was found.
        errors: `suite::check`, or a suite, to why nothing was.
    """

    folder: Path
    step: int
    records: Mapping[str, CheckRecord]
    errors: Mapping[str, str]

    @property
    def passed(self) -> bool:
        """Whether every check was decided and passed."""
        return not self.errors and all(r.gate == "passed" for r in self.records.values())

    def failed(self, names: Sequence[str]) -> bool:
        """Whether one of these checks was decided and did not pass."""
        return any(name in self.records and self.records[name].gate != "passed" for name in names)

    def logs(self) -> dict[str, float]:
        """Numbers for a trainer's loggers: value, bounds and 1 or 0 for each check."""
        found = {"rmcheck/passed": float(self.passed)}
        for name, record in self.records.items():
            key = f"rmcheck/{name.replace('::', '/')}"
            found |= {key: record.value, f"{key}/lower": record.lower, f"{key}/upper": record.upper}
            found[f"{key}/passed"] = float(record.gate == "passed")
        return found

    def __str__(self) -> str:
        lines = [f"rmcheck: {self.folder.name}: {'passed' if self.passed else 'failed'}"]
        for name, r in self.records.items():
            lines.append(
                f"  {name} {r.value:.3f} [{r.lower:.3f}, {r.upper:.3f}], {r.required}: {r.verdict}"
            )
        return "\n".join([*lines, *(f"  {name}: {why}" for name, why in self.errors.items())])


@dataclass
class CheckpointGate:
    """Puts suites to checkpoints, and remembers which was the best.

    Args:
        suites: Files of suites; they and their pools are read at once.
        model: Spec of the checkpoint, with `{checkpoint}` for its folder.
        baseline: Spec of the model that checks with `max_drop` compare with, or None.
        store: The `.rmcheck` folder.
        stop_on: Checks (`suite::check`) that end training when one of them fails.
        patience: So many checkpoints in a row must fail them before it ends.
        keep: The check (`suite::check`) whose value says which checkpoint is the best; None for no
            best one.

    Attributes:
        gated: Every checkpoint so far.

    Raises:
        SuiteError, PoolError: A suite or its pool is wrong.
        UsageError: A check that is named does not exist, or `patience` is below 1.
    """

    suites: Sequence[Path | str]
    model: str = f"hf:{CHECKPOINT}"
    baseline: str | None = None
    store: Path | str = ".rmcheck"
    stop_on: Sequence[str] = ()
    patience: int = 1
    keep: str | None = None
    gated: list[GatedCheckpoint] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if CHECKPOINT not in self.model:
            raise UsageError(f"model is {self.model!r}; it names the checkpoint as {CHECKPOINT}")
        if self.patience < 1:
            raise UsageError(f"patience is {self.patience}; it is 1 or more")
        self._paths = [Path(suite).resolve() for suite in self.suites]
        self._checks: dict[str, Check] = {}
        for path in self._paths:
            suite = load(path, read_anew).suite
            self._checks |= {f"{suite.name}::{check.name}": check for check in suite.checks}
        for name in (*self.stop_on, *([self.keep] if self.keep else [])):
            if name not in self._checks:
                known = ", ".join(self._checks)
                raise UsageError(
                    f"no check {name!r}.{near_miss(name, self._checks)} Checks: {known}."
                )

    def gate(self, folder: Path, step: int) -> GatedCheckpoint:
        """Score a checkpoint and decide every check; what cannot be decided is an error in it."""
        records: dict[str, CheckRecord] = {}
        errors: dict[str, str] = {}
        with tempfile.TemporaryDirectory() as session:
            try:
                runner = Runner(
                    candidate=self.model.replace(CHECKPOINT, str(folder.absolute())),
                    baseline=self.baseline,
                    store=Path(self.store).absolute(),
                    session_folder=Path(session),
                    shown_relative_to=Path.cwd(),
                )
                for name, record in _judged(runner, self._paths):
                    if isinstance(record, CheckRecord):
                        records[name] = record
                    else:
                        errors[name] = str(record)
                runner.close()
            except RmcheckError as error:
                errors["model"] = str(error)
        found = GatedCheckpoint(folder, step, records, errors)
        self.gated.append(found)
        return found

    @property
    def should_stop(self) -> bool:
        """Whether the last `patience` checkpoints all failed a check of `stop_on`."""
        last = self.gated[-self.patience :]
        return len(last) == self.patience and all(one.failed(self.stop_on) for one in last)

    @property
    def best(self) -> GatedCheckpoint | None:
        """The checkpoint with the best value of `keep`; the earlier one of equals."""
        if self.keep is None:
            return None
        keep = self.keep
        measured = [one for one in self.gated if keep in one.records]
        higher = metric_class(self._checks[keep].metric.name).direction == "higher"
        sign = 1.0 if higher and not self._checks[keep].needs_baseline else -1.0
        return max(measured, key=lambda one: sign * one.records[keep].value, default=None)


def _judged(
    runner: Runner, paths: Sequence[Path]
) -> Iterator[tuple[str, CheckRecord | RmcheckError]]:
    """Every check of the suites with its record, or with why there is none."""
    for path in paths:
        loaded = runner.add(path)
        for planned in loaded.planned:
            name = f"{loaded.suite.name}::{planned.name}"
            try:
                yield name, runner.record(planned, node=name)
            except RmcheckError as error:
                yield name, error
