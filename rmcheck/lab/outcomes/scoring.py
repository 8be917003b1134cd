"""Rewards of all models on all responses of a laboratory, by the gate's own path and store."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rmcheck.lab.rl.reward import Floats
from rmcheck.models.model import RewardModel
from rmcheck.pool.pool import Pool, Prompt
from rmcheck.scoring.request import PoolSamples, Request, read_scores
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.scores import MemoryStore, ScoreStore


class Panel:
    """The models that judge responses; each is loaded once for everything it is asked at once.

    Args:
        models: Name to model; `golden` among them.
        folder: Of the store; scores that are not for keeping stay in memory.
    """

    def __init__(self, models: Mapping[str, RewardModel], folder: Path) -> None:
        self.models = dict(models)
        self._kept = ScoreStore(folder)
        self._session = MemoryStore()

    def rewards(self, pools: Sequence[Sequence[Prompt]]) -> list[dict[str, Floats]]:
        """For each pool, name of a model to its (P, N) rewards.

        Raises:
            ScoringError, ConformanceError: See `fill_requests`.
        """
        prompts = tuple(prompt for pool in pools for prompt in pool)
        everything = Pool(Path("looks"), "native", prompts)
        found: list[dict[str, Floats]] = [{} for _ in pools]
        for name, model in self.models.items():
            store = self._kept if model.kept else self._session
            request = Request(model, PoolSamples(everything))
            fill_requests([request], store)
            scores, at = read_scores(request, store).scores, 0
            for pool, rewards in zip(pools, found, strict=True):
                size = sum(len(prompt.responses) for prompt in pool)
                rewards[name] = np.asarray(scores[at : at + size]).reshape(len(pool), -1)
                at += size
        return found
