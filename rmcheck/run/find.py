"""From the rewards of a suite to what was measured for each of its checks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from rmcheck.checks.measurement import (
    Measurement,
    Pending,
    measured,
    pending,
    pending_drop,
)
from rmcheck.checks.steps import decayed, held
from rmcheck.checks.worst import worst_slice
from rmcheck.errors import BaselineError, RmcheckError, UndefinedMetricError
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.policy_steps import PolicySteps, only
from rmcheck.metrics.regret.calibration import CalibrationTable, Past, PastOf
from rmcheck.metrics.rewards import Rewards
from rmcheck.run.fill import ModelRewards
from rmcheck.run.loaded import LoadedSuite, PlannedCheck
from rmcheck.run.plan import PlannedSuite
from rmcheck.stats.estimate import Estimate

if TYPE_CHECKING:  # read where a suite predicts
    from rmcheck.history.records import Target
    from rmcheck.metrics.regret.predicted_regret import PredictedRegret

# What is measured for one slice: before, and after.
Value = TypeVar("Value", Pending, Measurement)
# Name and slice of a check.
Key = tuple[str, str]


@dataclass(frozen=True)
class Finding:
    """What was measured for a check.

    Attributes:
        measurement: Of what the criterion is put to: the metric, or the drop.
        candidate: The candidate's own estimate.
        conditions: The slice that it was measured on; where one slice is chosen, that one.
    """

    planned: PlannedCheck
    measurement: Measurement
    candidate: Estimate
    baseline: Estimate | None
    conditions: Mapping[str, str]


# What each model that is judged gave, by its role, or why there is nothing of it.
Reads = Mapping[str, ModelRewards | RmcheckError]
# What each check of a suite came to, or the error that it ended with.
Found = Mapping[Key, Finding | RmcheckError]


@dataclass(frozen=True, eq=False)
class _Place:
    """Where something is measured.

    Attributes:
        name: Of the slice or step, where one of several is chosen.
        taken: (M,) responses that count, where they are not all of a prompt's.
    """

    name: str
    conditions: Mapping[str, str]
    taken: NDArray[np.bool_] | None = None

    def of(self, read: ModelRewards) -> ModelRewards:
        """A model on the responses that count."""
        return read if self.taken is None else replace(read, rewards=only(read.rewards, self.taken))


@dataclass(frozen=True)
class _Part(Generic[Value]):
    """What is measured for one check on one slice, or at one step of the policy."""

    place: _Place
    candidate: Value
    baseline: Value | None
    drop: Value | None

    def values(self) -> Iterator[Value]:
        """All of them, for one product with the weights."""
        return (v for v in (self.candidate, self.baseline, self.drop) if v is not None)

    def measured(self, found: Iterator[Measurement]) -> "_Part[Measurement]":
        """With the next measurements in the order of `values`."""
        own = next(found)
        baseline = next(found) if self.baseline is not None else None
        drop = next(found) if self.drop is not None else None
        return _Part(self.place, own, baseline, drop)


def find(
    suite: PlannedSuite,
    reads: Reads,
    repeated: Callable[[Measurement], Measurement] | None = None,
) -> Found:
    """Measure every check of a suite; one that cannot be measured does not stop the others.

    Args:
        suite: The suite with its models.
        reads: What the candidate, and the baseline if any, gave for it, or for a part of it.
        repeated: Widens the bounds of what is measured more than once while scores come in.
    """
    parts: dict[Key, list[_Part[Pending]]] = {}
    found: dict[Key, Finding | RmcheckError] = {}
    for planned in suite.loaded.planned:
        try:
            compared = _compared(planned, reads)
            places = _places(planned, suite.loaded)
            parts[planned.key] = [_part(planned, place, suite, compared) for place in places]
        except RmcheckError as error:
            found[planned.key] = error
    values = [v for several in parts.values() for part in several for v in part.values()]
    measurements = map(repeated, measured(values)) if repeated else iter(measured(values))
    for planned in suite.loaded.planned:
        if planned.key in parts:
            several = [part.measured(measurements) for part in parts[planned.key]]
            found[planned.key] = _finding(planned, several)
    return found


def _compared(planned: PlannedCheck, reads: Reads) -> dict[str, ModelRewards]:
    """What the check is measured on; one that does not compare can do without a baseline."""
    baseline = reads.get("baseline")
    if isinstance(baseline, ModelRewards) or not planned.check.needs_baseline:
        return {role: read for role, read in reads.items() if isinstance(read, ModelRewards)}
    raise baseline or BaselineError(
        f"{planned.name} compares with a baseline, and none was given.\n"
        "  Give one with --rmcheck-baseline=SCHEME:LOCATION, or set rmcheck_baseline in the ini "
        "file."
    )


def _places(planned: PlannedCheck, loaded: LoadedSuite) -> list[_Place]:
    check, conditions = planned.check, dict(planned.conditions)
    if check.over is None or check.slice_quantile is None:
        return [_Place("", conditions)]
    if check.holds_to is not None:
        return _steps(loaded.frame, check.over, check.holds_to, conditions)
    values = loaded.frame_of(check).slice_values(check.over, conditions)
    return [_Place(value, {**conditions, check.over: value}) for value in values]


def _steps(frame: Rewards, column: str, last: float, where: Mapping[str, str]) -> list[_Place]:
    """The steps of the policy up to one: slices, where the pool has each as one."""
    found, steps = [], PolicySteps.read(frame, column)
    for number in steps.up_to(last):
        name, texts = f"{steps.steps[number]:g}", steps.texts(frame, number)
        if len(texts) == 1:
            found.append(_Place(name, {**where, column: texts[0]}))
        else:
            found.append(_Place(name, where, steps.of == number))
    return found


def _part(
    planned: PlannedCheck, place: _Place, suite: PlannedSuite, reads: Mapping[str, ModelRewards]
) -> _Part[Pending]:
    check, where, sampling = planned.check, place.conditions, suite.loaded.sampling
    if check.confidence is not None:
        sampling = replace(sampling, confidence=check.confidence)

    def value(role: str) -> Pending:
        # Past reward models were not seen by one of their components.
        past = None if check.view else past_of(suite, role)
        metric = check.measured.calibrated_on(past, where)
        return pending(metric, place.of(reads[role]).on(check), where=where, sampling=sampling)

    own = value("candidate")
    if "baseline" not in reads:
        return _Part(place, own, None, None)
    if check.needs_baseline:
        base = value("baseline")
        first, second = (place.of(reads[role]).on(check) for role in ("candidate", "baseline"))
        drop = pending_drop(check.measured, first, second, where=where, sampling=sampling)
        return _Part(place, own, base, drop)
    with suppress(UndefinedMetricError):  # only shown beside the candidate
        return _Part(place, own, value("baseline"), None)
    return _Part(place, own, None, None)


def _finding(planned: PlannedCheck, parts: Sequence[_Part[Measurement]]) -> Finding:
    check = planned.check
    compared = [part.drop or part.candidate for part in parts]
    part, measurement = parts[0], compared[0]
    said = decayed(measurement) if check.max_decay is not None else ""
    if check.slice_quantile is not None and check.over is not None:
        by_name = {p.place.name: m for p, m in zip(parts, compared, strict=True)}
        direction = "lower" if check.needs_baseline else check.metric.direction
        name, measurement = worst_slice(by_name, direction, check.slice_quantile)
        part = next(p for p in parts if p.place.name == name)
        said = held(check.criterion, by_name) if check.holds_to is not None else ""
    note = "; ".join(filter(None, (measurement.note, said)))
    measurement = replace(measurement, note=note)
    baseline = part.baseline.estimate if part.baseline else None
    return Finding(planned, measurement, part.candidate.estimate, baseline, part.place.conditions)


# -- past reward models --------------------------------------------------------------------------

# Parts of a signature that do not change a prediction before calibration: which methods were
# allowed (the feature names the one that was used), for which optimiser, at how many looks the
# checks were decided, and the version of rmcheck (the metric counts its own).
FREE = ("predictor", "optimizer", "looks", "v")


def past_of(suite: PlannedSuite, role: str) -> PastOf:
    """What predictions for a model on a suite may be calibrated on, by metric and slice."""
    history = suite.loaded.history

    def past(metric: "PredictedRegret", conditions: Mapping[str, str]) -> Past | None:
        lineage = suite.loaded.suite.lineage or ""
        if history is None or (metric.optimizer == "rl" and not lineage):
            return None
        from rmcheck.history.calibration import Basis, calibration_table, comparable

        signature = comparable(f"{measured_as(metric, conditions)}|{suite.identity}", FREE)

        def table(method: str) -> CalibrationTable:
            return calibration_table(
                history.runs,
                history.regrets,
                basis=Basis(
                    suite.loaded.fingerprint, suite.golden, metric.name, signature, lineage
                ),
                target=_target(metric),
                features=(method,),
                candidate=suite.models[role].fingerprint,
                ignored=FREE,
            )

        return table

    return past


def measured_as(metric: Metric, conditions: Mapping[str, str]) -> str:
    """The part of a signature that says what was measured, whatever the model and the data."""
    return metric.signature + "".join(f"|{k}:{v}" for k, v in conditions.items())


def _target(metric: "PredictedRegret") -> "Target":
    from rmcheck.history.records import Target

    if metric.n is not None:
        return Target("n", metric.n)
    return Target("kl", metric.kl or 0.0, metric.optimizer)
