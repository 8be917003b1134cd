"""Scoring what the store does not know, a batch at a time."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TextIO

import numpy as np

from rmcheck.errors import UsageError
from rmcheck.models.model import RewardModel, Sample, TooLong
from rmcheck.scoring.engine import Engine, Missing, OneProcess
from rmcheck.scoring.lookup import Lookup
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.request import Request
from rmcheck.store.scores import ModelScores, Store


def fill(
    model: RewardModel,
    samples: Sequence[Sample],
    store: Store,
    *,
    too_long: TooLong = "error",
    budget: int | None = None,
    progress: TextIO | None = None,
) -> ScoringReport:
    """`fill_requests` for the samples of one request.

    Raises:
        ScoringError, ConformanceError, StoreError: See `fill_requests`.
    """
    request = Request(model, tuple(samples), too_long)
    return fill_requests([request], store, budget=budget, progress=progress)


def fill_requests(
    requests: Sequence[Request],
    store: Store,
    *,
    budget: int | None = None,
    progress: TextIO | None = None,
    release: bool = True,
    engine: Engine | None = None,
) -> ScoringReport:
    """Score whatever of the requests the store does not know, and keep it there.

    The model is loaded only if something is missing, and closed afterwards. It is proved on some
    of the samples before the first batch; the page is kept with the scores. Every batch is stored
    as soon as it is scored: a run killed at any moment loses at most the batches in flight. Two
    processes never score the same text: the second waits, and then looks again.

    Args:
        requests: Of one model (one fingerprint).
        store: Where scores are looked up and kept.
        budget: Computed tokens a batch, padding included; None chooses by the model's device.
        progress: Where to draw a progress bar; None means standard error.
        release: False leaves the model loaded for whoever called.
        engine: What scores; None is this process.

    Raises:
        ScoringError: A conversation is too long (before any forward pass), or a reward is NaN,
            infinite or missing; the batches before it are kept.
        ConformanceError: The model failed its proof.
        StoreError: The store cannot be read, or (before the model is loaded) not be written.
        UsageError: The model's scores must not outlive the session and this store does.
    """
    started = time.perf_counter()
    model = requests[0].model
    if store.durable and not model.kept:
        raise UsageError(
            f"{model.name}: its scores are not for keeping; use a store of the session"
        )
    scores = store.open(model.fingerprint)
    report = _counted(requests)

    if _missing(requests, scores):
        scores.check_writable()
        try:
            with scores.lock():
                scores.refresh()
                if missing := _missing(requests, scores):
                    done = (engine or engine_here(model)).score(
                        model, missing, store, budget=budget, progress=progress
                    )
                    report = _with_scored(report, missing, done)
        finally:
            if release:
                model.close()
    return replace(_with_cuts(report, requests, scores), seconds=time.perf_counter() - started)


def engine_here(model: RewardModel) -> Engine:
    """What scores a model in this process."""
    return Lookup() if model.precomputed else OneProcess()


def _counted(requests: Sequence[Request]) -> ScoringReport:
    """A report of which nothing is done yet: every text is expected in the store."""
    requested = sum(len(request.samples) for request in requests)
    distinct = sum(len(keys) for keys in _distinct_keys(requests).values())
    spec = requests[0].model.spec
    return ScoringReport(spec, requested, duplicates=requested - distinct, from_store=distinct)


def _distinct_keys(requests: Sequence[Request]) -> dict[TooLong, list[bytes]]:
    keys: dict[TooLong, dict[bytes, None]] = {}
    for request in requests:
        keys.setdefault(request.too_long, {}).update(dict.fromkeys(request.keys))
    return {too_long: list(texts) for too_long, texts in keys.items()}


def _missing(
    requests: Sequence[Request], scores: ModelScores
) -> dict[TooLong, dict[bytes, Sample]]:
    """Texts without a score, once each."""
    missing: dict[TooLong, dict[bytes, Sample]] = {}
    for request in requests:
        found = scores.lookup(request.keys, request.too_long)
        for i in np.flatnonzero(found.missing).tolist():
            texts = missing.setdefault(request.too_long, {})
            texts.setdefault(request.keys[i], request.samples[i])
    return missing


def _with_scored(report: ScoringReport, missing: Missing, done: ScoringReport) -> ScoringReport:
    wanted = sum(map(len, missing.values()))
    return replace(
        done,
        requested=report.requested,
        from_store=report.from_store - wanted,
        duplicates=report.duplicates + done.duplicates,
    )


def _with_cuts(
    report: ScoringReport, requests: Sequence[Request], scores: ModelScores
) -> ScoringReport:
    cut = {"left": 0, "right": 0, "error": 0}
    for too_long, keys in _distinct_keys(requests).items():
        cut[too_long] += int(np.count_nonzero(scores.lookup(keys, too_long).cuts))
    return replace(report, cut_left=cut["left"], cut_right=cut["right"])
