"""PPE (Preference Proxy Evaluations): human preference, and best-of-K correctness."""

import re
from collections.abc import Iterator, Mapping

from rmcheck.pool.conversation import conversation
from rmcheck.pool.pool import Prompt
from rmcheck.pool.readers.reader import TIE, WIN, Reader, has, has_list
from rmcheck.pool.row import Row, RowFault, malformed

WINNERS: Mapping[str, tuple[float, float]] = {
    "model_a": WIN,
    "model_b": WIN[::-1],
    "tie": TIE,
    "tie (bothbad)": TIE,
    "both_bad": TIE,
}
HUMAN_SLICES = (
    "language",
    "is_code",
    "is_refusal",
    "hard_prompt",
    "easy_prompt",
    "if_prompt",
    "math_prompt",
)
RESPONSE = re.compile(r"response_(\d+)")


def ppe_human_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One pair, or a tie; model_a wrote `response_1`."""
    winner = row.text("winner")
    if winner not in WINNERS:
        raise malformed(f"field 'winner' is {winner!r}; expected one of: {', '.join(WINNERS)}")
    yield Prompt(
        prompt_id=row.identifier("question_id"),
        messages=conversation(row, "prompt"),
        responses=(row.text("response_1"), row.text("response_2")),
        labels={"golden": WINNERS[winner]},
        slices=row.slices(*HUMAN_SLICES),
    )


def ppe_best_of_k_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One question with K responses of one model; `golden` is 1 where it is correct."""
    fields = sorted(filter(RESPONSE.fullmatch, row), key=lambda name: int(name.split("_")[1]))
    if fields != [f"response_{i}" for i in range(1, len(fields) + 1)]:
        raise malformed(f"the responses are not numbered from 1 on: {', '.join(fields) or 'none'}")
    question, model = row.identifier("question_id"), row.identifier("model_name")
    yield Prompt(
        # A question is asked of several models, so its id alone names several rows.
        prompt_id=f"{question}/{model}" if question and model else question,
        messages=conversation(row, "prompt"),
        responses=tuple(row.text(name) for name in fields),
        labels={"golden": row.numbers("scores", len(fields))},
        slices=row.slices("model_name"),
    )


READERS = (
    Reader(
        name="ppe_human",
        fields="prompt, response_1, response_2, winner",
        matches=lambda row: has(row, "prompt", "response_1", "response_2", "winner"),
        prompts=ppe_human_prompts,
    ),
    Reader(
        name="ppe_best_of_k",
        fields="prompt, response_1 … response_K, scores [bool]",
        matches=lambda row: (
            has(row, "prompt", "response_1") and has_list(row, "scores", of=int | float)
        ),
        prompts=ppe_best_of_k_prompts,
    ),
)
