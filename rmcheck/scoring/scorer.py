"""Scoring what the store does not know, a batch at a time."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UsageError
from rmcheck.models.sample import Sample, TooLong
from rmcheck.pool.keys import KeyRows, Keys
from rmcheck.scoring.engine import Engine, Missing
from rmcheck.scoring.lookup import look_up
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.request import Request
from rmcheck.store.scores import ModelScores, Store
from rmcheck.store.table import Found


def fill_requests(
    requests: Sequence[Request],
    store: Store,
    *,
    budget: int | None = None,
    progress: TextIO | None = None,
    engine: Engine | None = None,
) -> ScoringReport:
    """Score whatever of the requests the store does not know, and keep it there.

    The model is loaded only if something is missing. It is proved on some of the samples before
    the first batch; the page is kept with the scores. Every batch is stored
    as soon as it is scored: a run killed at any moment loses at most the batches in flight. Two
    processes never score the same text: the second waits, and then looks again.

    Args:
        requests: Of one model (one fingerprint).
        store: Where scores are looked up and kept.
        budget: Computed tokens a batch, padding included; None chooses by the model's device.
        progress: Where to draw a progress bar; None means standard error.
        engine: What scores, which its owner closes; None loads the model here for this call.

    Raises:
        ScoringError: A conversation is too long (before any forward pass), or a reward is NaN,
            infinite or missing; the batches before it are kept.
        ConformanceError: The model failed its proof.
        StoreError: The store cannot be read, or (before the model is loaded) not be written.
        UsageError: The model's scores must not outlive the session and this store does.
    """
    started = time.perf_counter()
    model = requests[0].model
    if model.precomputed:
        with _used(engine) as used:
            return look_up(requests, store, used)
    if store.durable and not model.kept:
        raise UsageError(
            f"{model.name}: its scores are not for keeping; use a store of the session"
        )
    scores = store.open(model.fingerprint)
    wanted = _wanted(requests)
    found = [one.found(scores) for one in wanted]
    report = _counted(requests, wanted)
    if any(one.missing.any() for one in found):
        scores.check_writable()
        with scores.lock():
            scores.refresh()
            found = [one.found(scores) for one in wanted]
            missing = {
                one.too_long: samples
                for one, known in zip(wanted, found, strict=True)
                if (samples := one.samples(known.missing))
            }
            if missing:
                with _used(engine) as used:
                    done = used.score(model, missing, store, budget=budget, progress=progress)
                report = _with_scored(report, missing, done)
                found = [one.found(scores) for one in wanted]
    cuts = {
        one.too_long: int(np.count_nonzero(known.cuts))
        for one, known in zip(wanted, found, strict=True)
    }
    return replace(
        report,
        cut_left=cuts.get("left", 0),
        cut_right=cuts.get("right", 0),
        seconds=time.perf_counter() - started,
    )


def _used(engine: Engine | None) -> AbstractContextManager[Engine]:
    """The caller's, which stays as it is, or one for a call."""
    if engine is not None:
        return nullcontext(engine)
    from rmcheck.scoring.one_process import OneProcess  # not needed where all scores are known

    return OneProcess()


@dataclass(frozen=True, eq=False)
class _Wanted:
    """The different texts that requests want in one mode of cutting.

    Attributes:
        keys: (n,) of the texts, once each, in the order in which they are first asked for.
        first: (n,) where they are first asked for, counted over the samples of all requests.
    """

    too_long: TooLong
    requests: Sequence[Request]
    keys: Keys
    first: NDArray[np.int64]

    def found(self, scores: ModelScores) -> Found:
        """What is stored of them."""
        return scores.lookup(self.keys, self.too_long)

    def samples(self, chosen: NDArray[np.bool_]) -> dict[bytes, Sample]:
        """Key to sample of some of the (n,) texts."""
        places = self.first[chosen]
        starts = np.cumsum([0, *(len(request.samples) for request in self.requests)])
        owners = np.searchsorted(starts, places, side="right") - 1
        samples = (
            self.requests[owner].needed[place]
            for owner, place in zip(
                owners.tolist(), (places - starts[owners]).tolist(), strict=True
            )
        )
        return dict(zip(self.keys[chosen].tolist(), samples, strict=True))


def _wanted(requests: Sequence[Request]) -> list[_Wanted]:
    """Every text once in each mode that it is wanted in."""
    modes: dict[TooLong, list[Request]] = {}
    for request in requests:
        modes.setdefault(request.too_long, []).append(request)
    found = []
    for too_long, mine in modes.items():
        keys = np.concatenate([request.keys for request in mine])
        different = KeyRows()
        different.add(keys, np.arange(len(keys)))
        first = different.rows
        found.append(_Wanted(too_long, mine, keys[first], first))
    return found


def _counted(requests: Sequence[Request], wanted: Sequence[_Wanted]) -> ScoringReport:
    """A report of which nothing is done yet: every text is expected in the store."""
    requested = sum(len(request.samples) for request in requests)
    distinct = sum(len(one.keys) for one in wanted)
    spec = requests[0].model.spec
    return ScoringReport(spec, requested, duplicates=requested - distinct, from_store=distinct)


def _with_scored(report: ScoringReport, missing: Missing, done: ScoringReport) -> ScoringReport:
    wanted = sum(map(len, missing.values()))
    return replace(
        done,
        requested=report.requested,
        from_store=report.from_store - wanted,
        duplicates=report.duplicates + done.duplicates,
    )
