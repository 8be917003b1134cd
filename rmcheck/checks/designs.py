"""How precise a metric is with other numbers of responses a prompt.

The standard error of a metric on P prompts is s / √P, where s is the spread of the prompts'
influences on it. With N responses a prompt s² = ω² + v(N): ω² is how much prompts differ and no
number of responses takes away; v(N) is the noise of the responses. Smaller N are measured on
random subsets of each prompt's responses, larger ones extrapolated.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.checks.measurement import Pending, Sampling, pending, pending_drop
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import Metric, per_prompt_sums
from rmcheck.metrics.rewards import Floats, Ints, Rewards
from rmcheck.stats.power import influences, unit_sd

# Random subsets of the responses over which s² is averaged.
SUBSETS = 16
# Share of the prompts that must have N responses for s to be measured at N.
MIN_SHARE = 0.5
# s² = ω² + v(N) has three unknowns; with fewer N nothing is extrapolated.
MIN_FITTED = 3
# Largest N that is extrapolated to, in multiples of the largest that was measured.
MAX_EXTRAPOLATION = 2


@dataclass(frozen=True, slots=True)
class PoolDesign:
    """N responses for every prompt.

    Attributes:
        responses: N.
        sd: Spread s of one prompt's influence, in the metric's units: the standard error on P
            prompts is s / √P.
        extrapolated: Whether s follows from the fit s² = ω² + v(N), not from responses of the pool.
    """

    responses: int
    sd: float
    extrapolated: bool = False

    @property
    def comparisons(self) -> float:
        """Comparisons a prompt that sort N responses; see `sorting_comparisons`."""
        return sorting_comparisons(self.responses)


def sorting_comparisons(n: int) -> float:
    """Expected comparisons with which merge sort orders n responses.

    C(n) = C(a) + C(b) + n − a / (b + 1) − b / (a + 1) with a = ⌊n / 2⌋ and b = n − a; no method
    needs fewer than log2 n! on average.

    Reference:
        Knuth 1998, The Art of Computer Programming 3, section 5.2.4, exercise 2.
    """
    if n < 2:
        return 0.0
    a = n // 2
    b = n - a
    return sorting_comparisons(a) + sorting_comparisons(b) + n - a / (b + 1) - b / (a + 1)


@dataclass(frozen=True, eq=False)
class Quantity:
    """What a design is judged by: a metric, or its paired drop, on the rewards of a pool.

    Bin edges and the way of measuring are fixed on the whole pool, so that every number of
    responses measures the same quantity.

    Attributes:
        metric: As it was asked for.
        found: The metric, or its drop, on the whole pool.
        parts: The fitted metric with the candidate's rewards, then with the baseline's if any.
        chosen: (P,) prompts that count.
    """

    metric: Metric
    found: Pending
    parts: tuple[tuple[Metric, Rewards], ...]
    chosen: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        metric: Metric,
        candidate: Rewards,
        baseline: Rewards | None,
        where: Mapping[str, str],
    ) -> Self:
        """Fit the metric on the pool, and take the prompts that match `where`.

        Raises:
            UndefinedMetricError: Nothing matches, or the metric is undefined on what does.
        """
        found = (
            pending(metric, candidate, where=where)
            if baseline is None
            else pending_drop(metric, candidate, baseline, where=where)
        )
        both = (candidate,) if baseline is None else (candidate, baseline)
        parts = tuple((metric.fitted(rewards), rewards) for rewards in both)
        return cls(metric, found, parts, candidate.matching(where))

    def influence(
        self, rows: Ints, order: Ints | None = None, responses: int | None = None
    ) -> tuple[Floats, Ints]:
        """Influences of the prompts among `rows` that take part, and which these are.

        With `responses`, each prompt has only as many, the first ones in `order`.

        Raises:
            UndefinedMetricError: The metric cannot be measured, or has no value.
        """
        found = []
        for metric, rewards in self.parts:
            taken = rewards
            if order is not None and responses is not None:
                take = order[(rewards.offsets[rows][:, None] + np.arange(responses)).ravel()]
                taken = rewards.taking(take, rows, np.full(rows.size, responses))
            sums, measured = per_prompt_sums(metric, taken)
            found.append(sums[:, : metric.value_columns])
        kept = np.flatnonzero(measured & self.chosen[rows])
        sums = np.hstack(found)[kept]
        values = influences(self.found.statistic, sums)
        if not np.isfinite(values).all():
            raise UndefinedMetricError(f"{self.metric.name} has no value on these responses")
        return values, rows[kept]


def measured_designs(
    pool: Quantity, own: Ints, sampling: Sampling, responses: Collection[int]
) -> list[PoolDesign]:
    """Every number of responses that enough prompts have and that the metric accepts, ascending."""
    rewards = pool.parts[0][1]
    counts = rewards.counts[own]
    enough = [n for n in sorted(responses) if np.mean(counts >= n) >= MIN_SHARE]
    variances: dict[int, list[float]] = {n: [] for n in enough}
    prompt = np.repeat(np.arange(len(rewards)), rewards.counts)
    rng = np.random.default_rng(sampling.seed)
    for _ in range(SUBSETS):
        # One order for all N: the smaller subset is part of the larger one, so that their
        # difference, which the fit needs, has less noise.
        order = np.argsort(prompt + rng.random(prompt.size))
        for n in enough:
            sd = _subset_sd(pool, own[counts >= n], order, n, sampling.min_prompts)
            if sd is not None:
                variances[n].append(sd**2)
    return [PoolDesign(n, math.sqrt(float(np.mean(v)))) for n, v in variances.items() if v]


def _subset_sd(
    pool: Quantity, rows: Ints, order: Ints, responses: int, min_prompts: int
) -> float | None:
    """The spread with so many responses; None where the metric has no value with them."""
    try:
        influence, took_part = pool.influence(rows, order, responses)
    except UndefinedMetricError:
        return None
    clusters = pool.parts[0][1].clusters[took_part]
    if np.unique(clusters).size < min_prompts:
        return None
    return unit_sd(influence, clusters)


@dataclass(frozen=True)
class VarianceFit:
    """How the spread s falls with the number of responses.

    s²(N) = ω² + 4 (N − 2) / (N (N − 1)) ζ1 + 2 / (N (N − 1)) ζ2, no parameter negative. It is exact
    for a mean over the pairs of a prompt's responses (accuracy, best-of-2), where ζ1 is the
    variance that a pair owes to one of its responses and ζ2 its whole variance inside the prompt
    (Hoeffding 1948, eq. 5.13); elsewhere it is a curve of the right shape.

    Attributes:
        parameters: (3,) ω², ζ1 and ζ2.
    """

    parameters: Floats

    @classmethod
    def of(cls, designs: Sequence[PoolDesign]) -> "VarianceFit | None":
        """The fit to measured designs by relative least squares; None where they are too few."""
        from scipy.optimize import nnls

        if len(designs) < MIN_FITTED or not all(design.sd > 0 for design in designs):
            return None
        variance = np.array([design.sd**2 for design in designs])
        basis = np.stack([_basis(design.responses) for design in designs])
        return cls(nnls(basis / variance[:, None], np.ones(variance.size))[0])

    @property
    def between(self) -> float:
        """ω: how much prompts differ, whatever the number of responses."""
        return math.sqrt(float(self.parameters[0]))

    def sd(self, responses: int) -> float:
        """The spread with so many responses."""
        return math.sqrt(float(_basis(responses) @ self.parameters))

    def extrapolated(
        self, measured: Sequence[PoolDesign], responses: Collection[int]
    ) -> list[PoolDesign]:
        """Designs with more responses than were measured, up to twice as many."""
        most = max(design.responses for design in measured)
        further = [n for n in sorted(responses) if most < n <= MAX_EXTRAPOLATION * most]
        return [PoolDesign(n, self.sd(n), extrapolated=True) for n in further]


def _basis(n: int) -> Floats:
    return np.array([1.0, 4 * (n - 2) / (n * (n - 1)), 2 / (n * (n - 1))])
