"""The course of one run: its looks, judged by every model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rmcheck.lab.outcomes.scoring import Panel
from rmcheck.lab.rl.looks import RESPONSES, SUMMARY, look_folder, look_steps
from rmcheck.lab.rl.reward import Floats
from rmcheck.lab.rl.runs import RlRun
from rmcheck.pool.reading import read_pool


@dataclass(frozen=True)
class Course:
    """A run over its steps.

    Attributes:
        run: The run.
        steps: (S,) updates at each look; the first is 0, the initial policy.
        kl: (S,) mean nats from the initial policy.
        proxy: (S,) mean of what it was trained for, in standard deviations.
        tokens: (S,) mean length of a response.
        rewards: Name of a model to its (S, P) mean rewards, in its own units.
        diverged: Why the run stopped before its end; empty where it did not.
    """

    run: RlRun
    steps: tuple[int, ...]
    kl: Floats
    proxy: Floats
    tokens: Floats
    rewards: Mapping[str, Floats]
    diverged: str = ""

    def gains(self, model: str, look: int = -1) -> Floats:
        """(P,) reward of a model at a look above the initial policy's."""
        return np.asarray(self.rewards[model][look] - self.rewards[model][0])

    def gains_at(self, model: str, kl: float) -> Floats:
        """(P,) the same where KL first reaches a value, between two looks on a straight line."""
        above = np.flatnonzero(self.kl >= kl)
        if not above.size or above[0] == 0:
            return self.gains(model, 0 if above.size else -1)
        after = int(above[0])
        share = (kl - self.kl[after - 1]) / (self.kl[after] - self.kl[after - 1])
        before = self.gains(model, after - 1)
        return np.asarray(before + share * (self.gains(model, after) - before))

    def best_gains_within(self, model: str, kl: float) -> Floats:
        """(P,) gains where their mean is highest among the looks up to a KL and that KL itself."""
        options = [self.gains(model, i) for i in np.flatnonzero(self.kl <= kl).tolist()]
        options.append(self.gains_at(model, kl))
        return max(options, key=lambda gains: float(gains.mean()))


def read_courses(runs: Sequence[RlRun], panel: Panel) -> list[Course]:
    """The courses of finished and diverged runs, every response judged by every model."""
    steps = [look_steps(run.folder) for run in runs]
    folders = [look_folder(run.folder, s) for run, of in zip(runs, steps, strict=True) for s in of]
    judged = iter(panel.rewards([read_pool(folder / RESPONSES).prompts for folder in folders]))
    found = []
    for run, of in zip(runs, steps, strict=True):
        told = [json.loads((look_folder(run.folder, s) / SUMMARY).read_text("utf-8")) for s in of]
        rewards = [next(judged) for _ in of]
        kl, proxy, tokens = (np.array([t[key] for t in told]) for key in ("kl", "proxy", "tokens"))
        means = {
            name: np.stack([each[name].mean(axis=1) for each in rewards]) for name in panel.models
        }
        reason = run.status.get("reason", "")
        found.append(Course(run, tuple(of), kl, proxy, tokens, means, reason))
    return found
