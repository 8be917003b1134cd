"""From the rewards of a suite to the records of its checks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import rmcheck
from rmcheck.checks.measurement import Measurement, Sampling, measure, measure_drop, slice_values
from rmcheck.checks.mistakes import worst_mistakes
from rmcheck.checks.record import CheckRecord, EstimateRecord, MistakeRecord
from rmcheck.checks.verdict import Verdict, decide
from rmcheck.checks.worst import worst_slice
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.rewards import Rewards
from rmcheck.runner.loaded import LoadedSuite, PlannedCheck
from rmcheck.stats.estimate import Estimate

EXCERPT = 300


@dataclass(frozen=True)
class Judged:
    """A check that could be measured.

    Attributes:
        planned: The check.
        measurement: Of what the criterion is put to: the metric, or the drop.
        candidate: The candidate's own estimate.
        baseline: The baseline's own estimate, where there is one.
        conditions: The slice that it was measured on; for a worst slice, the one found.
    """

    planned: PlannedCheck
    measurement: Measurement
    candidate: Estimate
    baseline: Estimate | None
    conditions: Mapping[str, str]


def judge(
    loaded: LoadedSuite, candidate: Rewards, baseline: Rewards | None
) -> dict[tuple[str, str], Judged | UndefinedMetricError]:
    """Measure every check of a suite; one that is undefined does not keep the others back."""
    found: dict[tuple[str, str], Judged | UndefinedMetricError] = {}
    for planned in loaded.planned:
        try:
            found[planned.key] = _measure(planned, loaded.sampling, candidate, baseline)
        except UndefinedMetricError as error:
            found[planned.key] = error
    return found


def decide_all(judged: Sequence[Judged]) -> list[Verdict]:
    """Verdicts on all checks of a suite, corrected for one another."""
    return decide([j.planned.criterion for j in judged], [j.measurement for j in judged])


def _measure(
    planned: PlannedCheck, sampling: Sampling, candidate: Rewards, baseline: Rewards | None
) -> Judged:
    check = planned.check
    if check.confidence is not None:
        sampling = Sampling(
            check.confidence, sampling.resamples, sampling.seed, sampling.min_prompts
        )
    conditions = dict(planned.conditions)
    if check.worst and check.over is not None:
        slices = {
            value: _compared(
                planned, sampling, candidate, baseline, {**conditions, check.over: value}
            )
            for value in slice_values(candidate, check.over, where=conditions)
        }
        direction = "lower" if check.needs_baseline else check.metric.direction
        value, measurement = worst_slice(slices, direction)
        conditions[check.over] = value
    else:
        measurement = _compared(planned, sampling, candidate, baseline, conditions)
    own = measure(check.metric, candidate, where=conditions, sampling=sampling)
    base = (
        measure(check.metric, baseline, where=conditions, sampling=sampling) if baseline else None
    )
    return Judged(planned, measurement, own.estimate, base.estimate if base else None, conditions)


def _compared(
    planned: PlannedCheck,
    sampling: Sampling,
    candidate: Rewards,
    baseline: Rewards | None,
    conditions: Mapping[str, str],
) -> Measurement:
    metric = planned.check.metric
    if not planned.check.needs_baseline:
        return measure(metric, candidate, where=conditions, sampling=sampling)
    assert baseline is not None  # the runner refused the suite otherwise
    return measure_drop(metric, candidate, baseline, where=conditions, sampling=sampling)


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
    tolerated = verdict.outcome == "inconclusive" and suite.inconclusive == "warn"
    where = ",".join(f"{k}={v}" for k, v in judged.conditions.items())
    mistakes = () if verdict.outcome == "pass" else _mistakes(judged, loaded, candidate)
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
        verdict=verdict.outcome,
        gate="passed" if verdict.outcome == "pass" or tolerated else "failed",
        required=str(judged.planned.criterion),
        kind=judged.planned.criterion.kind,
        bound=judged.planned.criterion.bound,
        reason=verdict.reason,
        p_value=verdict.p_value,
        p_holm=verdict.p_holm,
        prompts_needed=verdict.units_needed,
        candidate=_estimate(judged.candidate),
        baseline=_estimate(judged.baseline) if judged.baseline else None,
        facts={**judged.measurement.facts, **_by_length(judged, loaded, candidate)},
        note=judged.measurement.note,
        concerns=e.concerns,
        mistakes=mistakes,
    )


def _estimate(e: Estimate) -> EstimateRecord:
    return EstimateRecord(e.value, e.lower, e.upper)


def _signature(judged: Judged, loaded: LoadedSuite, identity: str) -> str:
    sampling = loaded.sampling
    where = "".join(f"|{k}:{v}" for k, v in judged.conditions.items())
    return (
        f"{judged.planned.check.metric.signature}{where}"
        f"|confidence:{judged.measurement.estimate.confidence:g}"
        f"|resamples:{sampling.resamples}|seed:{sampling.seed}|{identity}|v:{rmcheck.__version__}"
    )


def _by_length(judged: Judged, loaded: LoadedSuite, candidate: Rewards) -> dict[str, float]:
    """What the metric gives when the longer answer always wins: the shortcut to beat."""
    metric = judged.planned.check.metric
    if "proxy_monotone" not in metric.invariances:
        return {}
    longest = loaded.rewards(loaded.lengths, candidate.golden)
    sums, _ = per_prompt_sums(metric.fitted(longest), longest)
    mask = longest.matching(judged.conditions)
    return {"longer_is_better": float(metric.value(sums[mask].sum(axis=0)))}


def _mistakes(judged: Judged, loaded: LoadedSuite, candidate: Rewards) -> tuple[MistakeRecord, ...]:
    found = []
    for m in worst_mistakes(candidate, candidate.matching(judged.conditions)):
        prompt = loaded.pool.prompts[m.row]
        asked = next((t.content for t in reversed(prompt.messages) if t.role == "user"), "")
        texts = (asked, prompt.responses[m.picked], prompt.responses[m.better])
        shown = (_excerpt(text) for text in texts)
        found.append(MistakeRecord(prompt.prompt_id, m.golden_loss, m.margin, *shown))
    return tuple(found)


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"


def shown(path: Path, root: Path) -> str:
    """A path as people see it: relative to the root where it lies below it."""
    absolute = path.absolute()
    return str(absolute.relative_to(root)) if absolute.is_relative_to(root) else str(path)
