"""Rewards that were computed elsewhere: read at once, with no batches and no parts on disk."""

import time
from collections.abc import Sequence

import numpy as np

from rmcheck.scoring.engine import Engine
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.request import Request
from rmcheck.store.parts import Provenance, ScoreRows
from rmcheck.store.scores import Store


def look_up(requests: Sequence[Request], store: Store, engine: Engine) -> ScoringReport:
    """`fill_requests` for a `precomputed` model; nothing is cut, whatever `too_long` says."""
    started, model = time.perf_counter(), requests[0].model
    scores = store.open(model.fingerprint)
    before, missing = len(scores), [scores.lookup(r.keys).missing for r in requests]
    unknown = int(sum(mask.sum() for mask in missing))
    for request, mask in zip(requests, missing, strict=True):
        if not mask.any():
            continue
        session = engine.session(model)
        keys, none = request.keys[mask], np.zeros(mask.sum(), dtype=np.int32)
        rewards = session.look_up(request.named.part(mask))
        rows = ScoreRows(keys, keys, rewards, none, none, [""] * len(keys))
        scores.append(rows, Provenance.of(session, session.prove(())))
    looked_up = len(scores) - before
    return ScoringReport(
        model.spec,
        sum(map(len, missing)),
        duplicates=unknown - looked_up,
        from_store=sum(map(len, missing)) - unknown,
        looked_up=looked_up,
        seconds=time.perf_counter() - started,
    )
