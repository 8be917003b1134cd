"""SGLang's native /classify.

The reward comes back as an `embedding`. `/v1/classify` squashes the logits, and is not used.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from rmcheck.errors import UsageError
from rmcheck.models.engines.http.client import WrongAnswerError
from rmcheck.models.engines.http.server import (
    Identity,
    Input,
    Look,
    Reading,
    Server,
    counted,
    field,
    numbered,
    text_of,
    whole,
)


class SglangServer(Server):
    """`python -m sglang.launch_server --is-embedding`."""

    name: ClassVar[str] = "sglang"

    def __init__(self, identity: Identity, *, pair: bool = False, endpoint: str = "") -> None:
        if pair:
            raise UsageError("SGLang's /classify takes no text pairs; remove template=pair")
        super().__init__(identity, pair=pair, endpoint="classify")

    @classmethod
    def identify(cls, look: Look, model: str) -> Identity | None:
        """By its page about the model."""
        page = look("/get_model_info")
        root = text_of(page, "model_path")
        if not root:
            return None
        about = look("/get_server_info")
        version = " ".join(
            filter(None, (text_of(about, "version"), text_of(page, "weight_version")))
        )
        return Identity(model or root, root, version, _length(look("/v1/models")))

    @property
    def takes(self) -> Literal["ids", "text"]:
        """Token ids."""
        return "ids"

    @property
    def raw_by(self) -> str:
        """Its native endpoint applies nothing."""
        return "its native /classify gives the head's output as it is"

    def request(self, inputs: Sequence[Input], *, raw: bool) -> tuple[str, dict[str, Any]]:
        """Token ids, which the server does not touch."""
        ids = [list(text.ids) for text in inputs]
        return "/classify", {"model": self.identity.model, "input_ids": ids}

    def reading(self, answer: Any, count: int) -> Reading:
        """One object a text; of a single text it may be the object alone."""
        items = [answer] if isinstance(answer, dict) and count == 1 else answer
        if not isinstance(items, list):
            raise WrongAnswerError(f"the answer is {answer!r:.60}, not a list of {count} scores")
        counted(items, count)
        logits = [numbered(field(item, "embedding", i), i) for i, item in enumerate(items)]
        read = [_tokens(item) for item in items]
        known = [tokens for tokens in read if tokens is not None]
        return Reading(tuple(logits), sum(known) if len(known) == count else None)


def _length(models: Any) -> int | None:
    """Of the first model; its own pages tell it only where it was started with one."""
    cards = models.get("data") if isinstance(models, dict) else None
    card = cards[0] if isinstance(cards, list) and cards else None
    return whole(card.get("max_model_len")) if isinstance(card, dict) else None


def _tokens(item: Any) -> int | None:
    about = item.get("meta_info")
    return whole(about.get("prompt_tokens")) if isinstance(about, dict) else None
