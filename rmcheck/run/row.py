"""One prompt of a suite as a check sees it: its responses, the pick, and what it adds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rmcheck.checks.measurement import slice_sums
from rmcheck.errors import UsageError, near_miss
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.probes.edits import edits_of, questions_of
from rmcheck.probes.effect import ProbeEffect
from rmcheck.run.loaded import LoadedSuite, PlannedCheck

if TYPE_CHECKING:
    from rmcheck.run.runner import Runner


@dataclass(frozen=True)
class AnswerRow:
    """A response to the prompt.

    Attributes:
        text: The response.
        numbers: Golden, the candidate's reward, and others by name, as far as they are known.
        edited: The text that a probe made of it, and whose reward is `edited`; empty for none.
    """

    text: str
    numbers: Mapping[str, float]
    edited: str = ""


@dataclass(frozen=True)
class Share:
    """What a prompt adds to a check.

    Attributes:
        counts: Whether the check measures it.
        alone: The metric on this prompt alone; NaN where it is undefined.
        whole: On all prompts of the check.
        without: On all but this one.
    """

    counts: bool
    alone: float
    whole: float
    without: float


@dataclass(frozen=True)
class PromptRow:
    """A prompt, and what it is to a check.

    Attributes:
        prompt_id: Its name.
        question: The last turn of the user.
        slices: Slice column to value.
        answers: Its responses, in the order of the pool.
        picked: Position of the response with the highest reward, the first of equals.
        best: Position of the one with the highest golden reward.
        share: What it adds to the check.
    """

    prompt_id: str
    question: str
    slices: Mapping[str, str]
    answers: tuple[AnswerRow, ...]
    picked: int
    best: int
    share: Share


def row_of(
    runner: "Runner", loaded: LoadedSuite, check: PlannedCheck, prompt_id: str, *, baseline: bool
) -> PromptRow:
    """A prompt as a check of a suite sees it.

    Args:
        runner: Has the models.
        loaded: The suite.
        check: One of its checks.
        prompt_id: Name of the prompt.
        baseline: Whether the rewards of the baseline are wanted too.

    Raises:
        UsageError: There is no such prompt.
        ModelError, StoreError: The scores could not be had.
    """
    metric = check.check.measured
    effect = metric if isinstance(metric, ProbeEffect) else None

    def rewards_of(role: str) -> Rewards:
        return runner.probed(loaded, effect, role) if effect else runner.rewards(loaded, role)

    rewards = rewards_of("candidate")
    names = rewards.prompt_ids.tolist()
    if prompt_id not in names:
        hint = near_miss(prompt_id, names)
        raise UsageError(f"no prompt {prompt_id!r} among the {len(names)} of this check.{hint}")
    row = names.index(prompt_id)
    place = slice(rewards.offsets[row], rewards.offsets[row + 1])
    known = {"golden": rewards.golden[place], "reward": rewards.proxy[place]}
    if baseline:
        known["baseline"] = rewards_of("baseline").proxy[place]
    question, texts, made = _texts(effect, loaded, row)
    if effect and made:
        known["edited"] = rewards.columns[effect.edited_column][place]
    answers = tuple(
        AnswerRow(text, {name: float(values[i]) for name, values in known.items()}, made.get(i, ""))
        for i, text in enumerate(texts)
    )
    slices = {name: str(values[row]) for name, values in rewards.slices.items() if values[row]}
    picked, best = (int(np.argmax(known[name])) for name in ("reward", "golden"))
    return PromptRow(
        prompt_id, question, slices, answers, picked, best, _share(check, rewards, row)
    )


def _texts(
    effect: ProbeEffect | None, loaded: LoadedSuite, row: int
) -> tuple[str, tuple[str, ...], dict[int, str]]:
    """The question of a prompt, its answers, and the texts that a probe made of them."""
    if effect is not None and effect.probe.asks:
        honest, bad = list(questions_of(effect.probe))[row]
        return honest.messages[-1].content, (honest.response, bad.response), {}
    prompt = loaded.pool.prompts[row]
    made: dict[int, str] = {}
    for edit in edits_of(effect, [prompt]) if effect else ():
        if effect and edit.column == effect.edited_column:
            made |= dict.fromkeys(edit.responses, edit.sample.response)
    return prompt.question, prompt.responses, made


def _share(check: PlannedCheck, rewards: Rewards, row: int) -> Share:
    """What the prompt adds to the value of the check."""
    mask = rewards.matching(check.conditions)
    fitted, sums, measured = slice_sums(check.check.measured, rewards, mask)
    kept = mask & measured
    kept[kept] = fitted.compared(sums[kept])
    total: Floats = sums[kept].sum(axis=0)
    own = sums[row] if kept[row] else np.zeros_like(total)
    return Share(
        counts=bool(kept[row]),
        alone=float(fitted.value(own)),
        whole=float(fitted.value(total)),
        without=float(fitted.value(total - own)),
    )
