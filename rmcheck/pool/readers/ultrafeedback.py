"""UltraFeedback with its ratings, and the binarized version.

The system prompt that each completion had for itself (`custom_system_prompt`) is left out: the
ratings are about the instruction, and responses of one prompt must answer one conversation.
"""

from collections.abc import Iterator

from rmcheck.pool.conversation import messages, user_turn
from rmcheck.pool.pool import Prompt
from rmcheck.pool.readers.reader import TIE, WIN, Reader, has, has_list, pair_of_conversations
from rmcheck.pool.row import Row, RowFault, malformed

ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")
LABELS = ("golden", *ASPECTS, "overall_score", "fine_grained_score")
# The first release read "1" as "10" (OpenBMB/UltraFeedback#8). Its authors trust an overall score
# of 10 only above this mean of the ratings, which go from 1 to 5.
DOUBTED_SCORE, TRUSTED_ABOVE = 10.0, 4.0


def ultrafeedback_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One instruction with its completions.

    Labels: a column for each aspect (1 to 5), `overall_score` (1 to 10) and `fine_grained_score`
    where the release has them. `golden` is the fine-grained score: the mean of the aspects.
    """
    completions = row.rows("completions")
    if not completions:
        raise malformed("field 'completions' is an empty list; expected at least one")
    rated = []
    for completion in completions:
        labels = _labels(completion)
        if _is_doubtful(labels):
            labels["overall_score"] = None
            yield RowFault(
                "missing_label",
                f"{completion.place}overall_score is 10 with a mean rating of "
                f"{labels['golden']:g}: the known fault of 1 read as 10; the label is left out",
            )
        rated.append(labels)
    columns = [c for c in LABELS if c == "golden" or any(r[c] is not None for r in rated)]
    yield Prompt(
        prompt_id="",
        messages=(user_turn(row, "instruction"),),
        responses=tuple(completion.text("response") for completion in completions),
        labels={column: tuple(labels[column] for labels in rated) for column in columns},
        slices=row.slices("source"),
    )


def _labels(completion: Row) -> dict[str, float | None]:
    aspects = completion.row("annotations") if "annotations" in completion else Row({})
    ratings = {a: _rating(aspects.row(a)) if a in aspects else None for a in ASPECTS}
    given = [rating for rating in ratings.values() if rating is not None]
    mean = sum(given) / len(given) if given else None
    overall = completion.number("overall_score") if "overall_score" in completion else None
    fine = completion.number("fine-grained_score") if "fine-grained_score" in completion else None
    golden = mean if fine is None else fine
    return {
        "golden": golden,
        **ratings,
        "overall_score": overall,
        "fine_grained_score": fine,
    }


def _rating(aspect: Row) -> float | None:
    """A rating, which the releases write as text; None where it is N/A."""
    rating = aspect.values.get("Rating", "N/A")
    if isinstance(rating, int | float):
        return aspect.number("Rating")
    if rating == "N/A":
        return None
    try:
        return float(aspect.text("Rating"))
    except ValueError:
        raise aspect.wrong("Rating", rating, "a number or 'N/A'") from None


def _is_doubtful(labels: dict[str, float | None]) -> bool:
    golden = labels["golden"]
    return (
        labels["overall_score"] == DOUBTED_SCORE and golden is not None and golden <= TRUSTED_ABOVE
    )


def ultrafeedback_binarized_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """One pair, with the scores as the column `score`; equal scores are a tie, not a win."""
    scores = (row.number("score_chosen"), row.number("score_rejected"))
    yield pair_of_conversations(
        row,
        messages(row, "chosen"),
        messages(row, "rejected"),
        prompt_id=row.identifier("prompt_id"),
        labels={"golden": TIE if scores[0] == scores[1] else WIN, "score": scores},
        slices=row.slices("source"),
    )


READERS = (
    Reader(
        name="ultrafeedback",
        fields="instruction, completions [{response, annotations}]",
        matches=lambda row: has(row, "instruction") and has_list(row, "completions"),
        prompts=ultrafeedback_prompts,
    ),
    Reader(
        name="ultrafeedback_binarized",
        fields="prompt, chosen [messages], rejected [messages], score_chosen, score_rejected",
        matches=lambda row: (
            has(row, "score_chosen", "score_rejected") and has_list(row, "chosen", "rejected")
        ),
        prompts=ultrafeedback_binarized_prompts,
    ),
)
