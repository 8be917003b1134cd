"""OpenRLHF's remote reward model, POST /get_reward.

It takes text, tokenises it as it is, without special tokens, and cuts at its `--data.max_len`
without a word. Up to 0.8.1 it also made every text end with one EOS.
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
    adds_special: ClassVar[bool] = False

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
        return "it gives the head's output, unless started with --reward.normalize_enable"

    def request(self, inputs: Sequence[Input], *, raw: bool) -> tuple[str, dict[str, Any]]:
        """The field that its trainer sends."""
        return "/get_reward", {"query": [text.text for text in inputs]}

    def reading(self, answer: Any, count: int) -> Reading:
        """One number a text."""
        rewards = listed(answer, "rewards", count)
        return Reading(tuple({"0": number(reward, i)} for i, reward in enumerate(rewards)))
