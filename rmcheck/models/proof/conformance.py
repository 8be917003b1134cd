"""The conformance page: what a model must prove before its rewards count.

Each check scores a few real samples in two ways that must agree, or states a convention. What
fails stops the run, because every reward of such a model would be wrong in the same silent way.
Here stand the page and the checks that several kinds of model share.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ConformanceError, ScoringError
from rmcheck.models.checkpoint.settings import Dtype, PrefixRule
from rmcheck.models.libraries import brief
from rmcheck.models.model import ConformanceItem, Encoded

if TYPE_CHECKING:
    from rmcheck.models.text.tokenization import ConversationTokenizer

TokenizerT = TypeVar("TokenizerT", bound="ConversationTokenizer", covariant=True)
Floats = NDArray[np.float64]
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


@dataclass(frozen=True)
class Proven:
    """What a proof found.

    Attributes:
        items: The conformance page.
        shares_prefixes: Whether rewards with shared prompts agree with rewards one by one.
        warning: What a reader of the rewards must know; empty if nothing.
    """

    items: tuple[ConformanceItem, ...]
    shares_prefixes: bool
    warning: str = ""


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


def packed_agrees(
    what: str, alone: Floats, together: Callable[[], Floats], rows: int, allowed: float
) -> tuple[bool, str]:
    """Whether a packed row gives the numbers of its rows one at a time, and what to say of it.

    Args:
        what: The word for these numbers, such as `rewards`.
        alone: (K,) numbers of the rows, one row at a time.
        together: The same numbers of one packed row.
        rows: How many rows.
        allowed: Largest change.

    Raises:
        MemoryError: They do not fit together.
    """
    try:
        shared = together()
    except MemoryError:
        raise
    # An architecture may refuse the packed row in any way that its own code has.
    except Exception as error:
        return False, f"it cannot be run packed ({brief(error)})"
    worst = float(np.abs(shared - alone).max())
    if worst <= allowed:
        said = f"on {rows} rows {what} change by up to {worst:.2g} (allowed {allowed:.2g})"
        return True, said
    return False, (
        f"{what} with shared prompts differ from one by one by up to {worst:.3g} (allowed "
        f"{allowed:.2g}) on {rows} rows"
    )


def spread_of_lengths(encoded: Sequence[Encoded], most: int = MOST_SAMPLES) -> tuple[Encoded, ...]:
    """At most `most` different inputs, evenly spaced from the shortest to the longest."""
    different = sorted({e.key: e for e in encoded}.values(), key=lambda e: (e.length, e.key))
    if len(different) <= most:
        return tuple(different)
    at = np.linspace(0, len(different) - 1, most).round().astype(int)
    return tuple(different[i] for i in at)


class Provable(Protocol[TokenizerT]):
    """What a proof asks of every model that reads token ids made here."""

    @property
    def spec(self) -> str:
        """The model as the user named it."""
        ...

    @property
    def tokenizer(self) -> TokenizerT:
        """The loaded tokenizer."""
        ...

    @property
    def template_source(self) -> str:
        """Where the chat template comes from."""
        ...

    @property
    def max_length(self) -> int | None:
        """Most tokens of a conversation."""
        ...


class ProvableCheckpoint(Provable[TokenizerT], Protocol[TokenizerT]):
    """What a proof asks of a model in this process."""

    @property
    def dtype(self) -> Dtype:
        """Type of weights and activations."""
        ...

    @property
    def prefix(self) -> PrefixRule:
        """The `prefix` setting."""
        ...


class Proof(ABC):
    """The checks of a page, over samples of different lengths.

    Args:
        spec: The model as the user named it.
        encoded: Samples of the run; at most 8 of different lengths are scored.

    Raises:
        ScoringError: There are no samples, or a reward is NaN or infinite.
        MemoryError: A sample does not fit.
    """

    # The word before what the report says beside every number.
    warns: ClassVar[str] = "WARNING"

    def __init__(self, spec: str, encoded: Sequence[Encoded]) -> None:
        self._spec = spec
        self._samples: Sequence[Encoded] = spread_of_lengths(encoded)
        if not self._samples:
            raise ScoringError(f"{spec}: no samples to prove the model on")
        self._shares_prefixes = False
        self._warnings: list[str] = []

    @abstractmethod
    def checks(self) -> Checks:
        """In the order of the page; None where there is nothing to say."""

    def proven(self) -> Proven:
        """All items, none of which is a `fail`, and what follows from them.

        Raises:
            ConformanceError: An item fails; the message is the page.
            ScoringError: A reward is NaN or infinite.
            MemoryError: The samples do not fit in one batch; the caller tries fewer.
        """
        items: list[ConformanceItem] = []
        for check in self.checks():
            found = check() or ()
            items += found if isinstance(found, tuple) else (found,)
        require_passed(self._spec, items)
        return Proven(tuple(items), self._shares_prefixes, "; ".join(self._warnings))

    def _warned(self, name: str, warning: str) -> ConformanceItem:
        """An item that does not stop the run, and that the report says beside every number."""
        self._warnings.append(warning)
        return ConformanceItem(name, "note", f"{self.warns}: {warning}")
