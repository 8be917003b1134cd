"""OpenRLHF's remote reward model, POST /get_reward; by its source, not run against a real one.

It takes text. It removes EOS and padding from both ends, adds one EOS, tokenises with special
tokens, and cuts at its `--max_len` without a word.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from rmcheck.errors import UsageError
from rmcheck.models.engines.http.server import (
    Identity,
    Input,
    Look,
    Reading,
    Server,
    listed,
    number,
)


class OpenRlhfServer(Server):
    """`python -m openrlhf.cli.serve_rm`, or any server that OpenRLHF's trainer can ask."""

    name: ClassVar[str] = "openrlhf"
    cuts_silently: ClassVar[bool] = True

    def __init__(self, identity: Identity, *, pair: bool = False, endpoint: str = "") -> None:
        if pair:
            raise UsageError("OpenRLHF's /get_reward takes no text pairs; remove template=pair")
        super().__init__(identity, pair=pair, endpoint="get_reward")

    @classmethod
    def identify(cls, look: Look, model: str) -> Identity | None:
        """By the path that it has; it tells nothing of its model."""
        page = look("/openapi.json")
        paths = page.get("paths") if isinstance(page, dict) else None
        if not isinstance(paths, dict) or "/get_reward" not in paths:
            return None
        return Identity(model)

    @property
    def takes(self) -> Literal["ids", "text"]:
        """Texts."""
        return "text"

    @property
    def raw_by(self) -> str:
        """Unless it was started to normalise."""
        return "it gives the head's output, unless started with --normalize_reward"

    def request(self, inputs: Sequence[Input], *, raw: bool) -> tuple[str, dict[str, Any]]:
        """The field that its trainer sends."""
        return "/get_reward", {"query": [text.text for text in inputs]}

    def reading(self, answer: Any, count: int) -> Reading:
        """One number a text."""
        rewards = listed(answer, "rewards", count)
        return Reading(tuple({"0": number(reward, i)} for i, reward in enumerate(rewards)))

    def read_as(self, text: str, tokenizer: Any) -> list[int]:
        """The text with exactly one EOS, special tokens added."""
        ends = [end for end in (tokenizer.eos_token, tokenizer.pad_token) if end]
        stripped = _without(text, ends)
        ids: list[int] = tokenizer(stripped + (tokenizer.eos_token or ""))["input_ids"]
        return ids


def _without(text: str, ends: Sequence[str]) -> str:
    """The text without these words at its two ends."""
    while any(text.endswith(end) for end in ends):
        text = next(text.removesuffix(end) for end in ends if text.endswith(end))
    while any(text.startswith(end) for end in ends):
        text = next(text.removeprefix(end) for end in ends if text.startswith(end))
    return text
