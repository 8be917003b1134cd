"""Nectar: answers ranked from 1 (best)."""

from collections.abc import Iterator

from rmcheck.pool.conversation import marked_turns, without_open_answer
from rmcheck.pool.pool import Prompt
from rmcheck.pool.readers.reader import Reader, has_list, has_text
from rmcheck.pool.row import Row, RowFault


def nectar_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One prompt with all its answers; `golden` is minus the rank."""
    answers = row.rows("answers")
    yield Prompt(
        prompt_id="",
        messages=without_open_answer(marked_turns(row.text("prompt"), "prompt")),
        responses=tuple(answer.text("answer") for answer in answers),
        labels={"golden": tuple(-answer.number("rank") for answer in answers)},
        slices=row.slices("good_natured"),
    )


READERS = (
    Reader(
        name="nectar",
        fields="prompt, answers [{answer, rank}]",
        matches=lambda row: (
            has_text(row, "prompt")
            and has_list(row, "answers")
            and {"answer", "rank"} <= row.values["answers"][0].keys()
        ),
        prompts=nectar_prompts,
    ),
)
