"""AlpacaEval: outputs of systems, and annotations of pairs of them."""

from collections.abc import Iterator

from rmcheck.pool.conversation import user_turn
from rmcheck.pool.pool import Prompt
from rmcheck.pool.readers.reader import TIE, Reader, has
from rmcheck.pool.row import Row, RowFault, malformed

# 1 is a win of the first output, 2 of the second, between them the judge's probability of a win
# of the second, plus one. 1.5 is a draw, and so is 0 in annotations of the first release.
FIRST_WINS, SECOND_WINS, OLD_DRAW = 1.0, 2.0, 0.0


def alpaca_eval_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One output; those of one instruction make a prompt, without any golden reward."""
    yield Prompt(
        prompt_id="",
        messages=(user_turn(row, "instruction"),),
        responses=(row.text("output"),),
        labels={},
        slices=row.slices("dataset"),
    )


def alpaca_eval_annotations_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One pair; `golden` is each output's probability of winning by the judge."""
    yield Prompt(
        prompt_id="",
        messages=(user_turn(row, "instruction"),),
        responses=(row.text("output_1"), row.text("output_2")),
        labels={"golden": _golden(row)},
        slices=row.slices("dataset", "annotator"),
    )


def _golden(row: Row) -> tuple[float | None, float | None]:
    if "preference" not in row:
        return (None, None)
    preference = row.number("preference")
    if preference == OLD_DRAW:
        return TIE
    if not FIRST_WINS <= preference <= SECOND_WINS:
        raise malformed(f"field 'preference' is {preference:g}; expected 1 to 2, or 0 for a draw")
    return (SECOND_WINS - preference, preference - FIRST_WINS)


READERS = (
    Reader(
        name="alpaca_eval",
        fields="instruction, output, generator (one output a row)",
        matches=lambda row: has(row, "instruction", "output", "generator"),
        prompts=alpaca_eval_prompts,
        grouped=True,
    ),
    Reader(
        name="alpaca_eval_annotations",
        fields="instruction, output_1, output_2, preference",
        matches=lambda row: has(row, "instruction", "output_1", "output_2"),
        prompts=alpaca_eval_annotations_prompts,
    ),
)
