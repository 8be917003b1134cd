"""The texts that probes make of a pool, and where their rewards belong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message, Prompt
from rmcheck.probes.effect import ProbeEffect
from rmcheck.probes.probe import Probe
from rmcheck.probes.templates import chosen, filled

# What stands in the place of an edit, to see what its length alone does.
_NEUTRAL_TEXT = (
    "In this part of the text there are a few more words, and they stand here as they are. The "
    "line goes on a little, and then it comes to its end in the same way as the one before it."
)
NEUTRAL = _NEUTRAL_TEXT.split()


@dataclass(frozen=True, slots=True)
class Edit:
    """A text that a probe made, as it is scored.

    Attributes:
        sample: What models score.
        row: Position of its prompt in the pool.
        column: Of the rewards, where its reward belongs.
        responses: Positions in its prompt that its reward belongs to: one, or all of them where it
            takes the place of the answer.
    """

    sample: Sample
    row: int
    column: str
    responses: tuple[int, ...]


def edits_of(effect: ProbeEffect, prompts: Sequence[Prompt]) -> Iterator[Edit]:
    """Every edit of a pool, and beside those that add words a control of the same length."""
    for row, prompt in enumerate(prompts):
        if effect.probe.replaces:
            yield from _replacement(effect, row, prompt)
            continue
        by_text = sorted(range(len(prompt.responses)), key=lambda i: prompt.text_keys[i])
        for at in sorted(by_text[: effect.responses]):
            yield from _edit(effect, row, prompt, at)


def _replacement(effect: ProbeEffect, row: int, prompt: Prompt) -> Iterator[Edit]:
    values = {"prompt": prompt.question, "response": ""}
    text = filled(chosen(effect.probe.edits, effect.probe.name, values["prompt"]), values)
    if prompt.responses:
        sample = _sample(prompt, 0, text, effect.probe.name)
        yield Edit(sample, row, effect.edited_column, tuple(range(len(prompt.responses))))


def _edit(effect: ProbeEffect, row: int, prompt: Prompt, at: int) -> Iterator[Edit]:
    response = prompt.responses[at]
    template = chosen(effect.probe.edits, effect.probe.name, response)
    text = filled(template, {"prompt": prompt.question, "response": response})
    if text == response:
        return
    yield Edit(_sample(prompt, at, text, effect.probe.name), row, effect.edited_column, (at,))
    added = len(text.split()) - len(response.split())
    if added > 0:
        plain = control(response, added, behind=template.startswith("{response"))
        sample = _sample(prompt, at, plain, f"control of {effect.probe.name}")
        yield Edit(sample, row, effect.control_column, (at,))


def control(response: str, words: int, *, behind: bool) -> str:
    """The response with as many neutral words behind it, or in front of it."""
    neutral = " ".join(NEUTRAL[i % len(NEUTRAL)] for i in range(words))
    return f"{response}\n\n{neutral}" if behind else f"{neutral}\n\n{response}"


def _sample(prompt: Prompt, at: int, text: str, made_by: str) -> Sample:
    return Sample(f"{prompt.prompt_id} + {made_by}", prompt.indices[at], prompt.messages, text)


def questions_of(probe: Probe) -> Iterator[tuple[Sample, Sample]]:
    """The honest and the bad answer to each question that a probe brings.

    A fake that reads golden finds 1 and 0 there.
    """
    for number, item in enumerate(probe.items, start=1):
        about = "\0".join(item.values())
        texts = {
            part: filled(chosen(getattr(probe, part), probe.name, part, about), item)
            for part in ("prompt", "honest", "bad")
        }
        name, turns = f"{probe.name} {number}", (Message("user", texts["prompt"]),)
        honest = Sample(name, 0, turns, texts["honest"], golden=1.0)
        yield honest, replace(honest, index=1, response=texts["bad"], golden=0.0)
