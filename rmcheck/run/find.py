"""From the rewards of a suite to what was measured for each of its checks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from rmcheck.checks.measurement import (
    Measurement,
    Pending,
    Sampling,
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
from rmcheck.probes.effect import measured_on
from rmcheck.run.fill import Filled
from rmcheck.run.loaded import LoadedSuite, PlannedCheck
from rmcheck.run.plan import PlannedSuite
from rmcheck.stats.estimate import Estimate
from rmcheck.suite.suite import Check

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


# What each check of a suite came to, or the error that it ended with.
Found = Mapping[Key, Finding | RmcheckError]


@dataclass(frozen=True)
class Subject:
    """A model as it is judged on a suite.

    Attributes:
        past: The past reward models that a prediction for this one may be calibrated on.
        answers: Probe to its rewards of the answers to that probe's own questions.
    """

    rewards: Rewards
    past: PastOf
    answers: Mapping[str, Rewards] = field(default_factory=dict)

    def on(self, check: Check) -> Rewards:
        """The rewards that a check is measured on.

        Raises:
            UndefinedMetricError: The model has no such component.
        """
        return check.view.of(measured_on(check.metric, self.rewards, self.answers))


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

    def of(self, subject: Subject) -> Subject:
        """The model on the responses that count."""
        if self.taken is None:
            return subject
        return replace(subject, rewards=only(subject.rewards, self.taken))


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
    loaded: LoadedSuite,
    candidate: Subject,
    baseline: Subject | RmcheckError | None,
    repeated: Callable[[Measurement], Measurement] | None = None,
) -> Found:
    """Measure every check of a suite; one that cannot be measured does not stop the others.

    Args:
        loaded: The suite.
        candidate: The model under test.
        baseline: What it is compared with, if anything, or why there are no rewards of it.
        repeated: Widens the bounds of what is measured more than once while scores come in.
    """
    parts: dict[Key, list[_Part[Pending]]] = {}
    found: dict[Key, Finding | RmcheckError] = {}
    for planned in loaded.planned:
        try:
            compared = _compared(planned, baseline)
            parts[planned.key] = _parts(planned, loaded, candidate, compared)
        except RmcheckError as error:
            found[planned.key] = error
    values = [v for several in parts.values() for part in several for v in part.values()]
    measurements = map(repeated, measured(values)) if repeated else iter(measured(values))
    for planned in loaded.planned:
        if planned.key in parts:
            several = [part.measured(measurements) for part in parts[planned.key]]
            found[planned.key] = _finding(planned, several)
    return found


def subjects(
    whole: PlannedSuite, part: PlannedSuite, filled: Filled
) -> tuple[Subject, Subject | RmcheckError | None]:
    """Candidate and baseline, as they are judged on a part of a suite, which may be the whole.

    The baseline is None where no check compares with one, or none was given, and an error where its
    scores could not be had: that is for the checks that compare.

    Raises:
        ModelError, StoreError: The candidate's or golden's scores could not be had.
    """
    candidate = _subject(whole, part, "candidate", filled)
    if "baseline" not in whole.models:
        return candidate, None
    try:
        return candidate, _subject(whole, part, "baseline", filled)
    except RmcheckError as error:
        return candidate, error


def _subject(whole: PlannedSuite, part: PlannedSuite, role: str, filled: Filled) -> Subject:
    found = filled.reading(part, role)
    return Subject(found.rewards, past_of(whole, role), found.answers)


def _compared(planned: PlannedCheck, baseline: Subject | RmcheckError | None) -> Subject | None:
    """The baseline as the check meets it; a check that does not compare can do without."""
    if isinstance(baseline, Subject) or not planned.check.needs_baseline:
        return baseline if isinstance(baseline, Subject) else None
    raise baseline or BaselineError(
        f"{planned.name} compares with a baseline, and none was given.\n"
        "  Give one with --rmcheck-baseline=SCHEME:LOCATION, or set rmcheck_baseline in the ini "
        "file."
    )


def _parts(
    planned: PlannedCheck, loaded: LoadedSuite, candidate: Subject, baseline: Subject | None
) -> list[_Part[Pending]]:
    """One part, or one for each slice or step of which one is chosen."""
    sampling = loaded.sampling
    if planned.check.confidence is not None:
        sampling = replace(sampling, confidence=planned.check.confidence)
    return [
        _part(planned, sampling, place.of(candidate), baseline and place.of(baseline), place)
        for place in _places(planned, loaded)
    ]


def _places(planned: PlannedCheck, loaded: LoadedSuite) -> list[_Place]:
    check, conditions = planned.check, dict(planned.conditions)
    if check.over is None or check.slice_quantile is None:
        return [_Place("", conditions)]
    if check.holds_to is not None:
        return _steps(loaded.frame, check.over, check.holds_to, conditions)
    values = loaded.slice_values(check, check.over, conditions)
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
    planned: PlannedCheck,
    sampling: Sampling,
    candidate: Subject,
    baseline: Subject | None,
    place: _Place,
) -> _Part[Pending]:
    check, where = planned.check, place.conditions
    own = _pending(check, candidate, where, sampling)
    if baseline is None:
        return _Part(place, own, None, None)
    if not check.needs_baseline:
        return _Part(place, own, _baseline_shown(check, baseline, where, sampling), None)
    base = _pending(check, baseline, where, sampling)
    pair = candidate.on(check), baseline.on(check)
    drop = pending_drop(check.measured, *pair, where=where, sampling=sampling)
    return _Part(place, own, base, drop)


def _pending(
    check: Check, subject: Subject, where: Mapping[str, str], sampling: Sampling
) -> Pending:
    # Past reward models were not seen by one of their components.
    past = None if check.view else subject.past
    known = check.measured.calibrated_on(past, where)
    return pending(known, subject.on(check), where=where, sampling=sampling)


def _baseline_shown(
    check: Check, baseline: Subject, where: Mapping[str, str], sampling: Sampling
) -> Pending | None:
    """The baseline where it is only shown beside the candidate: it may have no such number."""
    try:
        return _pending(check, baseline, where, sampling)
    except UndefinedMetricError:
        return None


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
    history, candidate = suite.loaded.history, suite.models[role].fingerprint

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
                candidate=candidate,
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
