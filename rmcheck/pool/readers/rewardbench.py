"""RewardBench 1 (pairs) and RewardBench 2 (several correct and incorrect answers)."""

from collections.abc import Iterator

from rmcheck.pool.conversation import conversation
from rmcheck.pool.pool import Prompt
from rmcheck.pool.readers.reader import WIN, Reader, has, has_list, has_text
from rmcheck.pool.row import Row, RowFault, malformed

TIES_KINDS = ("ref", "tied")


def rewardbench_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One pair."""
    yield Prompt(
        prompt_id=row.identifier("id"),
        messages=conversation(row, "prompt"),
        responses=(row.text("chosen"), row.text("rejected")),
        labels={"golden": WIN},
        slices=row.slices("subset"),
    )


def rewardbench2_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One prompt with every correct answer (golden 1) and incorrect answer (golden 0).

    Rows of the subset Ties have ids `ref:3` and `tied:3`. Both stand for one question, so they
    share a cluster, and `kind` tells them apart.
    """
    correct, incorrect = row.texts("chosen"), row.texts("rejected")
    if row.number("num_correct") != len(correct):
        raise malformed(
            f"field 'num_correct' is {row.get('num_correct')} and 'chosen' has {len(correct)} texts"
        )
    prompt_id = row.identifier("id")
    kind, colon, question = prompt_id.partition(":")
    ties = bool(colon) and kind in TIES_KINDS
    yield Prompt(
        prompt_id=prompt_id,
        messages=conversation(row, "prompt"),
        responses=correct + incorrect,
        labels={"golden": (1.0,) * len(correct) + (0.0,) * len(incorrect)},
        slices=row.slices("subset") | ({"kind": kind} if ties else {}),
        cluster=f"ties:{question}" if ties else "",
    )


READERS = (
    Reader(
        name="rewardbench2",
        fields="prompt, chosen [text], rejected [text], num_correct",
        matches=lambda row: has(row, "num_correct") and has_list(row, "chosen", of=str),
        prompts=rewardbench2_prompts,
    ),
    Reader(
        name="rewardbench",
        fields="prompt, chosen, rejected, chosen_model, rejected_model, subset",
        matches=lambda row: (
            has(row, "prompt", "chosen_model", "rejected_model")
            and has_text(row, "chosen", "rejected")
        ),
        prompts=rewardbench_prompts,
    ),
)
