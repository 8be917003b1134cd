"""Templates of edits: text with `{response}`, `{prompt}` and fields of items in it.

`{response|bullets}` is the response changed by a rewrite (`rmcheck.probes.rewrites`). A brace that
begins no placeholder is a brace.
"""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence

from rmcheck.config.source import did_you_mean
from rmcheck.probes.rewrites import REWRITES

_PLACE = re.compile(r"\{(\w+)(?:\|(\w+))?\}")


def filled(template: str, values: Mapping[str, str]) -> str:
    """The text that a template gives."""

    def value(found: re.Match[str]) -> str:
        name, rewrite = found.groups()
        return REWRITES[rewrite](values[name]) if rewrite else values[name]

    return _PLACE.sub(value, template)


def uses(template: str, name: str) -> bool:
    """Whether a template has a placeholder of this name."""
    return any(found == name for found, _ in _PLACE.findall(template))


def faults(template: str, names: Collection[str]) -> list[tuple[str, str]]:
    """What is wrong with a template whose placeholders may have these names, and what is valid."""
    wrong = []
    for name, rewrite in _PLACE.findall(template):
        if name not in names:
            message = f"unknown placeholder {name!r}{did_you_mean(name, names)}"
            wrong.append((message, f"Placeholders: {', '.join(f'{{{n}}}' for n in names)}."))
        if rewrite and rewrite not in REWRITES:
            message = f"unknown rewrite {rewrite!r}{did_you_mean(rewrite, REWRITES)}"
            wrong.append((message, f"Rewrites: {', '.join(REWRITES)}."))
    return wrong


def chosen(templates: Sequence[str], *about: str) -> str:
    """The template that falls to a text: always the same, and each as often as the others."""
    digest = hashlib.blake2b(digest_size=8)
    for text in about:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return templates[int.from_bytes(digest.digest(), "big") % len(templates)]
