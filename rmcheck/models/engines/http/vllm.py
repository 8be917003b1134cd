"""vLLM's pooling endpoints: /classify, /pooling, and /score for text pairs.

Fields as of vLLM 0.32. Unknown fields are ignored by the server, so that asking for raw logits by
a wrong name would give probabilities without a word; the conformance page therefore asks twice.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from rmcheck.errors import UsageError, near_miss
from rmcheck.models.engines.http.client import WrongAnswerError
from rmcheck.models.engines.http.server import (
    Identity,
    Input,
    Look,
    Reading,
    Server,
    field,
    listed,
    number,
    numbered,
    text_of,
    whole,
)


class VllmServer(Server):
    """`python -m vllm.entrypoints.openai.api_server --runner pooling`."""

    name: ClassVar[str] = "vllm"
    endpoints: ClassVar[tuple[str, ...]] = ("classify", "pooling")
    switches_activation: ClassVar[bool] = True

    def __init__(self, identity: Identity, *, pair: bool = False, endpoint: str = "") -> None:
        if pair and endpoint:
            raise UsageError(
                f"endpoint={endpoint} cannot tell the texts of a pair apart; vLLM scores pairs at "
                "/score, so remove endpoint= or template=pair"
            )
        super().__init__(identity, pair=pair, endpoint="score" if pair else endpoint or "classify")

    @classmethod
    def identify(cls, look: Look, model: str) -> Identity | None:
        """By its list of models."""
        page = look("/v1/models")
        cards = page.get("data") if isinstance(page, dict) else None
        if not isinstance(cards, list) or not cards:
            return None
        by_name = {text_of(card, "id"): card for card in cards}
        if not model and len(by_name) > 1:
            raise UsageError(f"the server has several models; say model={'|'.join(by_name)}")
        if model and model not in by_name:
            raise UsageError(
                f"the server has no model {model!r}.{near_miss(model, by_name)} "
                f"Models: {', '.join(by_name)}."
            )
        name = model or next(iter(by_name))
        card = by_name[name]
        length = card.get("max_model_len") if isinstance(card, dict) else None
        version = text_of(look("/version"), "version")
        return Identity(name, text_of(card, "root"), version, whole(length))

    @property
    def takes(self) -> Literal["ids", "text"]:
        """Token ids, unless the texts are pairs."""
        return "text" if self.pair else "ids"

    @property
    def raw_by(self) -> str:
        """By a field of the request."""
        return "use_activation false"

    def untyped(self) -> Server | None:
        """/classify on token ids, which come without types."""
        return VllmServer(self.identity) if self.pair else None

    def request(self, inputs: Sequence[Input], *, raw: bool) -> tuple[str, dict[str, Any]]:
        """Token ids, which the server does not touch."""
        body: dict[str, Any] = {"model": self.identity.model, "use_activation": not raw}
        if self.pair:
            pairs = [text.pair or ("", "") for text in inputs]
            body |= {"text_1": [a for a, _ in pairs], "text_2": [b for _, b in pairs]}
        else:
            body["input"] = [list(text.ids) for text in inputs]
        return f"/{self.endpoint}", body

    def reading(self, answer: Any, count: int) -> Reading:
        """Logits in order; of a model that scores every token, those of the last one."""
        data = listed(answer, "data", count)
        places = [field(item, "index", i) for i, item in enumerate(data)]
        if places != list(range(count)):
            raise WrongAnswerError(f"the scores are numbered {places!r:.60}, not 0 to {count - 1}")
        usage = answer.get("usage")
        tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        return Reading(tuple(self._logits(item, i) for i, item in enumerate(data)), whole(tokens))

    def _logits(self, item: Any, place: int) -> dict[str, float]:
        if self.endpoint == "score":
            return {"0": number(field(item, "score", place), place)}
        if self.endpoint == "classify":
            return numbered(field(item, "probs", place), place)
        values = field(item, "data", place)
        if isinstance(values, list) and values and isinstance(values[-1], list):
            values = values[-1]
        return numbered(values, place)
