"""One proof for all kinds: the ways to compute a row agree, alone and in company."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.model import ConformanceItem, Encoded, checked_rewards
from rmcheck.models.proof.conformance import (
    Proof,
    ProvableCheckpoint,
    TokenizerT,
    grafted,
    packed_agrees,
    tolerated,
)

if TYPE_CHECKING:
    from rmcheck.models.engines.torch.model import TorchModel


class CheckpointProof(Proof):
    """The checks that models in this process share, over the numbers of samples one at a time.

    A subclass reads what is compared (`_read`) and lists its checks.

    Args:
        model: Loaded.
        engines: Its weights: one model, or those whose numbers make one reward.
        encoded: Samples of the run; at most 8 of different lengths are scored.
        unit: Spread below which a tolerance shrinks no further.
    """

    # What is cut where a conversation is too long, and the word for what is compared.
    cut_texts: ClassVar[str] = "samples"
    numbers: ClassVar[str] = "rewards"
    _model: ProvableCheckpoint[Any]

    def __init__(
        self,
        model: ProvableCheckpoint[TokenizerT],
        engines: Sequence[Any],
        encoded: Sequence[Encoded],
        unit: float = 1.0,
    ) -> None:
        super().__init__(model, encoded)
        self._engines = engines
        self._parts = self._read_alone()
        self._alone = np.concatenate(self._parts)
        self._check(self._alone, self._samples)
        self._spread = float(self._alone.std())
        # A tolerance is a share of how far numbers lie apart, so a scaled head changes nothing;
        # below a spread of one unit it stays, since rounding does not shrink with the output.
        self._tolerance = tolerated(model.dtype) * max(unit, self._spread)

    @abstractmethod
    def _read(
        self, samples: Sequence[Encoded], way: Way = "padded", **how: int
    ) -> Sequence[Floats]:
        """(K,) numbers of each sample."""

    @abstractmethod
    def sharing(self) -> ConformanceItem:
        """Beginnings computed once for all rows that have them, against one row at a time."""

    def attention(self) -> ConformanceItem | None:
        """Which attention runs, where the engine says so."""
        return None

    def precision(self) -> ConformanceItem:
        """Type, that of the weights as stored, device and quantisation."""
        return self._precision()

    def batch_invariance(self) -> ConformanceItem:
        """A batch of one against a batch of many."""
        at = self._batch()
        alone = np.concatenate(self._parts[at])
        together = np.concatenate(self._read(self._samples[at]))
        self._check(together, self._samples[at])
        change = float(np.abs(together - alone).max())
        detail = (
            f"{len(self._samples[at])} samples alone and in one batch: {self.numbers} change by up "
            f"to {change:.2g} (allowed {self._tolerance:.2g}){self._flips(alone, together)}"
        )
        passed = change <= self._tolerance
        return ConformanceItem("batch_invariance", "pass" if passed else "fail", detail)

    def length(self) -> ConformanceItem:
        """The limit, and how many of these samples were cut."""
        limit, cut = self._model.max_length, sum(s.cut > 0 for s in self._samples)
        detail = f"at most {limit or 'any number of'} tokens"
        if cut:
            detail += f"; {cut} of {len(self._samples)} of these {self.cut_texts} were cut"
        return ConformanceItem("max_length", "note" if cut or limit is None else "pass", detail)

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
        checked_rewards(numbers, samples, self._model.spec)

    def _batch(self) -> slice:
        """The samples that are scored in one padded batch, for few tokens.

        Where prompts are shared all samples were in one packed row, and no batch is padded later:
        the shorter half. Elsewhere the shortest and the longest, where padding is largest.
        """
        count = len(self._samples)
        if self._shares_prefixes:
            return slice(0, max(2, count // 2))
        return slice(0, None, max(1, count - 1))

    def _flips(self, alone: Floats, together: Floats) -> str:
        return ""

    def _precision(self, more: str = "") -> ConformanceItem:
        checkpoints = [engine.checkpoint for engine in self._engines]
        dtype = self._model.dtype
        stored, quantised = ([c.dtype for c in checkpoints], [c.quantisation for c in checkpoints])
        detail = (
            f"{dtype} on {self._engines[0].device}, weights stored as {', '.join(stored)}, "
            f"quantisation {', '.join(quantised)}{more}"
        )
        exact = dtype == "float32" and set(quantised) == {"none"}
        return ConformanceItem("precision", "pass" if exact else "note", detail)


class TorchProof(CheckpointProof):
    """The checks of models that torch runs: padded rows, packed rows, and the kernel of both."""

    # Whose attention it is, for a message.
    of_attention: ClassVar[str] = "the model"
    _engines: Sequence["TorchModel"]

    def attention(self) -> ConformanceItem:
        """Which attention runs, and whether it drops soft-capping."""
        for engine in self._engines:
            if engine.checkpoint.soft_caps_attention and engine.attention != "eager":
                return ConformanceItem(
                    "attention",
                    "fail",
                    f"{self._of_attention(engine)} soft-caps attention and {engine.attention} "
                    "leaves that out; use attention=eager",
                )
        used = ", ".join(engine.attention + engine.rope.note for engine in self._engines)
        return ConformanceItem("attention", "pass", used)

    def sharing(self) -> ConformanceItem:
        """Prompts computed once for all of their responses, against one row at a time."""
        if not all(engine.is_decoder for engine in self._engines):
            return _shared("off: the model reads a text in both directions")
        if self._model.prefix == "off":
            return _shared("off, as prefix=off says")
        behind = grafted(self._samples, max(engine.window for engine in self._engines))
        alone = np.concatenate([self._alone, *self._one_by_one(behind)])
        rows = [*self._samples, *behind]
        together = partial(self._read, rows, "packed", least=1)
        agrees, said = packed_agrees(
            self.numbers, alone, lambda: np.concatenate(together()), len(rows), self._tolerance
        )
        if not agrees:
            return self._not_shared(said)
        self._shares_prefixes = True
        return _shared(f"a prompt is computed once for all of its responses; {said}")

    def _not_shared(self, why: str) -> ConformanceItem:
        if self._model.prefix == "shared":
            said = f"prefix=shared, but {why}; use prefix=off"
            return ConformanceItem("shared_prefix", "fail", said)
        return self._warned(
            "shared_prefix",
            f"prompts are not shared, every response is computed with its whole prompt: {why}",
        )

    def _of_attention(self, engine: "TorchModel") -> str:
        return self.of_attention


def _shared(detail: str) -> ConformanceItem:
    return ConformanceItem("shared_prefix", "pass", detail)
