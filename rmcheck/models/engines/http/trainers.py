"""What trainers send to a server of rewards, and what they read of its answer.

By verl 0.9.1 (`experimental/reward_loop/reward_loop.py`), OpenRLHF 0.11.2 (`utils/agent.py`) and
slime of September 2026 (`rollout/rm_hub`); what their own code sends stands in
`tests/models/http/trainers.json`. TRL asks no server: it loads the checkpoint.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rmcheck.models.engines.http.client import WrongAnswerError
from rmcheck.models.engines.http.server import field, listed, number

Turns = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class TrainerText:
    """One sample as a trainer has it.

    Attributes:
        text: What the reward model is sent, where the trainer writes one text.
        prompt: The prompt alone.
        response: The answer alone.
        label: What the data set says of it.
    """

    text: str
    prompt: Any
    response: str
    label: Any = None


class TrainerRequest(ABC):
    """The request of one trainer.

    Attributes:
        batch: Most texts of one request; None for as many as the setting allows.
        sent: In words, for the page.
    """

    batch: ClassVar[int | None] = None
    sent: ClassVar[str]

    @abstractmethod
    def body(self, texts: Sequence[TrainerText], model: str) -> tuple[str, Any]:
        """Path, behind the address, and body."""

    @abstractmethod
    def rewards(self, answer: Any, count: int) -> list[float]:
        """One reward a text.

        Raises:
            WrongAnswerError: The answer holds none.
        """


class VerlOnVllm(TrainerRequest):
    """verl's discriminative RM on vLLM."""

    batch = 1
    sent = "POST /classify, one text a request, use_activation false"

    def body(self, texts: Sequence[TrainerText], model: str) -> tuple[str, Any]:
        """The text as it is written."""
        return "/classify", {"model": model, "input": texts[0].text, "use_activation": False}

    def rewards(self, answer: Any, count: int) -> list[float]:
        """The last of the last."""
        return [_last(answer, "probs")]


class VerlOnSglang(TrainerRequest):
    """verl's discriminative RM on SGLang."""

    batch = 1
    sent = "POST /v1/embeddings, one text a request"

    def body(self, texts: Sequence[TrainerText], model: str) -> tuple[str, Any]:
        """The text as it is written."""
        return "/v1/embeddings", {"model": model, "input": texts[0].text}

    def rewards(self, answer: Any, count: int) -> list[float]:
        """The last of the last."""
        return [_last(answer, "embedding")]


class OpenRlhfRequest(TrainerRequest):
    """OpenRLHF's remote reward model; the address has the path."""

    batch = 1
    sent = "POST of one query (prompt, response and EOS as the policy's tokens spell them)"

    def body(self, texts: Sequence[TrainerText], model: str) -> tuple[str, Any]:
        """Three lists; a row without a label has an empty one."""
        (text,) = texts
        label = "" if text.label is None else text.label
        return "", {"query": [text.text], "prompts": [text.prompt], "labels": [label]}

    def rewards(self, answer: Any, count: int) -> list[float]:
        """The list `rewards`."""
        return [number(value, i) for i, value in enumerate(listed(answer, "rewards", count))]


class SlimeRequest(TrainerRequest):
    """slime's `remote_rm`; the address has the path."""

    batch = 1
    sent = "POST of prompt, response and label, one a request"

    def body(self, texts: Sequence[TrainerText], model: str) -> tuple[str, Any]:
        """Three fields."""
        (text,) = texts
        return "", {"prompt": text.prompt, "response": text.response, "label": text.label}

    def rewards(self, answer: Any, count: int) -> list[float]:
        """The answer itself."""
        return [number(answer, 0)]


def _last(answer: Any, name: str) -> float:
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list) or not data:
        raise WrongAnswerError(f"the answer has no list 'data': {answer!r:.60}")
    values = field(data[-1], name, len(data) - 1)
    if not isinstance(values, list) or not values:
        raise WrongAnswerError(f"{name} is {values!r:.60}, not a list of numbers")
    return number(values[-1], 0)
