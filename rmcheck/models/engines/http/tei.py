"""text-embeddings-inference's /predict, by its API description (1.7); not run against a real one.

It takes text and tokenises it itself, special tokens added.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from rmcheck.models.engines.http.client import WrongAnswerError
from rmcheck.models.engines.http.server import (
    Identity,
    Input,
    Look,
    Reading,
    Server,
    counted,
    field,
    number,
    text_of,
    whole,
)


class TeiServer(Server):
    """`text-embeddings-router --model-id …`, for encoders with a classification head."""

    name: ClassVar[str] = "tei"
    switches_activation: ClassVar[bool] = True

    def __init__(self, identity: Identity, *, pair: bool = False, endpoint: str = "") -> None:
        super().__init__(identity, pair=pair, endpoint="predict")

    @classmethod
    def identify(cls, look: Look, model: str) -> Identity | None:
        """By its page about the model, which also tells the revision of the weights."""
        page = look("/info")
        name = text_of(page, "model_id")
        if not name:
            return None
        version = " ".join(filter(None, (text_of(page, "version"), text_of(page, "model_sha"))))
        length, batch = whole(page.get("max_input_length")), page.get("max_client_batch_size")
        return Identity(name, name, version, length, whole(batch))

    @property
    def takes(self) -> Literal["ids", "text"]:
        """Texts, or text pairs."""
        return "text"

    @property
    def raw_by(self) -> str:
        """By a field of the request."""
        return "raw_scores true"

    def request(self, inputs: Sequence[Input], *, raw: bool) -> tuple[str, dict[str, Any]]:
        """A list of lists always: a flat list of two texts would be one pair."""
        texts = [list(text.pair) if text.pair else [text.text] for text in inputs]
        return "/predict", {"inputs": texts, "raw_scores": raw, "truncate": False}

    def reading(self, answer: Any, count: int) -> Reading:
        """Logits by label: their order is by size."""
        if not isinstance(answer, list):
            raise WrongAnswerError(f"the answer is {answer!r:.60}, not a list of {count} scores")
        return Reading(tuple(_by_label(x, i) for i, x in enumerate(counted(answer, count))))


def _by_label(items: Any, place: int) -> dict[str, float]:
    if not isinstance(items, list) or not items:
        raise WrongAnswerError(f"the score of text {place} is {items!r:.60}, not a list of labels")
    return {
        str(field(item, "label", place)): number(field(item, "score", place), place)
        for item in sorted(items, key=lambda item: str(field(item, "label", place)))
    }
