"""What a suite was judged with, as the report names it."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from rmcheck.checks.record import ModelRecord, PoolRecord, SuiteRecord
from rmcheck.models.model import RewardModel
from rmcheck.pool.faults import fault_counts
from rmcheck.run.disagreement import ensemble_remarks
from rmcheck.run.judge import shown
from rmcheck.run.loaded import LoadedSuite
from rmcheck.run.scores import Scores
from rmcheck.run.subjects import Subjects, golden_source


def suite_record(
    loaded: LoadedSuite, seen: LoadedSuite, subjects: Subjects, scores: Scores, root: Path
) -> SuiteRecord:
    """A suite with its pool and its models as plain facts.

    Args:
        loaded: The suite.
        seen: The part of it that its checks were decided on; the whole unless it is adaptive.
        subjects: Candidate and baseline.
        scores: What was scored.
        root: Paths below it are shown relative to it.
    """
    models = subjects.models_of(loaded)
    serving = scores.serving.get(loaded.suite.path)
    if serving is not None:
        models["serving"] = serving
    return SuiteRecord(
        name=loaded.suite.name,
        path=shown(loaded.suite.path, root),
        golden=golden_source(loaded),
        pool=_pool_record(loaded, root),
        models=tuple(
            record
            for role, model in models.items()
            for record in _model_records(role, model, seen, subjects, scores)
        ),
        resamples=loaded.sampling.resamples,
        seed=loaded.sampling.seed,
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


def _model_records(
    role: str, model: RewardModel, seen: LoadedSuite, subjects: Subjects, scores: Scores
) -> Iterator[ModelRecord]:
    """The model, with what its rewards on this suite showed, and the members of an ensemble."""
    record = _model_record(role, model, scores)
    rewards = subjects.known(seen, role)
    remarks = ensemble_remarks(rewards, seen.sampling) if rewards else {}
    if warning := subjects.warning(seen, role):
        remarks["warning"] = warning
    yield replace(record, description={**record.description, **remarks})
    if model.members != (model,):
        for member in model.members:
            yield _model_record(f"{role} member", member, scores)


def _model_record(role: str, model: RewardModel, scores: Scores) -> ModelRecord:
    provenance = scores.provenance(model)
    report = scores.reports.get(model.fingerprint)
    return ModelRecord(
        role=role,
        spec=model.spec,
        name=model.name,
        fingerprint=model.fingerprint,
        description=dict(model.description or provenance.description or {}),
        conformance=tuple(asdict(item) for item in provenance.conformance),
        scoring=asdict(report) if report else {},
    )
