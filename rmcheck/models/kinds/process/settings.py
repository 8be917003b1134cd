"""The settings of `process:` that are texts, as a person writes them."""

import re
from collections.abc import Mapping

from rmcheck.errors import UsageError
from rmcheck.models.kinds.process.aggregation import AGGREGATES
from rmcheck.models.spec import ModelSpec

_ESCAPES = {r"\n": "\n", r"\r": "\r", r"\t": "\t", r"\\": "\\"}
_TEXTS = ("step", "tag", "between", "good", "bad")


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
