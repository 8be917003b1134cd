"""Rewards of all models on all responses of a laboratory, by the gate's own path and store."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rmcheck.lab.rl.reward import Floats
from rmcheck.models.model import RewardModel
from rmcheck.pool.pool import Pool, Prompt
from rmcheck.scoring.members import choose_store, fill_members, read_combined
from rmcheck.scoring.request import PoolSamples, Request
from rmcheck.store.scores import ScoreStore


class Panel:
    """The models that judge responses; each is loaded once for everything it is asked at once.

    Args:
        models: Name to model; `golden` among them.
        folder: Of the store; scores that are not for keeping stay in memory.
    """

    def __init__(self, models: Mapping[str, RewardModel], folder: Path) -> None:
        self.models = dict(models)
        self._store_of = choose_store(ScoreStore(folder))

    def rewards(self, pools: Sequence[Sequence[Prompt]]) -> list[dict[str, Floats]]:
        """For each pool, name of a model to its (P, N) rewards.

        Raises:
            ScoringError, ConformanceError: See `fill_members`.
        """
        prompts = tuple(prompt for pool in pools for prompt in pool)
        everything = Pool(Path("looks"), "native", prompts)
        found: list[dict[str, Floats]] = [{} for _ in pools]
        for name, model in self.models.items():
            request = Request(model, PoolSamples(everything))
            fill_members([request], self._store_of)
            scores, at = read_combined(request, self._store_of).rewards, 0
            for pool, rewards in zip(pools, found, strict=True):
                size = sum(len(prompt.responses) for prompt in pool)
                rewards[name] = np.asarray(scores[at : at + size]).reshape(len(pool), -1)
                at += size
        return found
