"""Rewards that a family of models gives to the same responses: what every design works on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UsageError
from rmcheck.metrics.metric import Metric, require_finite
from rmcheck.metrics.rewards import Block, Floats, Ints, Rewards

# Rewards of a model that are looked at together: what is found of them stays in the cache.
PART_SIZE = 2**15


@dataclass(frozen=True, eq=False)
class RmFamily:
    """R models × P prompts × N responses, and which of the models judges which.

    Attributes:
        names: (R,) names of the models, each once.
        scores: (R, P, N) their rewards, higher is better.
        pairs: (Q, 2) golden and proxy of every pair, as positions among the models.
        categories: (P,) category of each prompt; the empty text without any.
        groups: (R,) what the models are grouped by, such as their base; the empty text without.
    """

    names: tuple[str, ...]
    scores: Floats
    pairs: Ints
    categories: NDArray[np.str_]
    groups: tuple[str, ...]

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        scores: Floats,
        *,
        golden: str | None = None,
        categories: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
    ) -> Self:
        """A family in which each model judges all others, or one judges them.

        Args:
            names: (R,) names.
            scores: (R, P, N) rewards.
            golden: The one that judges; None takes each in turn.
            categories: (P,) category of each prompt.
            groups: (R,) group of each model.

        Raises:
            UsageError: There are fewer than three pairs, or no model has the name of the golden.
        """
        count, prompts, _ = scores.shape
        if golden is not None and golden not in names:
            raise UsageError(f"no model of the family is named {golden!r}: {', '.join(names)}")
        judges = range(count) if golden is None else [list(names).index(golden)]
        pairs = [(g, m) for g in judges for m in range(count) if g != m]
        if count < 4:
            raise UsageError(
                f"a study needs 4 models or more, golden among them; there are {count}"
            )
        return cls(
            tuple(names),
            scores,
            np.array(pairs),
            np.asarray(categories if categories is not None else [""] * prompts, dtype=np.str_),
            tuple(groups if groups is not None else [""] * count),
        )

    @property
    def prompts(self) -> int:
        """P."""
        return int(self.scores.shape[1])

    @property
    def responses(self) -> int:
        """N, of every prompt."""
        return int(self.scores.shape[2])

    @cached_property
    def judged(self) -> tuple[int, ...]:
        """Positions of the models that are a proxy in some pair."""
        return tuple(np.unique(self.pairs[:, 1]).tolist())

    @property
    def fixed_golden(self) -> str:
        """Name of the golden that judges all pairs; empty where each model does in turn."""
        judges = np.unique(self.pairs[:, 0])
        return self.names[judges[0]] if judges.size == 1 else ""

    def rewards(self, golden: int, proxy: int) -> Rewards:
        """What one model says of another: the input of every metric."""
        return Rewards(
            proxy=self.scores[proxy].ravel(),
            golden=self.scores[golden].ravel(),
            offsets=np.arange(self.prompts + 1, dtype=np.int64) * self.responses,
            prompt_ids=_prompt_names(self.prompts),
            clusters=np.arange(self.prompts, dtype=np.int64),
        )

    def sums(self, metrics: Sequence[Sequence[Metric]]) -> Iterator[tuple[slice, int, int, Floats]]:
        """Sums of every prompt, some prompts after others, so that memory stays bounded.

        Of a part, all pairs share the arrays of their models: each is sorted once, not for every
        pair.

        Args:
            metrics: (Q, K) metrics of each pair, fitted.

        Yields:
            Which prompts, positions of pair and metric, and (p, …) the sums.
        """
        names = _prompt_names(self.prompts)
        size = max(1, PART_SIZE // self.responses)
        for first in range(0, self.prompts, size):
            part = slice(first, min(first + size, self.prompts))
            scores = [np.array(of_model[part], dtype=np.float64) for of_model in self.scores]
            for array in scores:
                array.flags.writeable = False
            rows = np.arange(part.start, part.stop)
            for q, (golden, proxy) in enumerate(self.pairs.tolist()):
                block = Block(rows, scores[proxy], scores[golden])
                for k, metric in enumerate(metrics[q]):
                    sums = metric.block_sums(block)
                    require_finite(metric, sums, block, names)
                    yield part, q, k, sums

    def chosen(self, responses: Ints) -> "RmFamily":
        """The family with some responses of each prompt.

        Args:
            responses: (P, k) their positions.
        """
        picked = np.take_along_axis(self.scores, responses[None], axis=2)
        return replace(self, scores=picked)

    def halves(self, seed: int) -> tuple["RmFamily", "RmFamily"]:
        """The responses of every prompt, cut at random into two halves.

        Metrics are measured on the one and best-of-n on the other, so that no response is in both.
        """
        rng = np.random.default_rng([seed, 1])
        order = rng.permuted(np.tile(np.arange(self.responses), (self.prompts, 1)), axis=1)
        half = self.responses // 2
        return self.chosen(order[:, :half]), self.chosen(order[:, half : 2 * half])


@lru_cache(maxsize=4)
def _prompt_names(count: int) -> NDArray[np.str_]:
    return np.arange(count).astype(np.str_)
