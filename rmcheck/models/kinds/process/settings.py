"""The settings of `process:`; those that are texts as a person writes them, with escapes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rmcheck.errors import UsageError
from rmcheck.models.kinds.checkpoint_settings import CheckpointSettings
from rmcheck.models.kinds.process.aggregation import AGGREGATES
from rmcheck.models.kinds.process.tokenizer import Join
from rmcheck.models.spec import ModelSpec

_ESCAPES = {r"\n": "\n", r"\r": "\r", r"\t": "\t", r"\\": "\\"}
_TEXTS = ("step", "tag", "between", "good", "bad")


@dataclass(frozen=True, kw_only=True)
class ProcessSettings(CheckpointSettings):
    """What a spec says of a process reward model.

    Attributes:
        aggregate: How the probabilities of steps become one.
        tag: What is written behind each step.
        step: What separates steps in a response.
        written_step: The same as it was written.
        between: What is written between a tag and the next step.
        join: How texts become tokens; empty for the kind's own way.
        good: Label or token of a right step; empty for the kind's own.
        bad: That of a wrong step.
    """

    aggregate: str
    tag: str
    step: str
    written_step: str
    between: str
    join: Join | Literal[""]
    good: str
    bad: str

    @classmethod
    def _values(cls, spec: ModelSpec, stated: Mapping[str, str]) -> dict[str, Any]:
        texts = checked_texts(spec, stated)
        return super()._values(spec, stated) | texts | {"written_step": stated["step"]}


def checked_texts(spec: ModelSpec, settings: Mapping[str, str]) -> dict[str, str]:
    """The settings that are texts, escapes resolved.

    Raises:
        UsageError: `aggregate` or `tag` is missing, or an escape is unknown; all are named.
    """
    problems, texts = [], {}
    if not settings["aggregate"]:
        listing = "".join(f"\n  {name:<8} {what}" for name, what in AGGREGATES.items())
        problems.append(
            "say how the probabilities of steps become one, aggregate=min|product|mean|last. The "
            f"reward is the log-odds of{listing}"
        )
    if not settings["tag"]:
        problems.append(
            "say what was written behind each step in training, such as tag=\\n for TRL's "
            "PRMTrainer, tag=<extra_0> for Qwen2.5-Math-PRM, or 'tag= ки' for Math-Shepherd"
        )
    for name in _TEXTS:
        unknown = sorted(set(re.findall(r"\\.?", settings[name])) - set(_ESCAPES))
        if unknown:
            problems.append(
                f"{name} holds {', '.join(unknown)}, which is no escape; those are "
                f"{', '.join(_ESCAPES)}"
            )
        texts[name] = re.sub(r"\\.", _unescaped, settings[name])
    if problems:
        raise UsageError(f"{spec.text}: " + "\n".join(problems))
    return texts


def _unescaped(found: "re.Match[str]") -> str:
    return _ESCAPES.get(found[0], found[0])
