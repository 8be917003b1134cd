"""The conformance page: what a model must prove before its rewards count.

Each check scores a few real samples in two ways that must agree, or states a convention. What
fails stops the run, because every reward of such a model would be wrong in the same silent way.
Here stand the page and the checks that several kinds of model share.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, Protocol

import numpy as np

from rmcheck.errors import ConformanceError
from rmcheck.models.checkpoint.settings import Dtype, PrefixRule
from rmcheck.models.model import ConformanceItem
from rmcheck.models.sample import Encoded

Status = Literal["pass", "fail", "note"]
Checks = tuple[Callable[[], ConformanceItem | tuple[ConformanceItem, ...] | None], ...]
# Enough lengths to see padding, few enough to cost one batch.
MOST_SAMPLES = 8
# Tokens of a row that is made up to share its beginning with others.
GRAFT = 512
# Largest change of a reward that is still rounding. float32: engines agree to 1e-5 on rewards of
# unit spread. bfloat16 and float16: 0.06 to 0.13 was seen on rewards of -6 to 6.
FLOAT32_TOLERANCE = 1e-3
HALF_TOLERANCE = 0.25
# Probability that the answers which are read should have together: below it a language model would
# rather say something else.
LEAST_MASS = 0.5


def tolerated(dtype: str) -> float:
    """How far rewards of unit spread may lie apart where only rounding differs."""
    return FLOAT32_TOLERANCE if dtype == "float32" else HALF_TOLERANCE


def require_passed(spec: str, items: Sequence[ConformanceItem]) -> None:
    """Refuse a model of which an item fails.

    Raises:
        ConformanceError: With the page.
    """
    failed = sum(item.status == "fail" for item in items)
    if failed:
        raise ConformanceError(
            f"{spec} failed {failed} of {len(items)} conformance checks; none of its "
            f"rewards is used\n\n{page(items)}"
        )


def page(items: Sequence[ConformanceItem]) -> str:
    """The items as lines of text, failures first."""
    order = {"fail": 0, "note": 1, "pass": 2}
    width = max((len(item.name) for item in items), default=0)
    ranked = sorted(items, key=lambda item: order[item.status])
    return "\n".join(f"  {item.status}  {item.name:<{width}}  {item.detail}" for item in ranked)


def grafted(samples: Sequence[Encoded], window: int = 0) -> list[Encoded]:
    """The longest sample's first tokens with others' last behind them, and with its own reversed.

    Rows of a proof need not share a prompt; three quarters of these are shared, and none is longer
    than the longest sample or than a few hundred tokens behind a window.

    Args:
        samples: From the shortest to the longest.
        window: Tokens that the model's attention sees where it slides.
    """
    longest = samples[-1]
    most = min(longest.length, GRAFT + 2 * window)
    shared = max(1, most * 3 // 4)
    reversed_ = replace(longest, ids=longest.ids[::-1], type_ids=longest.type_ids[::-1])
    found = []
    for other in (*samples[:-1][-2:], reversed_):
        behind = max(0, other.length - (most - shared))
        ids = longest.ids[:shared] + other.ids[behind:]
        types = longest.type_ids[:shared] + other.type_ids[behind:]
        found.append(replace(longest, ids=ids, type_ids=types, length=len(ids)))
    return found


def spread_of_lengths(encoded: Sequence[Encoded], most: int = MOST_SAMPLES) -> tuple[Encoded, ...]:
    """At most `most` different inputs, evenly spaced from the shortest to the longest."""
    different = sorted({e.key: e for e in encoded}.values(), key=lambda e: (e.length, e.key))
    if len(different) <= most:
        return tuple(different)
    at = np.linspace(0, len(different) - 1, most).round().astype(int)
    return tuple(different[i] for i in at)


class ProvableCheckpoint(Protocol):
    """What a proof asks of a model whose weights are a folder."""

    @property
    def spec(self) -> str:
        """The model as the user named it."""
        ...

    @property
    def template_source(self) -> str:
        """Where the chat template comes from."""
        ...

    @property
    def dtype(self) -> Dtype:
        """Type of weights and activations."""
        ...

    @property
    def prefix(self) -> PrefixRule:
        """The `prefix` setting."""
        ...
