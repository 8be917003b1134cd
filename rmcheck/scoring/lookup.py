"""Rewards that were computed elsewhere: read at once, with no batches and no parts on disk."""

from typing import TextIO

import numpy as np

from rmcheck.models.model import RewardModel
from rmcheck.pool.keys import as_keys
from rmcheck.scoring.engine import Missing
from rmcheck.scoring.report import ScoringReport
from rmcheck.store.parts import Provenance, ScoreRows
from rmcheck.store.scores import Store


class Lookup:
    """The engine of `precomputed` models."""

    def score(
        self,
        model: RewardModel,
        missing: Missing,
        store: Store,
        *,
        budget: int | None,
        progress: TextIO | None,
    ) -> ScoringReport:
        """See `Engine`; nothing is cut, so that `too_long` makes no difference."""
        model.load()
        rows = {key: sample for wanted in missing.values() for key, sample in wanted.items()}
        keys = as_keys(list(rows))
        rewards = model.score(model.encode(list(rows.values())))
        none = np.zeros(len(keys), dtype=np.int32)
        store.open(model.fingerprint).append(
            ScoreRows(keys, keys, rewards, none, none, [""] * len(keys)), Provenance.of(model)
        )
        duplicates = sum(map(len, missing.values())) - len(keys)
        return ScoringReport(model.spec, duplicates=duplicates, looked_up=len(keys))
