"""The loop of every proof: numbers one at a time against the same in company and in other ways."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from rmcheck.errors import ScoringError
from rmcheck.models.checkpoint.settings import PrefixRule
from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.libraries import brief
from rmcheck.models.model import ConformanceItem, Proven
from rmcheck.models.proof.conformance import (
    Checks,
    Status,
    grafted,
    require_passed,
    spread_of_lengths,
)
from rmcheck.models.sample import Encoded, checked_rewards
from rmcheck.models.text.tokenization import ConversationTokenizer


class Proof(ABC):
    """The checks of a page: numbers of samples one at a time, and others compared with them.

    A subclass reads the numbers (`_read`) and lists its checks. A tolerance is a share of how far
    numbers lie apart, so that a scaled head changes nothing; below a spread of one unit it stays,
    since rounding does not shrink with the output.

    Args:
        spec: The model as the user named it.
        encoded: Samples of the run; at most 8 of different lengths are scored.
        share: Largest change by rounding, as a share of the spread.
        unit: Spread below which a tolerance shrinks no further.

    Raises:
        ScoringError: There are no samples.
    """

    # The word before what the report says beside every number.
    warns: ClassVar[str] = "WARNING"
    # The words for what has numbers, for these, and for their unit.
    texts: ClassVar[str] = "samples"
    numbers: ClassVar[str] = "rewards"
    measure: ClassVar[str] = ""
    # What to say where beginnings are computed once, where they cannot be, and where there is no
    # way to: nothing.
    once: ClassVar[str] = ""
    whole: ClassVar[str] = ""
    unshared: ClassVar[str] = ""
    _prefix: PrefixRule = "off"

    def __init__(
        self, spec: str, encoded: Sequence[Encoded], *, share: float, unit: float = 1.0
    ) -> None:
        self._spec = spec
        self._samples: Sequence[Encoded] = spread_of_lengths(encoded)
        if not self._samples:
            raise ScoringError(f"{spec}: no samples to prove the model on")
        self._share, self._unit = share, unit
        self._shares_prefixes = False
        self._prefix_block = 1
        self._warnings: list[str] = []

    def proven(self) -> Proven:
        """All items, none of which is a `fail`, and what follows from them.

        Raises:
            ConformanceError: An item fails; the message is the page.
            ScoringError: A reward is NaN or infinite.
            MemoryError: A sample does not fit, or all of them in one batch; the caller tries fewer.
        """
        self._parts = self._read_alone()
        self._alone = np.concatenate(self._parts)
        self._check(self._alone, self._samples)
        self._spread = float(self._alone.std())
        self._tolerance = self._allowed(self._share)
        items: list[ConformanceItem] = []
        for check in self.checks():
            found = check() or ()
            items += found if isinstance(found, tuple) else (found,)
        require_passed(self._spec, items)
        warned = {"warning": "; ".join(self._warnings)} if self._warnings else {}
        return Proven(tuple(items), self._shares_prefixes, self._prefix_block, warned)

    @abstractmethod
    def checks(self) -> Checks:
        """In the order of the page; None where there is nothing to say."""

    @abstractmethod
    def _read(
        self, samples: Sequence[Encoded], way: Way = "padded", **how: int
    ) -> Sequence[Floats]:
        """(K,) numbers of each sample."""

    def batch_invariance(self) -> ConformanceItem:
        """A batch of one against a batch of many."""
        at = self._batch()
        samples, alone = self._samples[at], np.concatenate(self._parts[at])
        together = np.concatenate(self._read(samples))
        self._check(together, samples)
        return ConformanceItem("batch_invariance", *self._compared(alone, together, len(samples)))

    def _compared(self, alone: Floats, together: Floats, count: int) -> tuple[Status, str]:
        """What follows from the numbers of so many samples alone and in one batch."""
        change = float(np.abs(together - alone).max())
        return "pass" if change <= self._tolerance else "fail", (
            f"{count} {self.texts} alone and in one batch: {self.numbers} change by up to "
            f"{change:.2g}{self.measure} (allowed {self._tolerance:.2g})"
        )

    @property
    def _window(self) -> int | None:
        """Tokens that attention sees, 0 for all; None where rows are computed in one way only."""
        return None

    def sharing(self) -> ConformanceItem | None:
        """Rows without padding, beginnings once, against one row at a time."""
        if self._window is None:
            return (
                ConformanceItem("shared_prefix", "pass", self.unshared) if self.unshared else None
            )
        if self._prefix == "off":
            return ConformanceItem("shared_prefix", "pass", "off, as prefix=off says")
        behind = grafted(self._samples, self._window)
        alone, rows = [self._alone], [*self._samples, *behind]
        for one in behind:
            alone += self._read([one])
        try:
            together = np.concatenate(self._read(rows, "packed", least=1))
        except MemoryError:
            raise
        # An architecture may refuse the packed row in any way that its own code has.
        except Exception as error:
            return self._not_shared(f"it cannot be run packed ({brief(error)})")
        worst = float(np.abs(together - np.concatenate(alone)).max())
        if not worst <= self._tolerance:
            return self._not_shared(
                f"{self.numbers} with shared prompts differ from one by one by up to {worst:.3g} "
                f"(allowed {self._tolerance:.2g}) on {len(rows)} rows"
            )
        self._shares_prefixes = True
        said = f"on {len(rows)} rows {self.numbers} change by up to {worst:.2g}"
        return ConformanceItem(
            "shared_prefix", "pass", f"{self.once}; {said} (allowed {self._tolerance:.2g})"
        )

    def _not_shared(self, why: str) -> ConformanceItem:
        if self._prefix != "shared":
            return self._warned("shared_prefix", f"{self.whole}: {why}")
        detail = f"prefix=shared, but {why}; use prefix=off"
        return ConformanceItem("shared_prefix", "fail", detail)

    def _warned(self, name: str, warning: str) -> ConformanceItem:
        """An item that does not stop the run, and that the report says beside every number."""
        self._warnings.append(warning)
        return ConformanceItem(name, "note", f"{self.warns}: {warning}")

    def _allowed(self, share: float) -> float:
        return share * max(self._unit, self._spread)

    def _batch(self) -> slice:
        """The samples that are scored in one batch."""
        return slice(None)

    def _read_alone(self) -> Sequence[Floats]:
        """(K,) numbers of each sample, one at a time."""
        found: list[Floats] = []
        for sample in self._samples:
            found += self._read([sample])
        return found

    def _check(self, numbers: Floats, samples: Sequence[Encoded]) -> None:
        """Refuse numbers that are not finite.

        Raises:
            ScoringError: Some are NaN or infinite.
        """
        checked_rewards(numbers, samples, self._spec)


class TokensProof(Proof):
    """Also what there is to say of conversations as token ids that are made here."""

    # What is cut where a conversation is too long, and what more there is to say of the limit.
    cut_texts: ClassVar[str] = "samples"
    limited: ClassVar[str] = ""

    def __init__(
        self,
        spec: str,
        template: str,
        tokenizer: ConversationTokenizer,
        encoded: Sequence[Encoded],
        *,
        share: float,
        unit: float = 1.0,
    ) -> None:
        self._template, self._tokenizer = template, tokenizer
        super().__init__(spec, encoded, share=share, unit=unit)

    def template(self) -> ConformanceItem:
        """Where the conversation's form comes from, with the beginning of one text."""
        text = self._tokenizer.text(self._samples[0].ids[:40])
        return ConformanceItem("template", "note", f"{self._template}; begins {text!r}")

    def bos(self) -> ConformanceItem:
        """At most one BOS at the beginning; two are refused when encoding."""
        ids = self._samples[0].ids
        count = int(ids[0] == self._tokenizer.bos_id)
        return ConformanceItem(
            "bos", "pass", f"{count} at the beginning; first ids {list(ids[:4])}"
        )

    def _token(self, token: int) -> str:
        return f"{self._tokenizer.text([token])!r} (id {token})"

    def length(self) -> ConformanceItem:
        """The limit, and how many of these samples were cut."""
        limit, cut = self._tokenizer.max_length, sum(s.cut > 0 for s in self._samples)
        detail = f"at most {limit or 'any number of'} tokens{self.limited}"
        if cut:
            detail += f"; {cut} of {len(self._samples)} of these {self.cut_texts} were cut"
        return ConformanceItem("max_length", "note" if cut or limit is None else "pass", detail)
