"""A reward that a policy is trained on: one reward model or an ensemble, in standard units."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ScoringError
from rmcheck.lab.rl.settings import Ensemble
from rmcheck.metrics.tilting import pooled_sd
from rmcheck.models.model import RewardModel, Session
from rmcheck.models.sample import Encoded, Sample, checked_rewards
from rmcheck.pool.pool import Prompt

Floats = NDArray[np.float64]
Scoring = Callable[[Sequence[Encoded]], Floats]
# Texts that a model proves itself on, and that are scored at once.
_PROOF, _AT_ONCE = 8, 64


@dataclass(frozen=True, slots=True)
class Scale:
    """What makes one unit of a reward model a standard deviation.

    The same learning rate and KL penalty then mean the same for every reward model, golden among
    them; with raw rewards the scale of a reward model would decide how far its policy goes.

    Attributes:
        mean: Mean reward of the initial policy's responses.
        sd: Pooled standard deviation of them inside prompts.
    """

    mean: float
    sd: float

    @classmethod
    def of(cls, rewards: Floats, name: str) -> "Scale":
        """From (P, N) rewards of the initial policy's responses.

        Raises:
            ScoringError: They do not vary inside prompts: nothing can be learned from them.
        """
        sd = pooled_sd([rewards])
        if sd == 0:
            raise ScoringError(f"{name} gives all responses of a prompt one reward, in each prompt")
        return cls(float(rewards.mean()), sd)


class Reward:
    """Scores the responses of a policy in training.

    Args:
        models: One, or the members of an ensemble.
        scales: Of each.
        ensemble: How the members are combined; None for one model.
    """

    def __init__(
        self, models: Sequence[RewardModel], scales: Sequence[Scale], ensemble: Ensemble | None
    ) -> None:
        self._models = tuple(models)
        self._scales = tuple(scales)
        self._ensemble = ensemble
        self._sessions: dict[str, tuple[Session, Scoring]] = {}

    def __call__(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> Floats:
        """(B,) rewards in standard deviations; higher is better.

        Raises:
            ScoringError: A reward is missing, NaN or infinite, or a text too long.
            ConformanceError: A model failed its proof.
        """
        samples = [
            Sample(prompt.prompt_id, i, prompt.messages, text)
            for i, (prompt, text) in enumerate(zip(prompts, texts, strict=True))
        ]
        rows = np.stack(
            [
                (self._scored(model, samples) - scale.mean) / scale.sd
                for model, scale in zip(self._models, self._scales, strict=True)
            ]
        )
        return combined(rows, self._ensemble)

    def _scored(self, model: RewardModel, samples: Sequence[Sample]) -> Floats:
        if model.fingerprint not in self._sessions:
            session = model.load()
            proven = session.prove(session.encode(samples[:_PROOF]))
            self._sessions[model.fingerprint] = session, session.scoring(proven)
        session, score = self._sessions[model.fingerprint]
        encoded = session.encode(samples)
        step = min(model.largest_batch or _AT_ONCE, _AT_ONCE)
        parts = []
        for at in range(0, len(encoded), step):
            batch = encoded[at : at + step]
            parts.append(checked_rewards(score(batch), batch, model.name))
        return np.concatenate(parts)

    def close(self) -> None:
        """Release the models."""
        for session, _ in self._sessions.values():
            session.close()


def combined(rows: Floats, ensemble: Ensemble | None) -> Floats:
    """One reward from the standardised rewards of the members.

    Args:
        rows: (K, …) rewards, one row a member.
        ensemble: How; None where there is one row.
    """
    if ensemble is None:
        return np.asarray(rows[0])
    if ensemble.combine == "worst":
        return np.asarray(rows.min(axis=0))
    mean = np.asarray(rows.mean(axis=0))
    return mean if ensemble.combine == "mean" else mean - ensemble.penalty * rows.var(axis=0)
