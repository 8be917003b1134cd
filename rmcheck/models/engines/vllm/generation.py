"""vLLM as a language model: token ids in, log-probabilities out.

See `rmcheck.models.engines.vllm.engine`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rmcheck.models.checkpoint.causal import CausalCheckpoint
from rmcheck.models.engines.asked import Asked, Floats, Way, split
from rmcheck.models.engines.token_probabilities import TokenProbabilities
from rmcheck.models.engines.vllm.engine import VllmEngine
from rmcheck.models.engines.vllm.placement import Placement
from rmcheck.models.engines.vllm.served import Generated

# A seeded request whose prompt is read in several steps stops vLLM on a CPU, so that a prompt is
# read in one; this many tokens may then be read together, and no longer prompt can be.
_TOKENS_AT_ONCE = 8192
# What vLLM returns for one position; it shares the number between tokens asked for and likeliest.
MOST_TOKENS = 128


class VllmGenerator(VllmEngine, TokenProbabilities):
    """A loaded language model; see `VllmEngine`.

    Its `max_length` is that of a row with what is sampled after it.

    Attributes:
        vocabulary_size: Tokens that have a probability.
    """

    checkpoint: CausalCheckpoint

    def __init__(
        self,
        checkpoint: CausalCheckpoint,
        *,
        dtype: str,
        max_length: int | None,
        place: Placement,
        watched: bool = False,
        name: str = "",
    ) -> None:
        longest = max_length or checkpoint.model_length or _TOKENS_AT_ONCE
        super().__init__(
            checkpoint,
            dtype=dtype,
            max_length=max_length,
            place=place,
            watched=watched,
            name=name,
            runner="generate",
            enable_chunked_prefill=False,
            max_num_batched_tokens=max(_TOKENS_AT_ONCE, longest),
            max_logprobs=MOST_TOKENS,
            # Of the model as it is: before temperature, penalties and what a request allows.
            logprobs_mode="raw_logprobs",
            generation_config="vllm",
        )
        self.vocabulary_size = self.found.vocabulary_size
        self.reads_cache = True

    def generate(
        self, rows: Sequence[Sequence[int]], params: Sequence[Mapping[str, Any]]
    ) -> list[Generated]:
        """What vLLM answers to each row, in the order of the rows; see `ServedVllm.generate`.

        Raises:
            ScoringError: vLLM fails, which closes it, or answered to other rows than these.
            MemoryError: The device's memory does not suffice.
        """
        outputs: list[Generated] = self.answer("generate", rows, params)
        self.cached_tokens += sum(output.cached for output in outputs)
        return outputs

    def numbers(self, rows: Sequence[Asked], way: Way = "padded", **how: int) -> list[Floats]:
        """Log-probabilities in nats: of at most 128 `columns`, or of the tokens that stand there.

        Of `columns` each position is a request that ends there; of `chosen`, which are the tokens
        that follow the positions, a row is one request, which computes its whole prompt.

        Raises:
            ScoringError: vLLM fails, which closes it, or answered to other rows than these.
            MemoryError: The device's memory does not suffice.
        """
        columns = list(rows[0].columns)
        if not columns:
            return self._of_prompts(rows)
        ends = [row.ids[: at + 1] for row in rows for at in row.at]
        shown = self._shown(ends, logprob_token_ids=columns)
        found = [[one[token] for token in columns] for one in shown]
        # Rows of which nothing is read have numbers too: none.
        return split(np.array(found, dtype=float).reshape(-1, len(columns)), rows)

    def _of_prompts(self, rows: Sequence[Asked]) -> list[Floats]:
        params = {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0}
        outputs = self.generate([row.ids for row in rows], [params] * len(rows))
        # The first token has none, so that each stands at the position that it follows.
        return [one.prompt[list(row.at)] for one, row in zip(outputs, rows, strict=True)]

    def likeliest(self, rows: Sequence[Sequence[int]], count: int) -> list[list[tuple[int, float]]]:
        """The likeliest tokens after each row with their log-probabilities, likeliest first."""
        ranked = [
            sorted(shown.items(), key=lambda pair: -pair[1])
            for shown in self._shown(rows, logprobs=count)
        ]
        return [one[:count] for one in ranked]

    def _shown(self, rows: Sequence[Sequence[int]], **shown: Any) -> list[dict[int, float]]:
        shown |= {"skip_reading_prefix_cache": not self.reads_cache}
        params = {"max_tokens": 1, "temperature": 0.0, **shown}
        # Rows with a common beginning follow each other, while it is in the cache.
        order = sorted(range(len(rows)), key=lambda i: tuple(rows[i]))
        outputs = self.generate([rows[i] for i in order], [params] * len(rows))
        found = dict(zip(order, (one.first for one in outputs), strict=True))
        return [found[i] for i in range(len(rows))]
