"""How often a checkpoint that is as good as its baseline passes a check of the drop between them.

It is asked before a model is at hand. So both are assumed: golden plus normal errors, so large that
their rewards correlate `CORRELATION` with golden inside a prompt, with `COMMON` of the errors'
variance in common, as checkpoints of one run have.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rmcheck.checks.bounds import one_sided_bounds
from rmcheck.checks.designs import Quantity
from rmcheck.checks.measurement import Pending, Sampling, measured
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.stats.power import unit_sd
from rmcheck.stats.reach import Reach
from rmcheck.stats.student_t import influence_error
from rmcheck.stats.unseen import rule_of_three

CORRELATION = 0.7
COMMON = 0.5
ASSUMED = (
    f"two models that correlate {CORRELATION:g} with golden inside prompts and share half of their "
    "errors"
)


@dataclass(frozen=True, eq=False)
class Alike:
    """What the drop from one model to another as good as it will be.

    Attributes:
        error: Standard error of the drop on the pool, in the metric's units.
        confidence: Of the bound that must meet the check.
        reach: How far that bound is from the drop.
    """

    error: float
    units: int
    confidence: float
    reach: Reach

    def passes(self, max_drop: float) -> float:
        """Share of runs in which the upper bound of a drop of 0 is `max_drop` or less."""
        from scipy.special import ndtr

        spare = max_drop - self.reach.above(self.error, self.units, self.confidence)
        return float(ndtr(spare / self.error))

    def passed_by(self, share: float) -> float:
        """The `max_drop` that is passed in this share of the runs."""
        from scipy.special import ndtri

        distance = self.reach.above(self.error, self.units, self.confidence)
        return distance + float(ndtri(share)) * self.error


def two_alike(golden: Floats, spread: float, seed: int) -> tuple[Floats, Floats]:
    """(M,) rewards of the two assumed models, from (M,) golden ones and their spread."""
    rng = np.random.default_rng([seed, 2])
    size = spread * math.sqrt(1 / CORRELATION**2 - 1)
    shared = math.sqrt(COMMON) * rng.standard_normal(golden.size)

    def one() -> Floats:
        own = math.sqrt(1 - COMMON) * rng.standard_normal(golden.size)
        return np.asarray(golden + size * (shared + own))

    return one(), one()


def spread_inside(pool: Rewards) -> float:
    """Standard deviation of golden inside the prompts on which it is not constant; 0 for none."""
    found = [block.golden.var(axis=1, ddof=1) for block in pool.blocks(2)]
    varied = np.concatenate([np.zeros(0), *(part[part > 0] for part in found)])
    return math.sqrt(float(varied.mean())) if varied.size else 0.0


def alike(
    metric: Metric,
    models: tuple[Rewards, Rewards],
    *,
    where: Mapping[str, str],
    sampling: Sampling,
) -> Alike:
    """The drop between two models that are alike.

    Raises:
        UndefinedMetricError: The metric is undefined on these prompts, or they are too few.
    """
    subject = Quantity.of(metric, *models, where)
    influence, own = subject.influence(np.arange(len(models[0])))
    clusters = models[0].clusters[own]
    units = int(np.unique(clusters).size)
    if units < max(2, sampling.min_prompts):
        raise UndefinedMetricError(
            f"{units} independent prompts, fewer than {sampling.min_prompts}: nothing passes"
        )
    error = unit_sd(influence, clusters) / math.sqrt(own.size)
    if not error > 0:
        raise UndefinedMetricError("its drop does not vary between prompts")
    return Alike(error, units, sampling.confidence, reach_of(subject.found, sampling.confidence))


def reach_of(found: Pending, confidence: float) -> Reach:
    """How far the bounds of a value, or of its drop, will be from it.

    Sums of absolute values, and values bounded by the widest of several bounds, have no formula:
    their bounds on this pool are taken to come closer as standard errors do.
    """
    seen, totals = found.dissent, found.units.whole
    if found.metric.terms(totals) is not None or found.statistic.bounded_by():
        return _measured_reach(found, confidence)
    if seen is None:
        return Reach()
    value, units = float(found.statistic.value(totals)), found.seen.units
    rule = rule_of_three(found.statistic, totals, seen.missed, seen.rare, units=units)
    if seen.one_more is None:
        return Reach(rule=rule, value=value)
    moved = found.statistic.value(totals + seen.one_more) - value
    one_more = (units * max(0.0, -float(moved.min())), units * max(0.0, float(moved.max())))
    return Reach(one_more, rule, value)


def _measured_reach(found: Pending, confidence: float) -> Reach:
    error = influence_error(found.statistic, found.units.sums)
    if not error > 0:
        return Reach()
    distribution = measured([found])[0].distribution
    lower, upper = one_sided_bounds(distribution, found.value, confidence)
    return Reach(errors=((found.value - lower) / error, (upper - found.value) / error))
