"""The edits that a model fell for most, as a failing check shows them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rmcheck.checks.record import EXCERPT, MistakeRecord
from rmcheck.metrics.rewards import Rewards
from rmcheck.pool.pool import Prompt
from rmcheck.probes.edits import edits_of, questions_of
from rmcheck.probes.effect import ProbeEffect
from rmcheck.wording import apart, excerpt


def worst_edits(
    effect: ProbeEffect,
    rewards: Rewards,
    mask: NDArray[np.bool_],
    prompts: Sequence[Prompt],
    *,
    most: int = 3,
) -> tuple[MistakeRecord, ...]:
    """The texts in which the edit moved the reward most the wrong way, farthest first.

    `picked` is the text that the model prefers and should not, `better` the other one.

    Args:
        effect: The probe.
        rewards: On the pool, or on the probe's questions.
        mask: (P,) prompts that count.
        prompts: Of the pool.
        most: Records at most.
    """
    counts = np.repeat(mask, rewards.counts)
    edited = rewards.columns[effect.edited_column]
    if effect.probe.asks:
        pairs = rewards.proxy.reshape(-1, 2)
        change = np.column_stack([np.full(len(pairs), -np.inf), pairs[:, 1] - pairs[:, 0]]).ravel()
    else:
        change = effect.probe.sign * (edited - rewards.proxy)
    change = np.where(counts & (change > 0), change, -np.inf)  # NaN is not above 0
    order = np.argsort(-change, kind="stable")
    rows = np.searchsorted(rewards.offsets, order, side="right") - 1
    _, first = np.unique(rows, return_index=True)  # one a prompt
    chosen = [int(order[i]) for i in np.sort(first)[:most] if np.isfinite(change[order[i]])]
    return tuple(_record(effect, rewards, prompts, at, float(change[at])) for at in chosen)


def _record(
    effect: ProbeEffect, rewards: Rewards, prompts: Sequence[Prompt], at: int, change: float
) -> MistakeRecord:
    row = int(np.searchsorted(rewards.offsets, at, side="right")) - 1
    if effect.probe.asks:
        honest, bad = list(questions_of(effect.probe))[row]
        question, texts, loss = honest.messages[-1].content, (bad.response, honest.response), 1.0
    else:
        prompt, place = prompts[row], at - int(rewards.offsets[row])
        made = next(
            edit.sample.response
            for edit in edits_of(effect, [prompt])
            if edit.column == effect.edited_column and place in edit.responses
        )
        question, texts, loss = prompt.question, (made, prompt.responses[place]), 0.0
        if effect.probe.must == "not_lower":
            texts = (texts[1], texts[0])
    first, second = apart(*texts, EXCERPT // 3)
    shown = (excerpt(text, EXCERPT) for text in (question, first, second))
    return MistakeRecord(str(rewards.prompt_ids[row]), loss, change, *shown)
