"""rmcheck's own formats: a prompt with its responses a row, or one response a row.

    {"prompt_id": "p1", "prompt": "How …?", "category": "chat",
     "responses": ["a", "b"], "golden": [0.9, 0.2]}

    {"prompt": "How …?", "response": "a", "golden": 0.9, "category": "chat"}

`prompt` is text (one user turn) or messages. A list of numbers (or null) as long as `responses`
is a label column; a single value is a slice. Any other list has one value a response, and an object
is the prompt's: rewards may ask for them by name. `golden` is always a label column, so one that
holds anything else is an error.
"""

from collections.abc import Iterator
from typing import Any

from rmcheck.pool.conversation import conversation
from rmcheck.pool.pool import Prompt, WrongLength
from rmcheck.pool.readers.reader import Reader, has, has_text
from rmcheck.pool.row import Row, RowFault, malformed

PROMPT_FIELDS = ("prompt_id", "prompt", "responses")
ROW_FIELDS = ("prompt_id", "prompt", "response")


def native_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One prompt with all its responses."""
    responses = row.texts("responses")
    if not responses:
        raise malformed("field 'responses' is an empty list; expected at least one response")
    columns = [
        name
        for name in row
        if name not in PROMPT_FIELDS and (name == "golden" or holds_numbers(row.values[name]))
    ]
    yield Prompt(
        prompt_id=row.identifier("prompt_id"),
        messages=conversation(row, "prompt"),
        responses=responses,
        labels={name: row.numbers(name, len(responses)) for name in columns},
        slices=row.other_slices((*PROMPT_FIELDS, *columns)),
        columns={
            name: _per_response(value, len(responses))
            for name, value in row.other_columns((*PROMPT_FIELDS, *columns)).items()
        },
    )


def native_row_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One response; its numbers are labels, its texts slices."""
    numbers = [
        name
        for name in row
        if name not in ROW_FIELDS
        and (name == "golden" or isinstance(row.values[name], int | float))
    ]
    yield Prompt(
        prompt_id=row.identifier("prompt_id"),
        messages=conversation(row, "prompt"),
        responses=(row.text("response"),),
        labels={name: (row.number(name),) for name in numbers},
        slices=row.other_slices((*ROW_FIELDS, *numbers)),
        # Numbers as they are written: a ground truth of 7 is no 7.0.
        columns=row.other_columns((*ROW_FIELDS, "golden")),
    )


def _per_response(value: Any, responses: int) -> Any:
    if not isinstance(value, list):
        return value
    return tuple(value) if len(value) == responses else WrongLength(len(value), responses)


def holds_numbers(value: Any) -> bool:
    """Whether a value is meant as a label column: a list with a number, or of nulls alone."""
    if not isinstance(value, list) or not value:
        return False
    return any(isinstance(v, int | float) for v in value) or all(v is None for v in value)


READERS = (
    Reader(
        name="native",
        fields="prompt, responses [text]",
        matches=lambda row: has(row, "prompt") and isinstance(row.values.get("responses"), list),
        prompts=native_prompts,
    ),
    Reader(
        name="native_rows",
        fields="prompt, response (one response a row)",
        matches=lambda row: has(row, "prompt") and has_text(row, "response"),
        prompts=native_row_prompts,
        grouped=True,
    ),
)
