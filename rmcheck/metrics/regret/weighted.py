"""Best-of-n from the scores of all responses and the labels of a few.

What the best of n by the proxy would be is known from the scores of all N responses: response j is
picked with probability w_j. Its golden reward is known only where it was drawn for a label, with
probability π_j, so each labelled response stands for 1 / π_j:

    gain(n) = mean_i Σ_labelled (w_j − 1/N) (g_j − m_j − rest) / π_j + Σ_all (w_j − 1/N) m_j

(Horvitz and Thompson 1952), unbiased for any shape of the proxy's errors. m_j is what the rank of a
response says about its golden reward, learnt from the labels of the other prompts; it carries what
is regular, so that the sampled part is only what is left (the difference estimator of Cassel,
Särndal and Wretman 1976, prediction-powered inference of Angelopoulos et al. 2023). `rest` is the
mean of g − m over the prompt's other labelled responses.

The nearer n is to N, the fewer labels stand behind the best of n: of 300 prompts with 5 labels of
64, some 23 have a label on the very best. The bounds are those of as many units (Kish's effective
number): Student's t with their degrees of freedom, and the rule of three, since 23 labels without a
fooled proxy do not say that it is never fooled.

What golden itself would gain is `rmcheck.metrics.regret.golden_gain`.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.best_of_n import (
    SELECTION,
    DropOf,
    DropRatio,
    golden_gain_concerns,
)
from rmcheck.metrics.metric import Invariance
from rmcheck.metrics.ratio import ratio, ratio_gradient
from rmcheck.metrics.regret.drawn_labels import Drawn
from rmcheck.metrics.regret.golden_gain import golden_gain
from rmcheck.metrics.rewards import Floats, Ints, Rewards
from rmcheck.stats.bootstrap import Statistic
from rmcheck.stats.unseen import Seen, Unseen

# Labelled responses, in effect, that must stand behind the best of n.
MIN_BEHIND = 15.0
# Labels drawn at random do not rank higher or lower than others by more standard errors than this.
MAX_RANK_Z = 4.0

# (P, 7) sums: the proxy's and golden's gain, 1, both at n = 2 among the labelled responses, how
# high the labelled responses rank, and golden's gain by its model alone.
GAIN, COUNT, PAIRS, RANK, MODELLED = 0, 2, 3, 5, 6


@dataclass(frozen=True)
class WeightedDrop(DropRatio):
    """Drop ratio of best-of-n where all responses are scored and some are labelled; see the module.

    Where the labels are too few to tell the drop from the one at n = 2, the value moves towards
    that (positive-part James-Stein); the bounds do not. Lower is better. Undefined where golden
    gains nothing.

    Args:
        n: Responses that the policy would draw; prompts with fewer are left out.
    """

    name = "weighted_drop"
    range = (-np.inf, np.inf)
    min_responses = 2  # two labels: one is measured from the other

    n: int
    pool: Rewards | None = field(default=None, init=False, repr=False, compare=False)
    mask: NDArray[np.bool_] | None = field(default=None, init=False, repr=False, compare=False)
    sums: Floats | None = field(default=None, init=False, repr=False, compare=False)
    error: float = field(default=0.0, init=False, compare=False)
    # Labelled responses, in effect, that the best of n is measured by.
    effective_units: float = field(default=0.0, init=False, compare=False)
    # How many labels of how many responses carry the value, and golden's model.
    note: str = field(default="", init=False, compare=False)

    @property
    def invariances(self) -> frozenset[Invariance]:  # type: ignore[override]
        """Not a shift of golden that differs between prompts: golden may have a ceiling."""
        return SELECTION - {"golden_shift"}

    def fitted(self, rewards: Rewards) -> Self:
        """This metric with its sums on these rewards.

        Raises:
            UndefinedMetricError: No response is without a label, or no prompt has n responses.
        """
        return self.localised(rewards, np.ones(len(rewards), dtype=bool))

    def localised(self, rewards: Rewards, mask: NDArray[np.bool_]) -> Self:
        if self.pool is rewards and self.mask is not None and np.array_equal(self.mask, mask):
            return self
        scored = rewards.scored
        if scored is None:
            raise UndefinedMetricError(
                f"{self.name} needs the scores of responses that have no label: keep them in the "
                "pool (rmcheck sample --design random)"
            )
        part = mask & (scored.counts >= self.n) & (rewards.counts >= self.min_responses)
        if not part.any():
            raise UndefinedMetricError(
                f"no prompt has {self.n} scored responses and two labels; the most responses are "
                f"{int(scored.counts.max(initial=0))}"
            )
        drawn = Drawn.of(rewards, scored, np.flatnonzero(part), self.n)
        best = golden_gain(drawn.labels(), self.n)
        sums = np.zeros((len(rewards), MODELLED + 1))
        pairs = drawn.pairs()
        sums[part] = np.column_stack(
            [
                drawn.gains(),
                best.per_prompt,
                np.ones(len(drawn.rows)),
                pairs,
                drawn.ranks(),
                best.modelled,
            ]
        )
        return self.fixed(
            pool=rewards,
            mask=mask,
            sums=sums,
            error=_error(sums[part], rewards.clusters[part]),
            effective_units=drawn.behind(),
            note=f"{drawn.note()}; {best.note}",
        )

    def per_prompt(self, proxy: Floats, golden: Floats) -> Floats:
        """Nothing is known from labelled responses alone.

        Raises:
            UndefinedMetricError: Always.
        """
        raise UndefinedMetricError(f"{self.name} must first see the pool: call fitted(rewards)")

    def whole_sums(self, rewards: Rewards) -> tuple[Floats, NDArray[np.bool_]]:
        """(P, 7) sums of all prompts, and which were measured.

        Raises:
            UndefinedMetricError: The metric was fitted on other rewards.
        """
        if self.sums is None or self.pool is not rewards:
            raise UndefinedMetricError(f"{self.name} must first see the pool: call fitted(rewards)")
        return self.sums, self.sums[:, COUNT] > 0

    def value(self, sums: Floats) -> Floats:
        """1 − the kept share, moved towards the one at n = 2 as far as the labels are too few."""
        kept = ratio(sums[..., GAIN], sums[..., GAIN + 1])
        if not self.error:
            return 1 - kept
        plain = ratio(sums[..., PAIRS], sums[..., PAIRS + 1])
        apart = kept - plain
        safe = np.where(apart == 0, 1.0, apart)
        shrunk = np.where(np.abs(apart) > self.error, apart - self.error**2 / safe, 0.0)
        return 1 - plain - shrunk

    def gradient(self, sums: Floats) -> Floats:
        kept = ratio(sums[..., GAIN], sums[..., GAIN + 1])
        plain = ratio(sums[..., PAIRS], sums[..., PAIRS + 1])
        apart = kept - plain
        safe = np.where(apart == 0, 1.0, apart)
        slope = np.where(np.abs(apart) > self.error, 1 + (self.error / safe) ** 2, 0.0)
        slope = np.ones_like(slope) if not self.error else slope
        out = np.zeros_like(sums)
        for at, share in ((GAIN, slope), (PAIRS, 1 - slope)):
            part = ratio_gradient(sums[..., at : at + 2], sign=-1.0)
            out[..., at : at + 2] = np.where(share[..., None] == 0, 0.0, share[..., None] * part)
        return out

    def bounded_by(self) -> tuple[Statistic, ...]:
        """The drop without any move, by either of two answers to what golden itself would gain."""
        return (DropOf(GAIN, GAIN + 1), DropOf(GAIN, MODELLED))

    def unseen(self, seen: Seen) -> Unseen:
        """Units on which the proxy chooses against golden, or as golden does."""
        own, modelled = seen.mean[GAIN + 1], seen.mean[MODELLED]
        rows = np.zeros((2, MODELLED + 1))
        rows[:, GAIN] = -own, own
        rows[:, [GAIN + 1, COUNT, MODELLED]] = own, 1.0, modelled
        return Unseen(rows, rows, rows, rows)

    def concerns(self, sums: Floats) -> tuple[str, ...]:
        """Golden gains nothing, few labels behind the best, or labels that were not random."""
        found = golden_gain_concerns(sums[:, GAIN + 1], sums[:, COUNT], self.min_golden_gain)
        if (behind := self.effective_units) < MIN_BEHIND:
            found += (
                f"{behind:.0f} labelled responses, in effect, stand behind the best of "
                f"{self.n}, fewer than {MIN_BEHIND:.0f}: label more prompts, or what the model "
                "would pick (rmcheck sample --design weighted)",
            )
        spread = float(np.sqrt(np.sum(sums[:, RANK] ** 2)))
        z = float(sums[:, RANK].sum()) / spread if spread else 0.0
        if abs(z) > MAX_RANK_Z:
            found += (
                f"the labelled responses rank {'higher' if z > 0 else 'lower'} than responses "
                f"drawn as the pool says ({abs(z):.1f} standard errors): they do not stand for "
                "the others",
            )
        return found

    def facts(self, sums: Floats) -> dict[str, float]:
        """Gains in golden units, and how many labels stand behind the best of n."""
        return {
            **super().facts(sums[[GAIN, GAIN + 1, COUNT]]),
            "labels_behind_best": self.effective_units,
        }


def _error(sums: Floats, clusters: Ints) -> float:
    """Standard error of the kept share less the one at n = 2; 0 where that is not known."""
    if not sums[:, PAIRS + 1].any():
        return 0.0
    totals = sums.sum(axis=0)
    slope = np.zeros_like(totals)
    for at, sign in ((GAIN, 1.0), (PAIRS, -1.0)):
        slope[at : at + 2] = ratio_gradient(totals[at : at + 2], sign=sign)
    units = np.bincount(clusters, sums @ slope)
    found = float(np.sqrt(np.sum(units**2)))
    return found if np.isfinite(found) else 0.0
