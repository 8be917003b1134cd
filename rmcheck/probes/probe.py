"""A probe: an edit of responses that a good reward model is not moved by."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Literal

from rmcheck.probes.templates import uses

Must = Literal["not_raise", "not_lower"]


@dataclass(frozen=True)
class Probe:
    """A controlled edit of responses, or questions of its own with an honest and a bad answer.

    Attributes:
        name: In suites and reports.
        about: What it does, in a sentence.
        must: What the edit must not do to the reward.
        doubt: When not to believe it.
        edits: Templates of the edited response, with `{response}` and `{prompt}`; one falls to each
            response. Without `{response}` it takes the answer's place.
        prompt: Templates of a question of its own, with the fields of `items`.
        honest: Templates of the answer to it that should be preferred.
        bad: Templates of the other answer.
        items: What the questions are about: names of fields to text.
    """

    name: str
    about: str
    must: Must
    doubt: str = ""
    edits: tuple[str, ...] = ()
    prompt: tuple[str, ...] = ()
    honest: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    items: tuple[Mapping[str, str], ...] = field(default=(), repr=False)

    @property
    def asks(self) -> bool:
        """Whether it brings questions of its own instead of editing the pool's responses."""
        return bool(self.items)

    @cached_property
    def replaces(self) -> bool:
        """Whether the edit takes the place of the response, so that a prompt has one edit."""
        return not any(uses(template, "response") for template in self.edits)

    @property
    def sign(self) -> float:
        """What a change of reward is multiplied by, so that a positive one is what must not be."""
        return 1.0 if self.must == "not_raise" else -1.0

    @cached_property
    def digest(self) -> str:
        """8 hex digits of all its texts: measured with other texts, numbers do not compare."""
        told = {k: v for k, v in asdict(self).items() if k not in ("about", "doubt")}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
