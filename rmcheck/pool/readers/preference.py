"""Preference data for trainers: TRL, OpenRLHF and Skywork.

TRL's prompt may be explicit (`prompt`) or implicit: what `chosen` and `rejected` have in common,
which are all messages but the last, or all whole words of the common beginning of two texts.
"""

from collections.abc import Iterator

from rmcheck.pool.conversation import conversation, messages
from rmcheck.pool.pool import Message, Prompt
from rmcheck.pool.readers.reader import Reader, has, has_list, has_text, pair_of_conversations
from rmcheck.pool.row import Row, RowFault

# Fields that OpenRLHF's --data.prompt_key is commonly set to, besides "prompt".
PROMPT_KEYS = ("context_messages", "instruction", "question", "input")
PAIR_FIELDS = ("prompt", "chosen", "rejected", "margin", "prompt_id", "id")


def trl_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One pair with an explicit or implicit prompt."""
    yield _pair(row, "prompt" if "prompt" in row else None)


def openrlhf_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One pair whose prompt stands under a name of the user's choice, or in both answers."""
    yield _pair(row, next((key for key in ("prompt", *PROMPT_KEYS) if key in row), None))


def skywork_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One pair of whole conversations."""
    yield _pair(row, None)


def _pair(row: Row, prompt_field: str | None) -> Prompt:
    prompt = conversation(row, prompt_field) if prompt_field else ()
    if isinstance(row.get("chosen"), list):
        chosen, rejected = messages(row, "chosen"), messages(row, "rejected")
    else:
        texts = (row.text("chosen"), row.text("rejected"))
        if not prompt:
            prompt, texts = _cut_common_words(*texts)
        chosen, rejected = ((Message("assistant", text),) for text in texts)
    # A margin grades the preference: by how much the chosen answer is the better one.
    margin = {"margin": (row.number("margin"), 0.0)} if "margin" in row else {}
    known = (*PAIR_FIELDS, prompt_field or "prompt")
    return pair_of_conversations(
        row,
        chosen,
        rejected,
        prompt=prompt,
        prompt_id=row.identifier("prompt_id") or row.identifier("id"),
        labels=dict(margin),
        slices=row.other_slices(known),
        columns=row.other_columns(known),
    )


def _cut_common_words(chosen: str, rejected: str) -> tuple[tuple[Message, ...], tuple[str, str]]:
    """The common beginning of two texts, up to its last white space, and what is left of them."""
    pairs = enumerate(zip(chosen, rejected, strict=False))
    differ = next((i for i, (a, b) in pairs if a != b), min(len(chosen), len(rejected)))
    common = chosen[:differ]
    end = max((i + 1 for i, char in enumerate(common) if char.isspace()), default=0)
    if not common[:end].strip():
        raise RowFault(
            "differing_prompts",
            "there is no 'prompt', and chosen and rejected have no common beginning",
        )
    return (Message("user", common[:end].rstrip()),), (chosen[end:], rejected[end:])


def is_pair(row: Row) -> bool:
    """Whether chosen and rejected are both texts or both messages."""
    return has_text(row, "chosen", "rejected") or has_list(row, "chosen", "rejected")


READERS = (
    Reader(
        name="skywork",
        fields="chosen [messages], rejected [messages], source",
        matches=lambda row: (
            has_list(row, "chosen", "rejected") and has(row, "source") and "prompt" not in row
        ),
        prompts=skywork_prompts,
    ),
    Reader(
        name="openrlhf",
        fields=f"chosen, rejected, and one of {', '.join(PROMPT_KEYS)} as the prompt",
        matches=lambda row: (
            is_pair(row) and "prompt" not in row and any(k in row for k in PROMPT_KEYS)
        ),
        prompts=openrlhf_prompts,
    ),
    Reader(
        name="trl",
        fields="chosen, rejected (both text, or both messages); prompt is optional",
        matches=is_pair,
        prompts=trl_prompts,
    ),
)
