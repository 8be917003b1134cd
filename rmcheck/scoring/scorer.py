"""Scoring what the store does not know, a batch at a time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TextIO

import numpy as np

from rmcheck.errors import ScoringError, UsageError
from rmcheck.models.model import Encoded, RewardModel, Sample, TooLong
from rmcheck.scoring.batches import default_budget, spread
from rmcheck.scoring.forward import Text, does_not_fit, rows_of, score_groups
from rmcheck.scoring.progress import progress_bar
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.request import Request, golden_key
from rmcheck.store.parts import CutSide
from rmcheck.store.scores import ModelScores, Store

# Samples that a model proves itself on before it counts.
PROOF_SAMPLES = 8


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
) -> ScoringReport:
    """Score whatever of the requests the store does not know, and keep it there.

    The model is loaded only if something is missing, and closed afterwards. It is proved on some
    of the samples before the first batch; the page is kept with the scores. Every batch is in the
    store before the next one starts: a run killed at any moment loses at most the batch in
    flight. Two processes never score the same text: the second waits, and then looks again.

    Args:
        requests: Of one model (one fingerprint).
        store: Where scores are looked up and kept.
        budget: Computed tokens a batch, padding included; None chooses by the model's device.
        progress: Where to draw a progress bar; None means standard error.
        release: False leaves the model loaded for whoever called.

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

    def budget_of(device: str | None) -> int:
        packed = model.shares_prefixes
        return budget or default_budget(device, durable=store.durable, packed=packed)

    if _missing(requests, scores):
        scores.check_writable()
        try:
            with scores.lock():
                scores.refresh()
                if _missing(requests, scores):
                    report = _score_missing(requests, scores, report, budget_of, progress)
        finally:
            if release:
                model.close()
    return replace(_with_cuts(report, requests, scores), seconds=time.perf_counter() - started)


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


def _with_cuts(
    report: ScoringReport, requests: Sequence[Request], scores: ModelScores
) -> ScoringReport:
    cut = {"left": 0, "right": 0, "error": 0}
    for too_long, keys in _distinct_keys(requests).items():
        cut[too_long] += int(np.count_nonzero(scores.lookup(keys, too_long).cuts))
    return replace(report, cut_left=cut["left"], cut_right=cut["right"])


def _score_missing(
    requests: Sequence[Request],
    scores: ModelScores,
    report: ScoringReport,
    budget_of: Callable[[str | None], int],
    progress: TextIO | None,
) -> ScoringReport:
    model = requests[0].model
    missing = _missing(requests, scores)
    model.load()
    texts = _encoded(model, missing)
    wanted = sum(map(len, missing.values()))
    report = replace(
        report,
        from_store=report.from_store - wanted,
        # Two modes that both leave a text whole want one score.
        duplicates=report.duplicates + wanted - len(texts),
    )
    groups = _without_stored_inputs(texts, scores)
    if groups:
        _prove(model, [group[0].encoded for group in groups])
        budget = budget_of(model.description.get("device"))  # known once it is loaded
        total = sum(group[0].encoded.length for group in groups)
        with progress_bar(model.name, total, progress) as bar:
            report = score_groups(model, groups, scores, budget, report, bar)
    scores.compact()
    return replace(report, equal_inputs=len(texts) - len(groups))


def _encoded(model: RewardModel, missing: dict[TooLong, dict[bytes, Sample]]) -> list[Text]:
    """All that is missing, as the model reads it; nothing has been scored when this raises."""
    texts: dict[tuple[bytes, CutSide], Text] = {}
    for too_long, wanted in missing.items():
        encoded = model.encode(list(wanted.values()), too_long)
        if len(encoded) != len(wanted):
            raise ScoringError(f"{model.spec}: {len(wanted)} samples, but {len(encoded)} encoded")
        for key, item in zip(wanted, encoded, strict=True):
            if item.cut and too_long == "error":
                raise ScoringError(
                    f"{model.spec}: prompt {item.sample.prompt_id!r} response {item.sample.index} "
                    f"lost {item.cut} tokens without leave"
                )
            input_key = item.key
            if model.reads_golden:
                input_key = golden_key(input_key, item.sample.golden)
            side: CutSide = too_long if item.cut and too_long != "error" else ""
            texts[key, side] = Text(key, item, input_key, side)
    return list(texts.values())


def _without_stored_inputs(texts: Sequence[Text], scores: ModelScores) -> list[list[Text]]:
    """Texts in groups of equal model input; inputs that have a score are stored and left out."""
    stored = scores.lookup_inputs([text.input_key for text in texts])
    known = np.flatnonzero(~np.isnan(stored)).tolist()
    if known:
        scores.append(rows_of([texts[i] for i in known], stored[known]), scores.provenance)
    groups: dict[bytes, list[Text]] = {}
    for i in np.flatnonzero(np.isnan(stored)).tolist():
        groups.setdefault(texts[i].input_key, []).append(texts[i])
    return list(groups.values())


def _prove(model: RewardModel, encoded: Sequence[Encoded]) -> None:
    """Let the model prove itself on samples of different lengths, fewer if they do not fit."""
    chosen = [encoded[i] for i in spread([e.length for e in encoded], PROOF_SAMPLES)]
    while True:
        try:
            return model.prove(chosen)
        except MemoryError as error:
            if len(chosen) == 1:
                raise does_not_fit(model, chosen[0], error) from error
            chosen = chosen[: len(chosen) // 2]
