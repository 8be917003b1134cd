"""What best-of-n against the proxy keeps of golden's gain, over n, with bands.

All bands come from one matrix of bootstrap weights over independent prompts. Those of one curve
are simultaneous: with the stated confidence the truth is above every lower bound of the curve, and
with the same confidence below every upper one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.best_of_n import bon_kl, golden_gain_concerns
from rmcheck.metrics.bon_curve import BonCurve, bits, largest_n, n_grid
from rmcheck.metrics.overoptimization import fit_gao, gamma_of, n_at_kl
from rmcheck.metrics.ratio import ratio
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.stats.simultaneous import Band, LargestMean, band, largest_mean
from rmcheck.stats.units import MIN_UNITS, Units, few_units
from rmcheck.wording import finite

# Shares of golden's gain: all prompts lost or kept, where golden is symmetric.
CAN_BE_LOST = (0.0, 2.0)
CAN_BE_KEPT = (-1.0, 1.0)


@dataclass(frozen=True)
class CurveInterval:
    """A number with percentile bounds, each one-sided at the confidence of its curve.

    Attributes:
        value: The number; infinite for a peak that is not there, NaN where it is undefined.
        lower: Lower bound.
        upper: Upper bound.
        undefined: Share of the resamples in which it has no value; they are in neither bound.
    """

    value: float
    lower: float
    upper: float
    undefined: float = 0.0


@dataclass(frozen=True)
class Peak:
    """Gao's form d (α − β d) fitted to golden's gain over d = √KL, and where it turns down.

    Attributes:
        alpha: Initial slope, in golden units per √nat.
        beta: How strongly it bends; at 0 or below there is no peak.
        kl: Nats at the peak; infinite where there is none.
        n: n at the peak.
        gain: Golden gain at the peak.
        without_peak: Share of the resamples in which β ≤ 0.
    """

    alpha: CurveInterval
    beta: CurveInterval
    kl: CurveInterval
    n: CurveInterval
    gain: CurveInterval
    without_peak: float


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredCurve:
    """How a curve was measured.

    Attributes:
        prompts: Prompts that contribute, the same everywhere on it.
        left_out: Prompts with too few responses.
        units: Independent prompts (clusters) among those that contribute.
        confidence: Level of each one-sided bound.
        resamples: Number of bootstrap resamples.
        concerns: Reasons not to decide anything on it; empty if it can be trusted.
    """

    prompts: int
    left_out: int
    units: int
    confidence: float
    resamples: int
    concerns: tuple[str, ...]

    @property
    def about(self) -> dict[str, Any]:
        """The same as plain data."""
        return {field.name: getattr(self, field.name) for field in fields(MeasuredCurve)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve(MeasuredCurve):
    """Best-of-n over a grid of n.

    Attributes:
        n: (G,) values of n.
        kl: (G,) nats from the policy, ln n − (n − 1) / n: exact without ties, else a bound.
        kl_pool: (G,) nats of best-of-n over the distinct rewards of the pool; ties make it smaller.
        golden: Golden gain of the proxy's choice, in golden units. Higher is better.
        best: Golden gain of golden's own choice.
        proxy: Proxy gain of the proxy's choice, in proxy units.
        ndr: Share of golden's gain that is kept, higher is better; NaN at n = 1, where nothing is
            chosen.
        drop: Share that is lost, 1 − `ndr`. Lower is better.
        fit: Gao's form and its peak.
        past_peak: Model-free test whether golden at the largest n is below golden at some smaller
            n; its `index` is that of n.
        gamma: Area between golden and proxy over the area below golden, both in standard
            deviations. Lower is better; NaN where golden has no area.
    """

    n: tuple[int, ...]
    kl: Floats
    kl_pool: Floats
    golden: Band
    best: Band
    proxy: Band
    ndr: Band
    drop: Band
    fit: Peak
    past_peak: LargestMean
    gamma: CurveInterval

    def rows(self) -> list[dict[str, Any]]:
        """One row of plain numbers for each n; None where a number is undefined."""
        columns: dict[str, Sequence[float] | Floats] = {
            "n": self.n,
            "kl_nats": self.kl,
            "kl_bits": bits(self.kl),
            "kl_pool_nats": self.kl_pool,
        }
        for name in ("golden", "best", "proxy", "ndr", "drop"):
            columns |= band_columns(name, getattr(self, name))
        return rows_of(columns)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a number that is not finite is None."""
        test = self.past_peak
        found: dict[str, Any] = finite(
            {
                "points": self.rows(),
                "fit": asdict(self.fit),
                "past_peak": {
                    "p_value": test.p_value,
                    "statistic": test.statistic,
                    "n": self.n[test.index],
                    "golden_lost_at_least": test.lower,
                },
                "gamma": asdict(self.gamma),
                **self.about,
            }
        )
        return found


def band_columns(name: str, band: Band) -> dict[str, Sequence[float] | Floats]:
    """The numbers of a band as three columns."""
    return {name: band.values, f"{name}_lower": band.lower, f"{name}_upper": band.upper}


def rows_of(columns: Mapping[str, Sequence[float] | Floats]) -> list[dict[str, Any]]:
    """A row of plain numbers for each place; None where one is undefined."""
    rows = zip(*(np.asarray(column).tolist() for column in columns.values()), strict=True)
    return [finite(dict(zip(columns, row, strict=True))) for row in rows]


def best_of_n_curve(
    rewards: Rewards,
    *,
    grid: Sequence[int] | None = None,
    resamples: int = 2_000,
    seed: int = 0,
    confidence: float = 0.95,
    min_prompts: int = MIN_UNITS,
) -> Curve:
    """Golden and proxy gain, what is kept and what is lost, for every n of a grid.

    Args:
        rewards: Proxy and golden rewards of a pool.
        grid: Values of n, at least two above 1; by default about 16 up to what nine prompts in ten
            have. Prompts with fewer responses than the largest are left out of every n.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resampling.
        confidence: Level of each one-sided bound, in (0.5, 1).
        min_prompts: Fewest independent prompts on which anything is decided.

    Raises:
        UndefinedMetricError: Too few prompts or responses, or golden or proxy is constant inside
            every prompt.
        UsageError: The grid is not one.
    """
    curve = BonCurve(tuple(grid) if grid is not None else n_grid(largest_n(rewards)))
    if sum(n > 1 for n in curve.grid) < 2:
        way_out = "give two n above 1" if grid is not None else "prompts need 3 responses or more"
        raise UsageError(
            f"a curve over n = {', '.join(map(str, curve.grid))} has no shape; {way_out}"
        )
    sums, took_part = curve.sums(rewards)
    units = Units.of(sums[took_part], rewards.clusters[took_part], rewards.units)
    rows, whole = units.sums, units.whole
    _require_spread(curve, whole, len(units))
    totals = units.resampled(resamples, seed)
    kl = np.asarray([bon_kl(n) for n in curve.grid])

    def drawn(
        read: Callable[[Floats], Floats], attainable: tuple[float, float] | None = None
    ) -> Band:
        found = read(whole), read(totals)
        return band(*found, confidence, attainable=attainable, units=len(rows))

    gains = rows[:, : len(curve.grid)]
    falls = (gains - gains[:, -1:])[:, :-1] / rows[:, -1:].mean()
    golden, best = curve.golden_gain(totals), rows[:, 2 * len(curve.grid) - 1]
    gamma = _gamma(curve, kl, whole), _gamma(curve, kl, totals)
    return Curve(
        n=curve.grid,
        kl=kl,
        kl_pool=curve.kl(whole),
        golden=drawn(curve.golden_gain),
        best=drawn(curve.best_gain),
        proxy=drawn(curve.proxy_gain),
        ndr=drawn(curve.ndr, CAN_BE_KEPT),
        drop=drawn(curve.drop, CAN_BE_LOST),
        fit=_peak(kl, curve.golden_gain(whole), golden, confidence),
        past_peak=largest_mean(falls, resamples=resamples, seed=seed, confidence=confidence),
        gamma=_interval(*gamma, confidence),
        prompts=int(took_part.sum()),
        left_out=int((~took_part).sum()),
        units=len(rows),
        confidence=confidence,
        resamples=resamples,
        concerns=few_units(len(units), min_prompts) + golden_gain_concerns(best, rows[:, -1]),
    )


def _require_spread(curve: BonCurve, whole: Floats, units: int) -> None:
    if units < 2:
        raise UndefinedMetricError(
            f"a curve needs 2 independent prompts with {curve.most} responses; there is {units}"
        )
    for name, sd in (("proxy", curve.proxy_sd(whole)), ("golden", curve.golden_sd(whole))):
        if not sd > 0:
            raise UndefinedMetricError(
                f"the {name} rewards of every prompt are equal: no choice can gain anything by them"
            )


def _gamma(curve: BonCurve, kl: Floats, totals: Floats) -> Floats:
    chosen = kl > 0
    golden = ratio(curve.golden_gain(totals), curve.golden_sd(totals)[..., None])[..., chosen]
    proxy = ratio(curve.proxy_gain(totals), curve.proxy_sd(totals)[..., None])[..., chosen]
    fits = fit_gao(kl[chosen], golden), fit_gao(kl[chosen], proxy)
    return gamma_of(*fits, math.sqrt(kl[-1]))


def _peak(kl: Floats, gain: Floats, draws: Floats, confidence: float) -> Peak:
    chosen = kl > 0
    fit, drawn = fit_gao(kl[chosen], gain[chosen]), fit_gao(kl[chosen], draws[:, chosen])
    numbers = {
        "alpha": (fit.alpha, drawn.alpha),
        "beta": (fit.beta, drawn.beta),
        "kl": (fit.peak_distance**2, drawn.peak_distance**2),
        "n": (n_at_kl(fit.peak_distance**2), n_at_kl(drawn.peak_distance**2)),
        "gain": (fit.peak_gain, drawn.peak_gain),
    }
    found = {name: _interval(*pair, confidence) for name, pair in numbers.items()}
    return Peak(**found, without_peak=float((drawn.beta <= 0).mean()))


def _interval(value: Floats, draws: Floats, confidence: float) -> CurveInterval:
    """Percentile bounds; an infinite draw is a draw, an undefined one is counted."""
    defined = draws[~np.isnan(draws)]
    if np.isnan(value) or not defined.size:
        return CurveInterval(math.nan, math.nan, math.nan, 1 - defined.size / draws.size)
    # Steps, not interpolation: between a number and infinity lies nothing.
    lower, upper = np.quantile(defined, [1 - confidence, confidence], method="inverted_cdf")
    return CurveInterval(
        float(value),
        min(float(lower), float(value)),
        max(float(upper), float(value)),
        1 - defined.size / draws.size,
    )
