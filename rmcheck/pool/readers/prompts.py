"""Prompts without responses, as people keep them: what a policy is to answer.

    {"prompt": "How …?", "category": "chat"}
    {"messages": [{"role": "user", "content": "How …?"}]}
    {"conversations": [{"from": "human", "value": "How …?"}]}
    {"question": "How …?"}
    {"instruction": "Translate.", "input": "Guten Tag", "system": "Be brief."}

`prompt`, `question` and `instruction` are text (one user turn) or messages. `id` or `prompt_id`
names the prompt. Every other single value is a slice; a reference answer or a list is left out.
"""

from collections.abc import Iterator
from dataclasses import replace

from rmcheck.pool.conversation import conversation, messages, named_turns
from rmcheck.pool.pool import Message, Prompt
from rmcheck.pool.readers.reader import Reader
from rmcheck.pool.row import Row, RowFault, malformed

TEXTS = ("prompt", "question", "instruction")
CONVERSATIONS = ("messages", "conversations", "conversation")
SYSTEMS = ("system", "system_prompt")
# Answers and their judgements: of no use to a policy, and no groups of prompts.
ANSWERS = ("response", "responses", "answer", "output", "completion", "chosen", "rejected")
LEFT_OUT = (*ANSWERS, "golden", "sampling")
# ShareGPT's names of who speaks.
SHARE_GPT_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
}


def prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """The one prompt of a row."""
    known = {*TEXTS, *CONVERSATIONS, *SYSTEMS, *LEFT_OUT, "input", "prompt_id", "id"}
    yield Prompt(
        prompt_id=row.identifier("prompt_id") or row.identifier("id"),
        messages=(*_system(row), *_asked(row)),
        responses=(),
        labels={},
        slices=row.other_slices(known),
        columns=row.other_columns(known),
    )


def _asked(row: Row) -> tuple[Message, ...]:
    """The conversation, which ends with a turn that a policy can answer."""
    names = [name for name in (*TEXTS, *CONVERSATIONS) if name in row]
    if not names:
        known = ", ".join((*TEXTS, *CONVERSATIONS))
        raise malformed(f"no prompt: expected one of {known}; the row has: {', '.join(row)}")
    first, *others = [_turns(row, name) for name in names]
    for name, turns in zip(names[1:], others, strict=True):
        # UltraChat writes the first turn of its `messages` once more as `prompt`.
        if turns[: len(first)] != first:
            raise malformed(f"{names[0]!r} and {name!r} are two prompts; keep one of them")
    if first[-1].role not in ("user", "tool"):
        raise malformed(
            f"the last turn of {names[0]!r} is the {first[-1].role}'s; a prompt ends with the "
            "user's: cut off what comes after it"
        )
    if not first[-1].content.strip():
        raise malformed(f"the last turn of {names[0]!r} is empty; expected the text of the prompt")
    return first


def _turns(row: Row, name: str) -> tuple[Message, ...]:
    if name in TEXTS:
        turns = conversation(row, name)
        given = row.text("input") if name == "instruction" and "input" in row else ""
        if not given.strip():
            return turns
        # An instruction and what it is about are one turn, as trainers of such data write it.
        return (*turns[:-1], replace(turns[-1], content=f"{turns[-1].content}\n\n{given}"))
    items = row.rows(name)
    if items and "from" in items[0]:
        return named_turns(items, "from", "value", SHARE_GPT_ROLES)
    return messages(row, name)


def _system(row: Row) -> tuple[Message, ...]:
    """The system's turn, where it stands in a field of its own."""
    texts = [row.text(name) for name in SYSTEMS if name in row]
    return tuple(Message("system", text) for text in texts if text.strip())


PROMPTS = Reader(
    name="prompts",
    fields=f"one of {', '.join((*TEXTS, *CONVERSATIONS))}, and no responses",
    matches=lambda row: any(name in row for name in (*TEXTS, *CONVERSATIONS)),
    prompts=prompts,
)
