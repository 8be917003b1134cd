"""HelpSteer 2 ratings, HelpSteer 2 preference, and HelpSteer 3 preference."""

from collections.abc import Iterator

from rmcheck.pool.conversation import extra_id_turns, messages
from rmcheck.pool.pool import Message, Prompt
from rmcheck.pool.readers.reader import TIE, WIN, Reader, has, has_text
from rmcheck.pool.row import Row, RowFault, malformed

ASPECTS = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
# Strength of a preference: -3 (the first is much better) to 3 (the second is).
STRONGEST = 3


def helpsteer2_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One rated response; a column for each aspect (0 to 4), and `golden` is the helpfulness."""
    labels = {aspect: (row.number(aspect),) for aspect in ASPECTS if aspect in row}
    yield Prompt(
        prompt_id="",
        messages=extra_id_turns(row, "prompt"),
        responses=(row.text("response"),),
        labels={"golden": (row.number("helpfulness"),), **labels},
    )


def helpsteer2_preference_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One pair, or a tie."""
    answers = (row.text("response_1"), row.text("response_2"))
    turns = extra_id_turns(row, "prompt")
    yield _preference(row, "preference_strength", turns, answers, row.slices("split"))


def helpsteer3_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One pair, or a tie."""
    answers = (row.text("response1"), row.text("response2"))
    slices = row.slices("domain", "language")
    yield _preference(row, "overall_preference", messages(row, "context"), answers, slices)


def _preference(
    row: Row,
    field: str,
    turns: tuple[Message, ...],
    answers: tuple[str, str],
    slices: dict[str, str],
) -> Prompt:
    """A pair with its graded preference: the better answer gets its strength, the other 0."""
    strength = row.number(field)
    if not abs(strength) <= STRONGEST:
        raise malformed(f"field {field!r} is {strength:g}; expected -{STRONGEST} to {STRONGEST}")
    golden = TIE if strength == 0 else WIN if strength < 0 else WIN[::-1]
    return Prompt(
        prompt_id="",
        messages=turns,
        responses=answers,
        labels={"golden": golden, field: (max(-strength, 0.0), max(strength, 0.0))},
        slices=slices,
    )


READERS = (
    Reader(
        name="helpsteer2",
        fields="prompt, response, helpfulness, correctness, … (one response a row)",
        matches=lambda row: (
            has(row, "helpfulness", "correctness") and has_text(row, "prompt", "response")
        ),
        prompts=helpsteer2_prompts,
        grouped=True,
    ),
    Reader(
        name="helpsteer2_preference",
        fields="prompt, response_1, response_2, preference_strength",
        matches=lambda row: has(row, "prompt", "response_1", "response_2", "preference_strength"),
        prompts=helpsteer2_preference_prompts,
    ),
    Reader(
        name="helpsteer3",
        fields="context [messages], response1, response2, overall_preference",
        matches=lambda row: has(row, "context", "response1", "response2", "overall_preference"),
        prompts=helpsteer3_prompts,
    ),
)
