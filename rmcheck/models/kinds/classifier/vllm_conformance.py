"""What a vLLM model must prove before its rewards count.

What does not depend on the engine (head, template, BOS, EOS, batches, length) is checked as for
`hf:`. The rest is vLLM's own: that it gives logits and no probabilities, which token it reads, and
that its prefix cache changes no reward.
"""

from collections.abc import Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING, Literal

import numpy as np

from rmcheck.models.engines.asked import Floats
from rmcheck.models.kinds.checkpoint_model import ClassifierModel
from rmcheck.models.kinds.classifier.conformance import ClassifierProof
from rmcheck.models.kinds.engine_session import TokensSession
from rmcheck.models.model import ConformanceItem
from rmcheck.models.sample import Encoded
from rmcheck.models.text.tokenization import ConversationTokenizer
from rmcheck.stats.functions import logistic

if TYPE_CHECKING:
    from rmcheck.models.engines.vllm.pooling import VllmPooling

# Rows that begin alike in the check of the prefix cache, and blocks of their common beginning.
_ROWS = 4
_SHARED_BLOCKS = 2


CacheRule = Literal["auto", "on", "off"]


class VllmProof(ClassifierProof):
    """The checks; the rewards one at a time come without the prefix cache."""

    _scorer: "VllmPooling"

    def __init__(
        self,
        session: "TokensSession[ClassifierModel, VllmPooling, ConversationTokenizer]",
        cache: CacheRule,
        encoded: Sequence[Encoded],
    ) -> None:
        session.scorer.reads_cache = False
        super().__init__(session, encoded)
        self._wanted = cache

    def _batch(self) -> slice:
        """All samples: vLLM pads nothing."""
        return slice(None)

    def position(self) -> ConformanceItem:
        """The token at which the reward is read, against the one transformers reads."""
        engine = self._scorer
        if not engine.reads_last_token:
            return ConformanceItem(
                "position", "pass", f"pooled by the model itself ({engine.pooling})"
            )
        rows = [s.ids for s in self._samples if engine.own_position(s.ids) != len(s.ids) - 1]
        if not rows:
            return ConformanceItem("position", "pass", "the last token, as transformers does")
        row = rows[0]
        theirs = engine.own_position(row)
        gap = np.abs(self._at_last(rows) - self._at_last([self._as_transformers(r) for r in rows]))
        detail = (
            f"{len(rows)} of {len(self._samples)} texts end with the padding token: their last "
            f"token is {self._token(row[-1])}, transformers reads at token {theirs} of {len(row)}, "
            f"{self._token(row[theirs])}; rewards differ by up to {gap.max():.3g}"
        )
        if engine.position != "auto":
            return ConformanceItem("position", "note", f"position={engine.position}: {detail}")
        return self._undecided(detail)

    def sharing(self) -> ConformanceItem:
        """Rewards of texts with a common beginning, with that beginning from the cache or not."""
        engine, wanted = self._scorer, self._wanted
        if wanted == "off":
            return ConformanceItem("prefix_cache", "pass", "off")
        if not engine.keeps_cache:
            return ConformanceItem(
                "prefix_cache", "note", f"off: vLLM has none for {engine.pooling} pooling"
            )
        rows = self._rows_that_begin_alike()
        if not rows:
            return ConformanceItem(
                "prefix_cache",
                "note",
                f"off: no common beginning fills a block of {engine.block_size} tokens in texts of "
                f"at most {engine.max_length}",
            )
        without = engine.rewards(rows)
        before = engine.cached_tokens
        engine.reads_cache = True
        change = float(np.abs(engine.rewards(rows) - without).max())
        cached = engine.cached_tokens - before
        detail = (
            f"{len(rows)} texts with a common beginning, {cached} of {sum(map(len, rows))} tokens "
            f"from the cache: rewards change by up to {change:.2g} (allowed {self._tolerance:.2g})"
        )
        if cached and change <= self._tolerance:
            self._shares_prefixes, self._prefix_block = True, engine.block_size
            return ConformanceItem("prefix_cache", "pass", f"on: {detail}")
        engine.reads_cache = False
        if wanted == "on":
            return ConformanceItem("prefix_cache", "fail", f"{detail}; use prefix_cache=off")
        return ConformanceItem("prefix_cache", "note", f"off, because the check failed: {detail}")

    def length(self) -> ConformanceItem:
        """The limit; with longrope it decides which factors vLLM turns short texts by."""
        limit, original = self._scorer.max_length, self._checkpoint.original_context
        if original is None or limit <= original:
            return super().length()
        return self._warned(
            "max_length",
            f"at most {limit} tokens, so vLLM turns all texts by longrope's long factors, and "
            f"transformers only those of more than {original}: shorter texts get other rewards "
            f"there. max_length={original} makes both alike",
        )

    def activation(self) -> ConformanceItem:
        """Raw logits, proven by what vLLM would answer by default."""
        at = int(np.abs(self._alone).argmin())
        row, types = self._samples[at].ids, [self._samples[at].type_ids]
        end = self._scorer.reward_position(row) + 1 if self._scorer.reads_last_token else None
        rows = [row[:end]]
        raw = self._scorer.logits(rows, types)[0]
        default = self._scorer.logits(rows, types, activated=True)[0]
        name, expected = ("sigmoid", logistic(raw)) if len(raw) == 1 else ("softmax", _softmax(raw))
        span = f"rewards from {self._alone.min():.3g} to {self._alone.max():.3g}"
        reward, answer = self._model.head.rewards(np.stack([raw, default]))
        detail = f"one text has {reward:.4g} without activation and {answer:.4g} with; {span}"
        rounding = 1e-3 if self._model.dtype == "float32" else 1e-2
        if np.allclose(default, expected, rtol=0, atol=rounding) and not np.array_equal(
            default, raw
        ):
            return ConformanceItem(
                "activation", "pass", f"raw logits, the {name} of which vLLM gives: {detail}"
            )
        outside = self._alone.min() < 0 or self._alone.max() > 1
        if np.array_equal(default, raw) and outside:
            return ConformanceItem(
                "activation", "pass", f"raw logits, the checkpoint states none: {detail}"
            )
        return ConformanceItem(
            "activation",
            "fail",
            f"{detail}: the second is neither the {name} of the first nor a logit of its own, so "
            "nothing shows that rewards are raw",
        )

    def _rows_that_begin_alike(self) -> list[tuple[int, ...]]:
        """Rows of real tokens with a common beginning of whole blocks; none if that cannot be."""
        engine = self._scorer
        block = engine.block_size
        shared = min(_SHARED_BLOCKS, (engine.max_length - 1) // block) * block
        longest = self._samples[-1].ids
        if not shared or len(longest) < 2:
            return []
        beginning = (longest[0], *islice(cycle(longest[1:]), shared - 1))
        endings = [s.ids[1:] or s.ids for s in self._samples[-_ROWS:]]
        room = engine.max_length - shared
        rows = [beginning + ending[-room:] for ending in endings]
        return rows if len(rows) > 1 else [*rows, beginning + longest[:1]]

    def _as_transformers(self, row: Sequence[int]) -> Sequence[int]:
        return row[: self._scorer.own_position(row) + 1]

    def _at_last(self, rows: Sequence[Sequence[int]]) -> Floats:
        """Rewards at the last token, whatever the `position` setting."""
        position = self._scorer.position
        self._scorer.position = "last"
        try:
            return self._scorer.rewards(rows)
        finally:
            self._scorer.position = position


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())
