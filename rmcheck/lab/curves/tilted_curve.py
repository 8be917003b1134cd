"""What a KL-regularised policy on the pool would keep of golden's gain, over KL."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.lab.curves.curve import CAN_BE_KEPT, MeasuredCurve
from rmcheck.metrics.best_of_n import golden_gain_concerns
from rmcheck.metrics.matched_kl import (
    GOOD_ESS,
    MIN_ESS,
    MatchedKlRegret,
    ess_refusal,
    matched_ess,
    matched_sums,
)
from rmcheck.metrics.rewards import Block, Floats, Rewards
from rmcheck.metrics.tilting import Tilt, require_positive
from rmcheck.stats.simultaneous import band
from rmcheck.stats.units import MIN_UNITS, Units, few_units


@dataclass(frozen=True)
class TiltedPoint:
    """Policies at one KL divergence.

    Attributes:
        kl: Mean nats from the initial policy, the same for both policies.
        proxy_beta: KL coefficient of the policy against the proxy, with the proxy in units of its
            pooled within-prompt standard deviation.
        golden_beta: The same of the policy against golden.
        proxy_gain: What the proxy promises: its gain in its standard deviations.
        golden_gain: What golden gains under the policy against the proxy, in golden units.
        best_gain: The most that golden can gain at this KL.
        retained: `golden_gain` over `best_gain`. Higher is better; 1 − it is the regret.
        lower: Lower bound on `retained`, simultaneous over the curve.
        upper: Upper bound on it.
        ess: Mean effective sample size of the policy that has the smaller one.
        note: That gains are a little low, where the effective sample size is below 50.
    """

    kl: float
    proxy_beta: float
    golden_beta: float
    proxy_gain: float
    golden_gain: float
    best_gain: float
    retained: float
    lower: float
    upper: float
    ess: float
    note: str = ""


@dataclass(frozen=True)
class Refused:
    """A KL divergence at which the pool can say nothing.

    Attributes:
        kl: Nats.
        reason: Why.
    """

    kl: float
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class TiltedCurve(MeasuredCurve):
    """KL-regularised policies on a pool, over KL.

    Attributes:
        points: In ascending KL.
        refused: The others that were asked for.
    """

    points: tuple[TiltedPoint, ...]
    refused: tuple[Refused, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "points": [asdict(point) for point in self.points],
            "refused": [asdict(refused) for refused in self.refused],
            **self.about,
        }


def tilted_curve(
    rewards: Rewards,
    kls: Sequence[float],
    *,
    resamples: int = 2_000,
    seed: int = 0,
    confidence: float = 0.95,
    min_prompts: int = MIN_UNITS,
) -> TiltedCurve:
    """Policies optimised against proxy and golden at the same KL, for several KL.

    A KL that the pool cannot reach, or at which fewer than 20 responses carry the weight, is
    refused with its reason. Every resample steps to β of its own; see `MatchedKlRegret`.

    Args:
        rewards: Proxy and golden rewards of a pool.
        kls: Nats, above 0.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resampling.
        confidence: Level of each one-sided bound, in (0.5, 1).
        min_prompts: Fewest independent prompts on which anything is decided.

    Raises:
        UndefinedMetricError: There are not two independent prompts with two responses, or golden or
            proxy is constant inside every prompt.
        UsageError: A KL is not above 0, or there is none.
    """
    if not kls:
        raise UsageError("a tilted curve needs at least one KL")
    for kl in kls:
        require_positive("kl", kl)
    took_part = rewards.counts >= 2
    clusters = rewards.clusters[took_part]
    count = np.unique(clusters).size
    if count < 2:
        raise UndefinedMetricError(
            f"a curve needs 2 independent prompts with 2 responses; there is {count}"
        )
    solved = _Solver(rewards)
    found, refused = [], []
    for kl in sorted(set(kls)):
        try:
            found.append(solved.at(kl))
        except UndefinedMetricError as error:
            refused.append(Refused(kl, str(error)))
    concerns = few_units(count, min_prompts)
    points: tuple[TiltedPoint, ...] = ()
    if found:
        units = [Units.of(s.sums[took_part], clusters, rewards.units) for s in found]
        regret = [(MatchedKlRegret(s.kl), one) for s, one in zip(found, units, strict=True)]
        value = np.asarray([1 - metric.value(one.whole) for metric, one in regret])
        drawn = [1 - metric.value(one.resampled(resamples, seed)) for metric, one in regret]
        bounds = band(
            value, np.stack(drawn, axis=1), confidence, attainable=CAN_BE_KEPT, units=count
        )
        points = tuple(
            s.point(float(value[i]), float(bounds.lower[i]), float(bounds.upper[i]))
            for i, s in enumerate(found)
        )
        concerns += golden_gain_concerns(units[0].sums[:, 1], units[0].sums[:, 2])
    return TiltedCurve(
        points=points,
        refused=tuple(refused),
        prompts=int(took_part.sum()),
        left_out=int((~took_part).sum()),
        units=count,
        confidence=confidence,
        resamples=resamples,
        concerns=concerns,
    )


@dataclass(frozen=True)
class _Solved:
    """Both policies at one KL, and the sums of every prompt."""

    kl: float
    proxy_beta: float
    golden_beta: float
    proxy_sd: float
    sums: Floats

    def point(self, retained: float, lower: float, upper: float) -> TiltedPoint:
        mean = self.sums.sum(axis=0) / self.sums[:, 2].sum()
        ess = matched_ess(self.sums)
        return TiltedPoint(
            kl=self.kl,
            proxy_beta=self.proxy_beta,
            golden_beta=self.golden_beta,
            proxy_gain=float(mean[11]) / self.proxy_sd,
            golden_gain=float(mean[0]),
            best_gain=float(mean[1]),
            retained=retained,
            lower=lower,
            upper=upper,
            ess=ess,
            note=f"effective sample size {ess:.0f}, below {GOOD_ESS:g}" if ess < GOOD_ESS else "",
        )


class _Solver:
    """Solves one KL after another, each from where the last one was."""

    def __init__(self, rewards: Rewards) -> None:
        self._size = len(rewards)
        self._blocks: list[Block] = list(rewards.blocks(2))
        self._proxy = Tilt.of([block.proxy for block in self._blocks], "proxy")
        self._golden = Tilt.of([block.golden for block in self._blocks], "golden")
        self._last: tuple[float, float, float] | None = None

    def at(self, kl: float) -> _Solved:
        """Both policies at this KL.

        Raises:
            UndefinedMetricError: It is out of reach, or too few responses carry the weight.
        """
        starts: tuple[float | None, float | None] = (None, None)
        if self._last is not None:
            known, proxy, golden = self._last
            # β is nearly proportional to 1/√KL.
            starts = (proxy * math.sqrt(known / kl), golden * math.sqrt(known / kl))
        proxy_beta = self._proxy.beta_at_kl(kl, starts[0])
        golden_beta = self._golden.beta_at_kl(kl, starts[1])
        self._last = (kl, proxy_beta, golden_beta)
        sums = np.zeros((self._size, 12))
        for block in self._blocks:
            sums[block.rows] = matched_sums(
                block.proxy,
                block.golden,
                proxy_beta * self._proxy.sd,
                golden_beta * self._golden.sd,
            )
        ess = matched_ess(sums)
        if ess < MIN_ESS:
            raise UndefinedMetricError(f"KL {kl:g}: {ess_refusal(ess)}")
        return _Solved(kl, proxy_beta, golden_beta, self._proxy.sd, sums)
