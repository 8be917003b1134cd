"""What difference a pool can see, and which prompts × responses would see a smaller one."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from rmcheck.checks.alike import reach_of
from rmcheck.checks.designs import PoolDesign, Quantity, VarianceFit, measured_designs
from rmcheck.checks.measurement import Sampling
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.rewards import Rewards
from rmcheck.stats.power import unit_sd, units_to_detect
from rmcheck.stats.reach import Reach

# Numbers of responses a prompt that are compared, beside the pool's own.
RESPONSES = (2, 3, 4, 5, 8, 10, 16, 20, 32)
# Spreads up to this, relative to the value, are rounding.
NO_SPREAD = 1e-12


@dataclass(frozen=True, slots=True)
class Spending:
    """A design with the number of prompts that a budget pays for.

    Attributes:
        design: Responses a prompt.
        prompts: Prompts the budget is enough for.
        sees: Smallest difference that these see, in the metric's units.
    """

    design: PoolDesign
    prompts: int
    sees: float


@dataclass(frozen=True)
class Power:
    """What a pool can see of one metric, or of its drop against a baseline.

    A difference is the distance between the true value and the bound of a check. "Sees" means: a
    true value this far on the good side passes, one this far on the bad side misses the bound,
    each with chance `power`. Holm's correction over a suite asks more of a fail. What bounds of
    best-of-n ratios allow for prompts that were not seen is counted.

    Attributes:
        value: The metric's value, or its drop.
        prompts: P, prompts measured.
        units: Independent units among them.
        fewest: Smallest number of responses of a measured prompt.
        most: Largest number of responses of a measured prompt.
        sd: Spread s of one prompt's influence with the pool's own responses.
        between: ω, the part of `sd` by which prompts differ, from the fit; None where there are
            too few numbers of responses to fit.
        designs: Numbers of responses that can be compared, ascending, the pool's own among them
            where all prompts have the same.
        concerns: Reasons not to decide anything on the value, whatever the number of prompts.
        note: How the value came about, where there is more than one way.
        limitation: Why there are no designs beyond the pool's own responses; empty if there are.
        confidence: Level of each bound.
        power: Chance of seeing a difference.
        min_prompts: Fewest independent prompts on which anything is decided.
        reach: How far bounds are from the value.
    """

    value: float
    prompts: int
    units: int
    fewest: int
    most: int
    sd: float
    between: float | None
    designs: tuple[PoolDesign, ...]
    concerns: tuple[str, ...]
    note: str
    limitation: str
    confidence: float
    power: float
    min_prompts: int
    reach: Reach = field(default_factory=Reach, compare=False, repr=False)

    @property
    def within(self) -> float | None:
        """The part of `sd` that is noise of the responses; None where `between` is."""
        if self.between is None:
            return None
        return math.sqrt(max(0.0, self.sd**2 - self.between**2))

    @property
    def sees(self) -> float:
        """Smallest difference that the pool sees as it is, in the metric's units."""
        return self._smallest(self.sd, self.prompts)

    @property
    def fewest_prompts(self) -> int:
        """Prompts on which anything is decided: `min_prompts` independent ones."""
        return math.ceil(self.min_prompts * self.prompts / self.units)

    def prompts_needed(self, difference: float, design: PoolDesign | None = None) -> int:
        """Prompts that see a difference, with this design or the pool's own responses.

        Never fewer than a check is decided on. Where prompts share clusters they are taken to do
        so as in the pool.
        """
        sd = design.sd if design else self.sd
        low = units_to_detect(difference, sd, confidence=self.confidence, power=self.power)
        high = low = max(low, self.fewest_prompts)
        while self._smallest(sd, high) > difference:  # bounds that allow for prompts not seen
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._smallest(sd, middle) > difference else (low, middle)
        return high

    def under_samples(self, responses: int) -> Spending | None:
        """The best design for a fixed number of sampled responses in all.

        None where the budget does not pay for `fewest_prompts` with any design.
        """
        return self._best(lambda design: responses / design.responses)

    def under_comparisons(self, comparisons: float) -> Spending | None:
        """The best design for a fixed number of pairwise annotations that sort the responses.

        None where the budget does not pay for `fewest_prompts` with any design.
        """
        return self._best(lambda design: comparisons / design.comparisons)

    def plan(self, design: PoolDesign, prompts: float) -> Spending | None:
        """What so many prompts see; None where they are fewer than `fewest_prompts`."""
        whole = math.floor(prompts + 1e-9)
        if whole < self.fewest_prompts:
            return None
        return Spending(design, whole, self._smallest(design.sd, whole))

    def _best(self, prompts: Callable[[PoolDesign], float]) -> Spending | None:
        plans = [self.plan(design, prompts(design)) for design in self.designs]
        return min((p for p in plans if p is not None), key=lambda p: p.sees, default=None)

    def _smallest(self, sd: float, prompts: int) -> float:
        error, units = sd / math.sqrt(prompts), prompts * self.units / self.prompts
        ends = (end(error, units, self.confidence) for end in (self.reach.below, self.reach.above))
        return max(ends) + NormalDist().inv_cdf(self.power) * error


def measure_power(
    metric: Metric,
    candidate: Rewards,
    baseline: Rewards | None = None,
    *,
    where: Mapping[str, str] | None = None,
    sampling: Sampling | None = None,
    power: float = 0.8,
    responses: Sequence[int] = RESPONSES,
) -> Power:
    """What a pool can see of a metric, and what other designs would see.

    Args:
        metric: What is measured. Its bin edges and its way of measuring are fixed on this pool.
        candidate: Rewards of the model under test.
        baseline: Rewards of another model on the same responses: then it is the paired drop that
            is looked at.
        where: Slice column to value.
        sampling: Confidence, seed of the subsets, and fewest prompts.
        power: Chance of seeing a difference, in (0.5, 1).
        responses: Numbers of responses to compare.

    Raises:
        UndefinedMetricError: There are fewer than `sampling.min_prompts` independent prompts, the
            metric is undefined on them, does not vary between them, or is `exact`.
    """
    if metric.exact:
        raise UndefinedMetricError(
            f"{metric.name} is a statement about the rows of its pool: more prompts would make it "
            "no surer"
        )
    sampling = sampling or Sampling()
    pool = Quantity.of(metric, candidate, baseline, where or {})
    influence, own = pool.influence(np.arange(len(candidate)))
    clusters = candidate.clusters[own]
    units = np.unique(clusters).size
    if units < sampling.min_prompts:
        raise UndefinedMetricError(
            f"{metric.name}: {units} independent prompts are too few to say how much they vary; "
            f"at least {sampling.min_prompts}"
        )
    sd = unit_sd(influence, clusters)
    if sd <= NO_SPREAD * max(1.0, abs(pool.found.value)):
        what = "its drop against this baseline" if baseline is not None else "it"
        raise UndefinedMetricError(
            f"{metric.name}: {what} does not vary between the {units} prompts, so they do not show "
            "how many would be enough"
        )
    counts = candidate.counts[own]
    fewest, most = int(counts.min()), int(counts.max())
    designs = [PoolDesign(most, sd)] if fewest == most else []
    if not metric.depends_on_n:
        others = {*responses, fewest, most} - {design.responses for design in designs}
        designs = sorted(
            [*measured_designs(pool, own, sampling, others), *designs], key=lambda d: d.responses
        )
    fit = VarianceFit.of(designs)
    return Power(
        value=pool.found.value,
        prompts=own.size,
        units=units,
        fewest=fewest,
        most=most,
        sd=sd,
        between=fit.between if fit else None,
        designs=(*designs, *(fit.extrapolated(designs, responses) if fit else ())),
        concerns=pool.found.concerns,
        note=pool.found.metric.note,
        limitation=_limitation(metric, designs, fit),
        confidence=sampling.confidence,
        power=power,
        min_prompts=sampling.min_prompts,
        reach=reach_of(pool.found, sampling.confidence),
    )


def _limitation(metric: Metric, designs: Sequence[PoolDesign], fit: VarianceFit | None) -> str:
    if metric.depends_on_n:
        return f"{metric.name} depends on the number of responses: with others its value differs"
    if fit is None:
        known = ", ".join(str(design.responses) for design in designs) or "none"
        return (
            f"measured at too few numbers of responses ({known}) to tell prompts from responses "
            "and to extrapolate"
        )
    return ""
