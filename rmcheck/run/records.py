"""A run as plain facts: its checks, and its suites with their pools and models."""

import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

import rmcheck
from rmcheck.checks.measurement import Sampling, measure, slice_sums
from rmcheck.checks.mistakes import worst_drifts, worst_mistakes
from rmcheck.checks.record import (
    EXCERPT,
    CheckRecord,
    DriftRecord,
    EstimateRecord,
    MistakeRecord,
    ModelRecord,
    PoolRecord,
    SuiteRecord,
)
from rmcheck.errors import UndefinedMetricError
from rmcheck.hub import commits_in
from rmcheck.metrics.components import component_column
from rmcheck.metrics.ensemble import DISAGREEMENT, DisagreementRatio
from rmcheck.metrics.length_bias import LENGTH
from rmcheck.metrics.rewards import Rewards
from rmcheck.metrics.serving import SERVING
from rmcheck.models.model import RewardModel
from rmcheck.pool.faults import fault_counts
from rmcheck.probes.effect import ProbeEffect
from rmcheck.probes.worst import worst_edits
from rmcheck.run.causes import causes
from rmcheck.run.components import component_records, redundant
from rmcheck.run.decide import Decided
from rmcheck.run.fill import Filled
from rmcheck.run.find import Finding, measured_as
from rmcheck.run.loaded import LoadedSuite
from rmcheck.run.plan import PlannedSuite, golden_source
from rmcheck.scoring.request import PoolSamples
from rmcheck.stats.estimate import Estimate
from rmcheck.wording import apart, excerpt, shown

# Where rewards keep those of a model that likes the longer answer.
_LONGEST = "longest"

# -- checks ---------------------------------------------------------------------------------------


def check_record(
    decided: Decided, planned: PlannedSuite, filled: Filled, *, node: str, path: str, identity: str
) -> CheckRecord:
    """A decided check as plain facts."""
    finding, verdict, loaded = decided.finding, decided.verdict, planned.loaded
    check, e, suite = finding.planned.check, finding.measurement.estimate, loaded.suite
    reading = filled.reading(planned, "candidate")
    candidate = reading.on(check)
    explained = not isinstance(check.metric, ProbeEffect) and not check.view
    straddles = verdict.outcome == "inconclusive" and not (e.concerns or finding.measurement.flat)
    tolerated = straddles and suite.inconclusive == "warn"
    shows = verdict.outcome != "pass"
    served = SERVING in check.metric.columns
    return CheckRecord(
        suite=suite.name,
        name=check.name,
        node=node,
        path=path,
        line=check.line,
        metric=check.metric.name,
        settings=check.measured.settings | check.view.named,
        signature=_signature(finding, loaded, identity),
        slice=",".join(f"{k}={v}" for k, v in finding.conditions.items()),
        value=e.value,
        lower=e.lower,
        upper=e.upper,
        confidence=e.confidence,
        n=e.n,
        left_out=finding.measurement.left_out,
        constant_golden=finding.measurement.constant,
        verdict=verdict.outcome,
        gate="passed" if verdict.outcome == "pass" or tolerated else "failed",
        required=str(check.criterion),
        kind=check.criterion.kind,
        bound=check.criterion.bound,
        reason=verdict.reason,
        p_value=verdict.p_value,
        p_holm=verdict.p_holm,
        prompts_needed=verdict.units_needed,
        candidate=_estimate(finding.candidate),
        baseline=_estimate(finding.baseline) if finding.baseline else None,
        facts={**finding.measurement.facts, **_by_length(finding, loaded, candidate)},
        note=finding.measurement.note,
        concerns=e.concerns,
        mistakes=_mistakes(finding, loaded, reading.rewards, candidate)
        if shows and not served
        else (),
        exact=finding.measurement.exact,
        drifts=_drifts(finding, loaded, candidate) if shows and served else (),
        causes=causes(planned, filled, finding.conditions)
        if shows and explained and not served
        else (),
    )


def _estimate(e: Estimate) -> EstimateRecord:
    return EstimateRecord(e.value, e.lower, e.upper)


def _signature(finding: Finding, loaded: LoadedSuite, identity: str) -> str:
    sampling = loaded.sampling
    return (
        f"{measured_as(finding.planned.check.measured, finding.conditions)}"
        f"{finding.planned.check.view}"
        f"|confidence:{finding.measurement.estimate.confidence:g}"
        f"|resamples:{sampling.resamples}|seed:{sampling.seed}|{identity}|v:{rmcheck.__version__}"
    )


def _by_length(finding: Finding, loaded: LoadedSuite, candidate: Rewards) -> dict[str, float]:
    """What the metric gives when the longer answer always wins: the shortcut to beat."""
    metric = finding.planned.check.measured
    if not metric.scale_free:
        return {}
    longest = candidate.memo.get(_LONGEST) or replace(
        candidate,
        proxy=candidate.columns[LENGTH],
        scored=candidate.scored and loaded.rewards(loaded.lengths, loaded.lengths).scored,
    )
    candidate.memo[_LONGEST] = longest  # serves every check
    mask = longest.matching(finding.conditions)
    try:
        fitted, sums, _ = slice_sums(metric, longest, mask)
    except UndefinedMetricError:
        return {}
    value = float(fitted.value(sums[mask].sum(axis=0)))
    return {"longer_is_better": value} if math.isfinite(value) else {}


def _mistakes(
    finding: Finding, loaded: LoadedSuite, whole: Rewards, candidate: Rewards
) -> tuple[MistakeRecord, ...]:
    check = finding.planned.check
    metric, mask = check.metric, candidate.matching(finding.conditions)
    if isinstance(metric, ProbeEffect):
        return worst_edits(metric, candidate, mask, loaded.pool.prompts)
    places, found = check.view.places(whole), []
    for m in worst_mistakes(candidate, mask):
        prompt = loaded.pool.prompts[m.row]
        picked, better = (
            int(places[candidate.offsets[m.row] + at] - whole.offsets[m.row])
            for at in (m.picked, m.better)
        )
        responses = apart(prompt.responses[picked], prompt.responses[better], EXCERPT // 3)
        texts = (excerpt(text, EXCERPT) for text in (prompt.question, *responses))
        found.append(MistakeRecord(prompt.prompt_id, m.golden_loss, m.margin, *texts))
    return tuple(found)


def _drifts(finding: Finding, loaded: LoadedSuite, candidate: Rewards) -> tuple[DriftRecord, ...]:
    rows = np.repeat(candidate.matching(finding.conditions), candidate.counts)
    other = candidate.columns[SERVING]
    samples = PoolSamples(loaded.pool)
    return worst_drifts(samples, candidate.proxy, other, np.flatnonzero(rows))


# -- suites ---------------------------------------------------------------------------------------


def suite_record(suite: PlannedSuite, seen: LoadedSuite, filled: Filled, root: Path) -> SuiteRecord:
    """A suite with its pool and its models as plain facts."""
    loaded = suite.loaded
    return SuiteRecord(
        name=loaded.suite.name,
        path=shown(loaded.suite.path, root),
        golden=golden_source(loaded),
        pool=_pool_record(loaded, root),
        models=tuple(
            record
            for role in suite.models
            for record in _model_records(suite.on(seen), role, filled)
        ),
        resamples=loaded.sampling.resamples,
        seed=loaded.sampling.seed,
        lineage=loaded.suite.lineage or "",
    )


def _pool_record(loaded: LoadedSuite, root: Path) -> PoolRecord:
    pool = loaded.pool
    return PoolRecord(
        path=shown(pool.path, root),
        format=pool.format,
        fingerprint=loaded.fingerprint,
        rows_read=pool.rows_read,
        prompts=len(pool.prompts),
        responses=len(loaded.samples),
        units=loaded.units,
        faults={
            str(kind): {str(a): n for a, n in c.items()} for kind, c in fault_counts(pool).items()
        },
    )


def _model_records(suite: PlannedSuite, role: str, filled: Filled) -> Iterator[ModelRecord]:
    """The model, with what its rewards on this suite showed, and the members of an ensemble."""
    model = suite.models[role]
    record = _model_record(role, model, filled)
    remarks, parts = {}, []
    if reading := filled.known(suite, role):
        remarks = ensemble_remarks(reading.rewards, suite.loaded.sampling)
        parts = component_records(model.components, suite.loaded, reading.rewards)
        warning = "; ".join(filter(None, [reading.warning, *redundant(parts)]))
        remarks |= {"warning": warning} if warning else {}
        remarks |= {component_column(part.name): str(part) for part in parts}
    description = {**record.description, **remarks}
    yield replace(record, description=description, components=tuple(parts))
    if model.is_ensemble:
        for member in model.members:
            yield _model_record(f"{role} member", member, filled)


def _model_record(role: str, model: RewardModel, filled: Filled) -> ModelRecord:
    kept = filled.provenance(model)
    report = filled.reports.get(model.fingerprint)
    # What was scored before may have been elsewhere.
    is_of_this_run = report and report.scored + report.looked_up
    told = kept.description if is_of_this_run else model.description or kept.description
    return ModelRecord(
        role=role,
        spec=model.spec,
        name=model.name,
        fingerprint=model.fingerprint,
        description=dict(told or {})
        | ({"hub": commits} if (commits := commits_in(model.spec)) else {}),
        conformance=tuple(asdict(item) for item in kept.conformance),
        scoring=asdict(report) if report else {},
    )


def ensemble_remarks(rewards: Rewards, sampling: Sampling) -> dict[str, str]:
    """One sentence under `disagreement` for rewards of an ensemble; nothing for other rewards.

    It says whether the members agree where the optimiser goes: best-of-n is taken at the median
    number of responses, which half of the prompts have.
    """
    several = rewards.counts[rewards.counts >= 2]
    if DISAGREEMENT not in rewards.columns or not several.size:
        return {}
    n = int(np.median(several))
    try:
        found = measure(DisagreementRatio(n=n), rewards, sampling=sampling)
    except UndefinedMetricError as error:
        return {DISAGREEMENT: str(error)}
    e = found.estimate
    sentence = (
        f"members disagree {e.value:.2f} times [{e.lower:.2f}, {e.upper:.2f}] as much on "
        f"best-of-{n} choices as on all responses"
    )
    error_correlation = found.facts.get("error_correlation")
    if error_correlation is not None:
        sentence += f"; correlation of disagreement with the error {error_correlation:.2f}"
    return {DISAGREEMENT: sentence}
