"""Searches for the edit that raises the rewards of bad answers most.

Greedy: the template that raises them most is applied, then the one that does so on top of it, and
so on. Which it is, is decided by successive halving: all candidates on a few prompts, the better
ones on more. What the chosen edit does is measured on prompts that no choice was made on.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rmcheck.metrics.rewards import Floats
from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Prompt
from rmcheck.probes.probe import Probe
from rmcheck.probes.templates import filled, uses

# (E,) rewards of texts.
Score = Callable[[Sequence[Sample]], Floats]
# Edits applied one on top of the other at most; prompts of the first round of a choice, and by how
# many times more in each further round, with a share of the candidates as small.
DEPTH, FIRST, FACTOR = 3, 4, 3
# Share of the budget, and of the prompts, kept for the measurement at the end.
HELD_OUT = 0.3


@dataclass(frozen=True, slots=True)
class Step:
    """One edit: the probe that it is from, and its template."""

    probe: str
    template: str


@dataclass(frozen=True, slots=True)
class BadAnswer:
    """A response that golden ranks lowest in its prompt.

    Attributes:
        row: Position of the prompt in the pool.
        at: Position of the response in it.
        prompt: The prompt.
        golden: Its golden reward, for fakes that repeat it.
    """

    row: int
    at: int
    prompt: Prompt
    golden: float

    def edited(self, steps: Iterable[Step]) -> str:
        """Its text with edits applied one on top of the other."""
        text = self.prompt.responses[self.at]
        for step in steps:
            text = filled(step.template, {"response": text, "prompt": self.prompt.question})
        return text

    def sample(self, text: str) -> Sample:
        """A text in its place."""
        name = f"{self.prompt.prompt_id} + search"
        return Sample(name, self.at, self.prompt.messages, text, golden=self.golden)


@dataclass(frozen=True)
class WorstEdit:
    """The worst edit that a search has found.

    Attributes:
        steps: Applied one on top of the other; empty where no edit raised the rewards.
        held_out: Bad answers of prompts that no choice was made on, of which it is to be measured.
        scored: Texts that the search has asked for.
    """

    steps: tuple[Step, ...]
    held_out: tuple[BadAnswer, ...]
    scored: int


def candidates(probes: Mapping[str, Probe], rare: Iterable[str]) -> list[Step]:
    """Every template that adds to a response and must not raise its reward, and rare tokens."""
    shipped = [
        Step(probe.name, template)
        for probe in probes.values()
        if probe.must == "not_raise"
        for template in probe.edits
        if uses(template, "response")
    ]
    return [*shipped, *(Step("rare-tokens", f"{{response}} {token}") for token in rare)]


def bad_answers(prompts: Sequence[Prompt], golden: Sequence[Floats]) -> list[BadAnswer]:
    """The worst response of each prompt in which golden tells responses apart."""
    return [
        BadAnswer(row, int(np.argmin(values)), prompt, float(np.min(values)))
        for row, (prompt, values) in enumerate(zip(prompts, golden, strict=True))
        if len(values) > 1 and np.ptp(values) > 0
    ]


def search(
    answers: Sequence[BadAnswer], steps: Sequence[Step], score: Score, *, budget: int, seed: int
) -> WorstEdit:
    """The edits that raise the rewards of bad answers most, at `budget` texts in all.

    Args:
        answers: Of the pool.
        steps: What may be done to them.
        score: Gives rewards.
        budget: Texts that may be scored, those of the measurement at the end among them.
        seed: Of the order of the prompts.
    """
    order = list(answers)
    random.Random(seed).shuffle(order)
    kept = max(1, int(HELD_OUT * len(order)))
    held_out, rest = order[:kept], order[kept:]
    # Each is scored after every step.
    held_out = held_out[: max(1, int(HELD_OUT * budget / DEPTH))]
    left = budget - DEPTH * len(held_out)
    chosen: tuple[Step, ...] = ()
    counted = _Counted(score)
    for depth in range(DEPTH):
        share = (left - counted.texts) // (DEPTH - depth)
        step = _best(rest, chosen, steps, counted, share)
        if step is None:
            break
        chosen = (*chosen, step)
    return WorstEdit(chosen, tuple(held_out), counted.texts)


class _Counted:
    """Counts the texts that are scored."""

    def __init__(self, score: Score) -> None:
        self._score = score
        self.texts = 0

    def means(self, answers: Sequence[BadAnswer], edits: Sequence[tuple[Step, ...]]) -> Floats:
        """(len(edits),) mean reward of the answers with each edit."""
        samples = [a.sample(a.edited(steps)) for steps in edits for a in answers]
        self.texts += len(samples)
        return np.asarray(self._score(samples).reshape(len(edits), -1).mean(axis=1))


def _best(
    answers: Sequence[BadAnswer],
    before: tuple[Step, ...],
    steps: Sequence[Step],
    counted: _Counted,
    budget: int,
) -> Step | None:
    """The step that raises the mean reward most, on top of those before; None where none does."""
    found, height, spent = list(steps), FIRST, 0
    gains = np.zeros(len(found))
    while True:
        part = answers[:height]
        cost = (len(found) + 1) * len(part)
        if not part or spent + cost > budget:
            break
        spent += cost
        means = counted.means(part, [before, *((*before, step) for step in found)])
        gains = means[1:] - means[0]
        best = np.argsort(-gains, kind="stable")[: max(1, len(found) // FACTOR)]
        found, gains = [found[i] for i in best], gains[best]
        if len(found) == 1 or len(part) == len(answers):
            break
        height *= FACTOR
    return found[0] if spent and gains[0] > 0 else None
