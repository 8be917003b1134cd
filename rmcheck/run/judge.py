"""From the rewards of a suite to the records of its checks."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import rmcheck
from rmcheck.checks.measurement import (
    Measurement,
    Pending,
    Sampling,
    measured,
    pending,
    pending_drop,
)
from rmcheck.checks.mistakes import worst_mistakes
from rmcheck.checks.record import (
    EXCERPT,
    CheckRecord,
    DriftRecord,
    EstimateRecord,
    MistakeRecord,
)
from rmcheck.checks.verdict import Verdict, decide
from rmcheck.checks.worst import worst_slice
from rmcheck.errors import BaselineError, RmcheckError, UndefinedMetricError
from rmcheck.metrics.metric import Metric, per_prompt_sums
from rmcheck.metrics.regret.predicted_regret import PastOf, knowing_past
from rmcheck.metrics.rewards import Rewards
from rmcheck.metrics.serving import SERVING
from rmcheck.run.loaded import LoadedSuite, PlannedCheck
from rmcheck.run.serving import worst_drifts
from rmcheck.scoring.request import PoolSamples
from rmcheck.stats.estimate import Estimate
from rmcheck.wording import apart


@dataclass(frozen=True)
class Judged:
    """A check that could be measured.

    Attributes:
        planned: The check.
        measurement: Of what the criterion is put to: the metric, or the drop.
        candidate: The candidate's own estimate.
        baseline: The baseline's own estimate, where there is one.
        conditions: The slice that it was measured on; where one slice is chosen, that one.
    """

    planned: PlannedCheck
    measurement: Measurement
    candidate: Estimate
    baseline: Estimate | None
    conditions: Mapping[str, str]


@dataclass(frozen=True)
class _Part:
    """What must be measured for one check on one slice."""

    conditions: Mapping[str, str]
    candidate: Pending
    baseline: Pending | None
    drop: Pending | None

    def values(self) -> list[Pending]:
        """All of them, for one product with the weights."""
        return [v for v in (self.candidate, self.baseline, self.drop) if v is not None]


@dataclass(frozen=True)
class Subject:
    """A model as it is judged on a suite.

    Attributes:
        rewards: Its rewards.
        past: The past reward models that a prediction for this one may be calibrated on.
    """

    rewards: Rewards
    past: PastOf


def judge(
    loaded: LoadedSuite,
    candidate: Subject,
    baseline: Subject | RmcheckError | None,
    repeated: Callable[[Measurement], Measurement] | None = None,
) -> dict[tuple[str, str], Judged | RmcheckError]:
    """Measure every check of a suite; one that cannot be measured does not stop the others.

    Args:
        loaded: The suite.
        candidate: The model under test.
        baseline: What it is compared with, if anything, or why there are no rewards of it.
        repeated: Widens the bounds of what is measured more than once while scores come in.
    """
    parts: dict[tuple[str, str], list[_Part]] = {}
    found: dict[tuple[str, str], Judged | RmcheckError] = {}
    for planned in loaded.planned:
        try:
            compared = _compared(planned, baseline)
            parts[planned.key] = _parts(planned, loaded, candidate, compared)
        except RmcheckError as error:
            found[planned.key] = error
    values = [v for several in parts.values() for part in several for v in part.values()]
    measurements = measured(values)
    if repeated is not None:
        measurements = [repeated(measurement) for measurement in measurements]
    known = dict(zip(map(id, values), measurements, strict=True))
    for planned in loaded.planned:
        if planned.key in parts:
            found[planned.key] = _judged(planned, parts[planned.key], known)
    return found


def _compared(planned: PlannedCheck, baseline: Subject | RmcheckError | None) -> Subject | None:
    """The baseline as the check meets it; a check that does not compare can do without.

    Raises:
        RmcheckError: The check compares, and there is none or its rewards could not be had.
    """
    if isinstance(baseline, Subject) or not planned.check.needs_baseline:
        return baseline if isinstance(baseline, Subject) else None
    raise baseline or BaselineError(
        f"{planned.name} compares with a baseline, and none was given.\n"
        "  Give one with --rmcheck-baseline=SCHEME:LOCATION, or set rmcheck_baseline in the ini "
        "file."
    )


def decide_all(judged: Sequence[Judged], *, checks: int | None = None) -> list[Verdict]:
    """Verdicts on all checks of a suite, corrected for one another (see `decide`)."""
    criteria = [j.planned.check.criterion for j in judged]
    return decide(criteria, [j.measurement for j in judged], checks=checks)


def _parts(
    planned: PlannedCheck, loaded: LoadedSuite, candidate: Subject, baseline: Subject | None
) -> list[_Part]:
    """One part, or one for each slice of which one is chosen."""
    check, sampling = planned.check, loaded.sampling
    if check.confidence is not None:
        sampling = replace(sampling, confidence=check.confidence)
    slices = [dict(planned.conditions)]
    if check.slice_quantile is not None and check.over is not None:
        values = loaded.slice_values(check.over, planned.conditions)
        slices = [{**planned.conditions, check.over: value} for value in values]
    return [_part(planned, sampling, candidate, baseline, where) for where in slices]


def _part(
    planned: PlannedCheck,
    sampling: Sampling,
    candidate: Subject,
    baseline: Subject | None,
    where: Mapping[str, str],
) -> _Part:
    metric = planned.check.metric
    own = _pending(metric, candidate, where, sampling)
    if baseline is None:
        return _Part(where, own, None, None)
    if not planned.check.needs_baseline:
        return _Part(where, own, _baseline_shown(metric, baseline, where, sampling), None)
    base = _pending(metric, baseline, where, sampling)
    drop = pending_drop(metric, candidate.rewards, baseline.rewards, where=where, sampling=sampling)
    return _Part(where, own, base, drop)


def _pending(
    metric: Metric, subject: Subject, where: Mapping[str, str], sampling: Sampling
) -> Pending:
    known = knowing_past(metric, where, subject.past)
    return pending(known, subject.rewards, where=where, sampling=sampling)


def _baseline_shown(
    metric: Metric, baseline: Subject, where: Mapping[str, str], sampling: Sampling
) -> Pending | None:
    """The baseline where it is only shown beside the candidate: it may have no such number."""
    try:
        return _pending(metric, baseline, where, sampling)
    except UndefinedMetricError:
        return None


def _judged(
    planned: PlannedCheck, parts: Sequence[_Part], known: Mapping[int, Measurement]
) -> Judged:
    check = planned.check
    compared = [known[id(part.drop or part.candidate)] for part in parts]
    part, measurement = parts[0], compared[0]
    if check.slice_quantile is not None and check.over is not None:
        by_slice = {p.conditions[check.over]: m for p, m in zip(parts, compared, strict=True)}
        direction = "lower" if check.needs_baseline else check.metric.direction
        value, measurement = worst_slice(by_slice, direction, check.slice_quantile)
        part = next(p for p in parts if p.conditions[check.over] == value)
    baseline = known[id(part.baseline)].estimate if part.baseline else None
    own = known[id(part.candidate)].estimate
    return Judged(planned, measurement, own, baseline, part.conditions)


def record(
    judged: Judged,
    verdict: Verdict,
    loaded: LoadedSuite,
    candidate: Rewards,
    *,
    node: str,
    path: str,
    identity: str,
) -> CheckRecord:
    """A judged check as plain facts.

    Args:
        judged: The check.
        verdict: What was decided.
        loaded: Its suite.
        candidate: Rewards of the candidate.
        node: Where pytest finds the check.
        path: The suite file as people see it.
        identity: What of models and data belongs into the signature.
    """
    check, e = judged.planned.check, judged.measurement.estimate
    suite = loaded.suite
    straddles = verdict.outcome == "inconclusive" and not e.concerns
    tolerated = straddles and suite.inconclusive == "warn"
    where = ",".join(f"{k}={v}" for k, v in judged.conditions.items())
    shows = verdict.outcome != "pass"
    served = SERVING in check.metric.columns
    return CheckRecord(
        suite=suite.name,
        name=check.name,
        node=node,
        path=path,
        line=check.line,
        metric=check.metric.name,
        settings=check.metric.settings,
        signature=_signature(judged, loaded, identity),
        slice=where,
        value=e.value,
        lower=e.lower,
        upper=e.upper,
        confidence=e.confidence,
        n=e.n,
        left_out=judged.measurement.left_out,
        constant_golden=judged.measurement.constant,
        verdict=verdict.outcome,
        gate="passed" if verdict.outcome == "pass" or tolerated else "failed",
        required=str(check.criterion),
        kind=check.criterion.kind,
        bound=check.criterion.bound,
        reason=verdict.reason,
        p_value=verdict.p_value,
        p_holm=verdict.p_holm,
        prompts_needed=verdict.units_needed,
        candidate=_estimate(judged.candidate),
        baseline=_estimate(judged.baseline) if judged.baseline else None,
        facts={**judged.measurement.facts, **_by_length(judged, loaded, candidate)},
        note=judged.measurement.note,
        concerns=e.concerns,
        mistakes=_mistakes(judged, loaded, candidate) if shows and not served else (),
        exact=judged.measurement.exact,
        drifts=_drifts(judged, loaded, candidate) if shows and served else (),
    )


def _estimate(e: Estimate) -> EstimateRecord:
    return EstimateRecord(e.value, e.lower, e.upper)


def _signature(judged: Judged, loaded: LoadedSuite, identity: str) -> str:
    sampling = loaded.sampling
    return (
        f"{measured_as(judged.planned.check.metric, judged.conditions)}"
        f"|confidence:{judged.measurement.estimate.confidence:g}"
        f"|resamples:{sampling.resamples}|seed:{sampling.seed}|{identity}|v:{rmcheck.__version__}"
    )


def measured_as(metric: Metric, conditions: Mapping[str, str]) -> str:
    """The part of a signature that says what was measured, whatever the model and the data."""
    return metric.signature + "".join(f"|{k}:{v}" for k, v in conditions.items())


def _by_length(judged: Judged, loaded: LoadedSuite, candidate: Rewards) -> dict[str, float]:
    """What the metric gives when the longer answer always wins: the shortcut to beat."""
    metric = judged.planned.check.metric
    if not metric.scale_free:
        return {}
    longest = replace(
        candidate,
        proxy=loaded.lengths[loaded.is_labelled],
        scored=loaded.rewards(loaded.lengths, loaded.lengths).scored,
    )
    mask = longest.matching(judged.conditions)
    try:
        fitted = metric.fitted(longest).localised(longest, mask)
        sums, _ = per_prompt_sums(fitted, longest)
    except UndefinedMetricError:
        return {}
    value = float(fitted.value(sums[mask].sum(axis=0)))
    return {"longer_is_better": value} if math.isfinite(value) else {}


def _mistakes(judged: Judged, loaded: LoadedSuite, candidate: Rewards) -> tuple[MistakeRecord, ...]:
    found = []
    for m in worst_mistakes(candidate, candidate.matching(judged.conditions)):
        prompt = loaded.pool.prompts[m.row]
        asked = next((t.content for t in reversed(prompt.messages) if t.role == "user"), "")
        responses = apart(prompt.responses[m.picked], prompt.responses[m.better], EXCERPT // 3)
        texts = (asked, *responses)
        shown = (_excerpt(text) for text in texts)
        found.append(MistakeRecord(prompt.prompt_id, m.golden_loss, m.margin, *shown))
    return tuple(found)


def _drifts(judged: Judged, loaded: LoadedSuite, candidate: Rewards) -> tuple[DriftRecord, ...]:
    rows = np.repeat(candidate.matching(judged.conditions), candidate.counts)
    other = candidate.columns[SERVING]
    samples = PoolSamples(loaded.pool)
    return worst_drifts(samples, candidate.proxy, other, np.flatnonzero(rows))


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"


def shown(path: Path, root: Path) -> str:
    """A path as people see it: relative to the root where it lies below it."""
    absolute = path.absolute()
    return str(absolute.relative_to(root)) if absolute.is_relative_to(root) else str(path)
