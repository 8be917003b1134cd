"""The loop of every proof: numbers one at a time against the same in company and in other ways."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import numpy as np

from rmcheck.models.checkpoint.settings import PrefixRule
from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.model import ConformanceItem, Encoded, checked_rewards
from rmcheck.models.proof.conformance import Proof, Provable, Status, grafted, packed_agrees
from rmcheck.models.text.tokenization import ConversationTokenizer


class ComparedProof(Proof):
    """Numbers of samples one at a time, and checks that compare others with them.

    A subclass reads the numbers (`_read`) and lists its checks. A tolerance is a share of how far
    numbers lie apart, so that a scaled head changes nothing; below a spread of one unit it stays,
    since rounding does not shrink with the output.

    Args:
        spec: The model as the user named it.
        encoded: Samples of the run; at most 8 of different lengths are scored.
        share: Largest change by rounding, as a share of the spread.
        unit: Spread below which a tolerance shrinks no further.

    Raises:
        ScoringError: There are no samples, or a number is NaN or infinite.
        MemoryError: A sample does not fit.
    """

    # The words for what has numbers, for these, and for their unit.
    texts: ClassVar[str] = "samples"
    numbers: ClassVar[str] = "rewards"
    measure: ClassVar[str] = ""

    def __init__(
        self, spec: str, encoded: Sequence[Encoded], *, share: float, unit: float = 1.0
    ) -> None:
        super().__init__(spec, encoded)
        self._parts = self._read_alone()
        self._alone = np.concatenate(self._parts)
        self._check(self._alone, self._samples)
        self._spread = float(self._alone.std())
        self._unit = unit
        self._tolerance = self._allowed(share)

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

    def _packed(self, prefix: PrefixRule, window: int, once: str, whole: str) -> ConformanceItem:
        """Rows without padding, beginnings once, against one row at a time.

        Args:
            prefix: Whether that is wanted.
            window: Tokens that attention sees where it slides, 0 where it does not.
            once: What to say where they agree.
            whole: What to say where they do not, and rows are computed whole.
        """
        if prefix == "off":
            return ConformanceItem("shared_prefix", "pass", "off, as prefix=off says")
        behind = grafted(self._samples, window)
        alone = np.concatenate([self._alone, *self._one_by_one(behind)])
        rows = [*self._samples, *behind]
        together = partial(self._read, rows, "packed", least=1)
        agrees, said = packed_agrees(
            self.numbers, alone, lambda: np.concatenate(together()), len(rows), self._tolerance
        )
        if agrees:
            self._shares_prefixes = True
            return ConformanceItem("shared_prefix", "pass", f"{once}; {said}")
        if prefix == "shared":
            said = f"prefix=shared, but {said}; use prefix=off"
            return ConformanceItem("shared_prefix", "fail", said)
        return self._warned("shared_prefix", f"{whole}: {said}")

    def _allowed(self, share: float) -> float:
        return share * max(self._unit, self._spread)

    def _batch(self) -> slice:
        """The samples that are scored in one batch."""
        return slice(None)

    def _read_alone(self) -> Sequence[Floats]:
        """(K,) numbers of each sample, one at a time."""
        return self._one_by_one(self._samples)

    def _one_by_one(self, samples: Sequence[Encoded]) -> list[Floats]:
        return [self._read([sample])[0] for sample in samples]

    def _check(self, numbers: Floats, samples: Sequence[Encoded]) -> None:
        """Refuse numbers that are not finite.

        Raises:
            ScoringError: Some are NaN or infinite.
        """
        checked_rewards(numbers, samples, self._spec)


class TokensProof(ComparedProof):
    """Also what there is to say of conversations as token ids that are made here.

    Args:
        model: Loaded.
        encoded: Samples of the run; at most 8 of different lengths are scored.
        share: Largest change by rounding, as a share of the spread.
        unit: Spread below which a tolerance shrinks no further.
    """

    # What is cut where a conversation is too long, and what more there is to say of the limit.
    cut_texts: ClassVar[str] = "samples"
    limited: ClassVar[str] = ""

    def __init__(
        self,
        model: Provable[ConversationTokenizer],
        encoded: Sequence[Encoded],
        *,
        share: float,
        unit: float = 1.0,
    ) -> None:
        self._model = model
        super().__init__(model.spec, encoded, share=share, unit=unit)

    def template(self) -> ConformanceItem:
        """Where the conversation's form comes from, with the beginning of one text."""
        text = self._model.tokenizer.text(self._samples[0].ids[:40])
        return ConformanceItem(
            "template", "note", f"{self._model.template_source}; begins {text!r}"
        )

    def bos(self) -> ConformanceItem:
        """At most one BOS at the beginning; two are refused when encoding."""
        ids = self._samples[0].ids
        count = int(ids[0] == self._model.tokenizer.bos_id)
        return ConformanceItem(
            "bos", "pass", f"{count} at the beginning; first ids {list(ids[:4])}"
        )

    def _token(self, token: int) -> str:
        return f"{self._model.tokenizer.text([token])!r} (id {token})"

    def length(self) -> ConformanceItem:
        """The limit, and how many of these samples were cut."""
        limit, cut = self._model.max_length, sum(s.cut > 0 for s in self._samples)
        detail = f"at most {limit or 'any number of'} tokens{self.limited}"
        if cut:
            detail += f"; {cut} of {len(self._samples)} of these {self.cut_texts} were cut"
        return ConformanceItem("max_length", "note" if cut or limit is None else "pass", detail)
