"""RMB: pairs, and a best answer with two to six losers."""

from collections.abc import Iterator, Sequence

from rmcheck.pool.conversation import messages
from rmcheck.pool.pool import Prompt
from rmcheck.pool.readers.reader import Reader, has
from rmcheck.pool.row import Row, RowFault, malformed

# Parts of `category_path` after the name of the set, such as Helpfulness/Chat/Discussion.
CATEGORY_PARTS = ("goal", "category", "scenario")


def rmb_pairwise_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One pair; the field of the worse answer is `reject`."""
    yield _prompt(row, "pair_uid", [row.row("chosen")], [row.row("reject")])


def rmb_bon_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One best answer and its losers, which are not ranked among themselves."""
    losers = row.rows("loser_list")
    if not losers:
        raise malformed("field 'loser_list' is empty; expected at least one loser")
    yield _prompt(row, "bon_uid", [row.row("bon_best")], losers)


def _prompt(row: Row, id_field: str, best: Sequence[Row], losers: Sequence[Row]) -> Prompt:
    return Prompt(
        prompt_id=row.identifier(id_field),
        messages=messages(row, "conversation_input"),
        responses=tuple(answer.text("answer") for answer in (*best, *losers)),
        labels={"golden": (1.0,) * len(best) + (0.0,) * len(losers)},
        slices=_slices(row),
    )


def _slices(row: Row) -> dict[str, str]:
    """Goal, category and scenario; the language of the last turn, which may be missing."""
    _, *parts = row.text("category_path").split("/")
    language = row.rows("conversation_input")[-1].slices("language")
    return dict(zip(CATEGORY_PARTS, parts, strict=False)) | language


READERS = (
    Reader(
        name="rmb_pairwise",
        fields="pair_uid, conversation_input, chosen {answer}, reject {answer}",
        matches=lambda row: has(row, "conversation_input", "chosen", "reject"),
        prompts=rmb_pairwise_prompts,
    ),
    Reader(
        name="rmb_bon",
        fields="bon_uid, conversation_input, bon_best {answer}, loser_list [{answer}]",
        matches=lambda row: has(row, "conversation_input", "bon_best", "loser_list"),
        prompts=rmb_bon_prompts,
    ),
)
