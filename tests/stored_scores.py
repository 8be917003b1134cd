"""Scoring a few samples into a store, and reading them back, with a model that is loaded or not."""

from collections.abc import Sequence
from typing import Any

from rmcheck.models.model import ReadyModel, RewardModel, Sample, Session, TooLong
from rmcheck.scoring.one_process import OneProcess
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.request import Request, read_scores
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.scores import Store
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


def _request(model: RewardModel | Session, samples: Sequence[Sample], too_long: TooLong) -> Request:
    opened = model.model if isinstance(model, Session) else model
    return Request(opened, tuple(samples), too_long)
