"""What takes the place of torch's own checks where vLLM runs a language model."""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from rmcheck.models.engines.vllm.generation import VllmGenerator
from rmcheck.models.model import ConformanceItem
from rmcheck.models.proof.conformance import grafted
from rmcheck.models.proof.ways import CheckpointProof


class VllmWays(CheckpointProof):
    """Numbers without the prefix cache are the measure; with it they must be the same."""

    _engines: Sequence[VllmGenerator]

    def attention(self) -> None:
        """None: vLLM chooses it."""

    def own_forward(self) -> None:
        """None: vLLM has no other way to logits."""

    def sharing(self) -> ConformanceItem:
        """Beginnings from the cache, against all rows one at a time without it."""
        (engine,) = self._engines
        if not engine.keeps_cache:
            return ConformanceItem("prefix_cache", "note", "off: vLLM has none for this model")
        rows = [*self._samples, *grafted(self._samples)]
        behind = (self._read([one]) for one in rows[len(self._samples) :])
        alone = np.concatenate([self._alone, *chain.from_iterable(behind)])
        before = engine.cached_tokens
        engine.reads_cache = True
        change = float(np.abs(np.concatenate(self._read(rows)) - alone).max())
        cached = engine.cached_tokens - before
        detail = (
            f"{cached} tokens of {len(rows)} texts from the cache: "
            f"{self.numbers} change by up to {change:.2g} (allowed {self._tolerance:.2g})"
        )
        if cached and change <= self._tolerance:
            self._shares_prefixes, self._prefix_block = True, engine.block_size
            return ConformanceItem("prefix_cache", "pass", f"on: {detail}")
        engine.reads_cache = False
        if not cached:
            why = f"no common beginning fills a block of {engine.block_size} tokens"
            return ConformanceItem("prefix_cache", "note", f"off: {why}")
        return ConformanceItem("prefix_cache", "note", f"off, because the check failed: {detail}")
