"""Test sets drawn again and again: which prompts and which of their responses a metric sees.

Responses are drawn a few times for all prompts, and a test set takes for each of its prompts one
of these draws. So a metric sums each draw once, and its value on every test set is one product of
matrices.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from rmcheck.lab.study.family import RmFamily
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.rewards import Floats, Rewards

# Test sets in which each drawn row of responses stands, about.
SETS_PER_DRAW = 5


@dataclass(frozen=True, eq=False)
class Draws:
    """B test sets of a family.

    Attributes:
        family: D draws of k responses of each prompt, one draw after another: D·P prompts.
        weights: (B, D·P) how often each of these prompts is in each test set.
    """

    family: RmFamily
    weights: csr_array

    def values(self, *metrics: Metric) -> list[Floats]:
        """(B, Q) of each metric: every pair on every test set; NaN where it is undefined.

        Raises:
            UndefinedMetricError: A metric cannot be measured on so few responses.
        """
        pairs = (self.family.rewards(*pair) for pair in self.family.pairs.tolist())
        fitted = [[_fitted(metric, rewards) for metric in metrics] for rewards in pairs]
        weights = self.weights.tocsc()
        totals: dict[tuple[int, int], Floats] = {}
        for part, q, k, sums in self.family.sums(fitted):
            totals[k, q] = totals.get((k, q), 0.0) + weights[:, part] @ sums
        return [
            np.stack([each[k].value(totals[k, q]) for q, each in enumerate(fitted)], axis=1)
            for k in range(len(metrics))
        ]


def _fitted(metric: Metric, rewards: Rewards) -> Metric:
    metric.require(rewards)
    return metric.fitted(rewards)


def drawn(
    family: RmFamily,
    responses: int,
    *,
    sets: int,
    seed: tuple[int, ...],
    prompts: int | None = None,
) -> Draws:
    """Test sets with so many responses a prompt.

    Args:
        family: Where they are drawn from, without replacement inside a prompt.
        responses: k, at most those of the family.
        sets: B test sets.
        seed: Of all random choices.
        prompts: Prompts of each test set, without replacement; None draws all P with replacement.
    """
    rng = np.random.default_rng(seed)
    count = family.prompts
    needed = sets * (prompts or count) / (SETS_PER_DRAW * count)
    draws = 1 if responses == family.responses else max(1, round(needed))
    places = [_places(count, family.responses, responses, rng) for _ in range(draws)]
    parts = [family.chosen(place).scores for place in places]
    wide = RmFamily(
        family.names,
        np.concatenate(parts, axis=1),
        family.pairs,
        np.tile(family.categories, draws),
        family.groups,
    )
    rows = [_set(count, prompts, rng) for _ in range(sets)]
    chosen = np.concatenate([row + count * rng.integers(draws, size=row.size) for row in rows])
    sizes = [row.size for row in rows]
    where = np.repeat(np.arange(sets), sizes), chosen
    return Draws(wide, csr_array((np.ones(chosen.size), where), shape=(sets, count * draws)))


def _places(prompts: int, responses: int, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(P, k) which responses are drawn."""
    return np.argsort(rng.random((prompts, responses)), axis=1)[:, :k]


def _set(count: int, prompts: int | None, rng: np.random.Generator) -> NDArray[np.int64]:
    if prompts is None:
        return rng.integers(count, size=count)
    return rng.choice(count, size=prompts, replace=False)
