"""Scoring a few samples into a store, and reading them back."""

from collections.abc import Sequence
from typing import Any

from rmcheck.models.model import RewardModel, Sample, TooLong
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.request import Request, read_scores
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.scores import Store
from rmcheck.store.table import Found


def fill(
    model: RewardModel,
    samples: Sequence[Sample],
    store: Store,
    *,
    too_long: TooLong = "error",
    **options: Any,
) -> ScoringReport:
    """`fill_requests` for the samples of one request."""
    return fill_requests([Request(model, tuple(samples), too_long)], store, **options)


def scores_of(
    model: RewardModel, samples: Sequence[Sample], store: Store, *, too_long: TooLong = "error"
) -> Found:
    """`read_scores` for samples that are at hand."""
    return read_scores(Request(model, tuple(samples), too_long), store)
