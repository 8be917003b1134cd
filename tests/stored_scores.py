"""Scoring a few samples into a store, and reading them back, with a model that is loaded or not."""

from collections.abc import Sequence
from typing import Any

from rmcheck.models.engines.asked import Floats
from rmcheck.models.model import ReadyModel, RewardModel, Session
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample, TooLong
from rmcheck.scoring.one_process import OneProcess
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.request import Request, read_scores
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.scores import MemoryStore, Store
from rmcheck.store.table import Found


def fill(
    model: RewardModel | Session,
    samples: Sequence[Sample],
    store: Store,
    *,
    too_long: TooLong = "error",
    **options: Any,
) -> ScoringReport:
    """`fill_requests` for the samples of one request; what is loaded already stays so."""
    if isinstance(model, Session) and not isinstance(model, ReadyModel):
        options["engine"] = OneProcess(model)
    return fill_requests([_request(model, samples, too_long)], store, **options)


def scores_of(
    model: RewardModel | Session,
    samples: Sequence[Sample],
    store: Store,
    *,
    too_long: TooLong = "error",
) -> Found:
    """`read_scores` for samples that are at hand."""
    return read_scores(_request(model, samples, too_long), store)


def rewards_by(spec: str, samples: Sequence[Sample]) -> Floats:
    """(n,) rewards of a model that is opened for it."""
    model, store = open_model(spec), MemoryStore()
    fill(model, samples, store)
    return scores_of(model, samples, store).scores


def _request(model: RewardModel | Session, samples: Sequence[Sample], too_long: TooLong) -> Request:
    opened = model.model if isinstance(model, Session) else model
    return Request(opened, tuple(samples), too_long)
