"""Over-optimisation: where golden turns down while the proxy keeps rising.

Gains are read over d = √KL, the distance from the policy. Both forms of Gao et al. are linear in
their coefficients, so fits are least squares, for all resamples at once.
"""

from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np

from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.at_n import AtN
from rmcheck.metrics.best_of_n import SELECTION, bon_kl, gain_facts, golden_gain_concerns
from rmcheck.metrics.bon_curve import curve_gains, n_grid, within_variance
from rmcheck.metrics.metric import Invariance
from rmcheck.metrics.ratio import ratio
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.metrics.settings import require_choice, require_number

Form = Literal["bon", "rl"]


@dataclass(frozen=True, eq=False)
class GaoFit:
    """A golden or proxy curve over d = √KL, fitted by one of Gao's two forms.

    `bon`: R(d) = d (α − β d). `rl`: R(d) = d (α − β ln d), which has an infinite slope at 0 and
    should not be read near it. α is how fast the gain begins, β how fast it is lost.

    Attributes:
        form: Which of the two.
        alpha: (…) α, in reward units per √nat.
        beta: (…) β. At 0 or below the curve has no peak.

    Reference:
        Gao, Schulman and Hilton 2022, arXiv 2210.10760.
    """

    form: Form
    alpha: Floats
    beta: Floats

    def gain(self, distance: Floats) -> Floats:
        """(…, G) fitted gain at (G,) distances √KL; R(0) = 0."""
        d = np.asarray(distance, dtype=float)
        return np.asarray(
            self.alpha[..., None] * d - self.beta[..., None] * _bend(self.form, d),
        )

    @property
    def peak_distance(self) -> Floats:
        """(…) √KL of the peak: infinite where β ≤ 0; 0 where `bon` falls from the beginning."""
        falls = self.beta > 0
        beta = np.where(falls, self.beta, 1.0)
        if self.form == "bon":
            peak = np.maximum(self.alpha / (2 * beta), 0.0)
        else:
            with np.errstate(over="ignore"):  # a bend so weak that the peak is beyond all numbers
                peak = np.exp(self.alpha / beta - 1)
        return np.where(falls, peak, np.inf)

    @property
    def peak_gain(self) -> Floats:
        """(…) gain at the peak, α² / (4 β) or β d*; infinite where there is none."""
        distance = self.peak_distance
        there = np.where(np.isfinite(distance), distance, 0.0)
        gain = self.beta * (there**2 if self.form == "bon" else there)
        return np.where(np.isfinite(distance), gain, np.inf)


def fit_gao(kl: Floats, gain: Floats, form: Form = "bon") -> GaoFit:
    """Least squares fit of one of Gao's forms, without intercept.

    Args:
        kl: (G,) divergences in nats, above 0, at least two different ones.
        gain: (…, G) gains over the policy at these divergences, such as all resamples.
        form: `bon` for best-of-n, `rl` for reinforcement learning.

    Raises:
        UsageError: Unknown form; a divergence is not above 0, or all are equal.
    """
    require_choice("form", form, ("bon", "rl"))
    nats = np.asarray(kl, dtype=float)
    bad = nats[~(nats > 0) | ~np.isfinite(nats)]
    if bad.size:
        raise UsageError(
            f"kl has {bad[0]}; valid: finite numbers above 0 (the origin is not fitted)"
        )
    if np.unique(nats).size < 2:
        raise UsageError(f"a fit needs two different divergences; given: {nats.tolist()}")
    d = np.sqrt(nats)
    design = np.stack([d, -_bend(form, d)], axis=1)
    solution = np.asarray(gain, dtype=float) @ np.linalg.pinv(design).T
    return GaoFit(form, solution[..., 0], solution[..., 1])


def _bend(form: Form, d: Floats) -> Floats:
    if form == "bon":
        return d**2
    return d * np.log(np.where(d > 0, d, 1.0))


def n_at_kl(kl: Floats) -> Floats:
    """(…) real n with ln n − (n − 1) / n = kl nats: the inverse of `best_of_n.bon_kl`.

    Infinite where kl is.
    """
    nats = np.asarray(kl, dtype=float)
    finite = np.isfinite(nats) & (nats > 0)
    target = np.where(finite, nats, 1.0)
    # With m = ln n: m − 1 + e^−m = kl. Convex, and the start lies right of the root.
    m = target + 1.0
    # Near 0 the left side is m²/2 − m³/6, whose root is √(2 kl) and a little.
    m = np.minimum(m, np.sqrt(2 * target) + target)
    for _ in range(60):
        step = (m + np.expm1(-m) - target) / -np.expm1(-m)
        m = m - step
        if (np.abs(step) <= 1e-14 * m).all():
            break
    with np.errstate(over="ignore"):
        return np.where(finite, np.exp(m), np.where(nats > 0, np.inf, 1.0))


def gamma_of(golden: GaoFit, proxy: GaoFit, most: float) -> Floats:
    """γ = ∫|f − g| / ∫f over 0 to `most`, of two `bon` fits over √KL; lower is better.

    f is golden's curve along the proxy's choices and g the proxy's own, both in units of their
    within-prompt standard deviation. Both are x (α − β x), so their difference is x (A − B x), with
    one sign change at A / B at most, and the integrals are exact.

    Args:
        golden: f.
        proxy: g.
        most: Largest √KL.

    Returns:
        (…) γ; NaN where ∫f ≤ 0.

    Raises:
        UsageError: A fit has the other form.

    Reference:
        Kim et al. 2025, arXiv 2505.12763.
    """
    if {golden.form, proxy.form} != {"bon"}:
        raise UsageError(f"gamma is of two bon fits, not {golden.form} and {proxy.form}")
    a, b = golden.alpha - proxy.alpha, golden.beta - proxy.beta
    cross = np.where(b == 0, 0.0, a / np.where(b == 0, 1.0, b))
    cross = np.where((cross > 0) & (cross < most), cross, 0.0)
    first = np.abs(_integral(a, b, cross))
    second = np.abs(_integral(a, b, most) - _integral(a, b, cross))
    area = _integral(golden.alpha, golden.beta, most)
    return ratio(first + second, np.where(area > 0, area, 0.0))


def _integral(alpha: Floats, beta: Floats, to: Floats | float) -> Floats:
    """∫ x (α − β x) from 0."""
    return np.asarray(alpha * to**2 / 2 - beta * to**3 / 3)


@dataclass(frozen=True)
class CurveMetric(AtN):
    """A metric of the best-of-n curve, from n = 1 to a largest n.

    Args:
        n: Largest n; None goes as far as every prompt of the pool can.
    """

    direction = "lower"
    attainable = (0.0, 2.0)  # 0, and 2 where golden is symmetric and the proxy chooses against it
    range = (0.0, np.inf)  # from 0, the best, without end

    most: int = field(default=0, init=False, repr=False)

    @property
    def min_responses(self) -> int:
        """The largest n, or the least that it can be before it is known."""
        return self.n or self.most or self.least_n

    def fitted(self, rewards: Rewards) -> Self:
        """This metric with its largest n fixed on this pool."""
        self.require(rewards)
        counts = rewards.counts[rewards.counts >= self.min_responses]
        return self.fixed(most=self.n or int(counts.min()))

    @property
    def grid(self) -> tuple[int, ...]:
        """Values of n of the curve.

        Raises:
            UndefinedMetricError: The largest n has not been fixed by `fitted`.
        """
        if not self.most:
            raise UndefinedMetricError(f"{self.name} must first see the pool: call fitted(rewards)")
        return n_grid(self.most)


@register
@dataclass(frozen=True)
class Gamma(CurveMetric):
    """Area between the golden and the proxy curve of best-of-n, over the area below golden's.

    γ = ∫|f − g| / ∫f over √KL from 0 to that of the largest n, where f and g are Gao's form
    x (α − β x) fitted to the golden and the proxy gain of the proxy's choice, each in units of its
    pooled within-prompt standard deviation. Lower is better: 0 where golden gains as much as the
    proxy promises; 1/ρ − 1 where both are jointly Gaussian with correlation ρ. Undefined where
    ∫f ≤ 0, that is where golden gains nothing.

    Args:
        n: Largest n, 3 or more; prompts with fewer responses are left out. None goes as far as
            every prompt can, and then all must have about the same N.

    Caution:
        It is as good as the fit of Gao's form, which `rmcheck curve` shows. It is about best-of-n,
        not about RL.

    Reference:
        Kim et al. 2025, arXiv 2505.12763.
    """

    name = "gamma"
    invariances = frozenset[Invariance]({"proxy_shift", "golden_shift", "golden_scale"})
    least_n = 3  # a fit needs two points beside the origin

    @property
    def fitted_grid(self) -> tuple[int, ...]:
        """Values of n that the curves are fitted at: all but the origin n = 1."""
        return self.grid[1:]

    @property
    def kl(self) -> Floats:
        """(G,) nats of each n."""
        return np.asarray([bon_kl(n) for n in self.fitted_grid])

    def per_prompt(self, proxy: Floats, golden: Floats) -> Floats:
        """(p, 2 G + 3): golden and proxy gains of the proxy's choice, both variances, and 1.

        Raises:
            UndefinedMetricError: The largest n has not been fixed by `fitted`.
        """
        gains = curve_gains(proxy, golden, self.fitted_grid)
        ends = [within_variance(golden), within_variance(proxy), np.ones(proxy.shape[0])]
        return np.concatenate([gains.golden, gains.proxy, np.stack(ends, axis=1)], axis=1)

    def value(self, sums: Floats) -> Floats:
        """γ of the curves of these totals; NaN where golden's has no area."""
        return gamma_of(*self._fits(sums), float(np.sqrt(self.kl[-1])))

    def concerns(self, sums: Floats) -> tuple[str, ...]:
        """An area below golden's curve that is near zero, so that γ could be anything."""
        size = len(self.fitted_grid)
        unit = fit_gao(self.kl, np.eye(size))
        area = _integral(unit.alpha, unit.beta, float(np.sqrt(self.kl[-1])))
        return golden_gain_concerns(sums[:, :size] @ area, sums[:, -1])

    def facts(self, sums: Floats) -> dict[str, float]:
        """Coefficients of golden's curve, in its standard deviations; β > 0 means that it bends."""
        fit, _ = self._fits(sums)
        return {"golden_alpha": float(fit.alpha), "golden_beta": float(fit.beta)}

    def _fits(self, sums: Floats) -> tuple[GaoFit, GaoFit]:
        size = len(self.fitted_grid)
        scale = np.sqrt(sums[..., -3:-1] * sums[..., -1:])
        golden = ratio(sums[..., :size], scale[..., :1])
        proxy = ratio(sums[..., size : 2 * size], scale[..., 1:])
        return fit_gao(self.kl, golden), fit_gao(self.kl, proxy)


@register
@dataclass(frozen=True)
class DropFromPeak(CurveMetric):
    """Golden lost by drawing more than the best n, as a share of golden's own gain.

    [max_k C(n_k) − C(n_max)] / B(n_max) over a grid of n from 1 to the largest, with C the golden
    gain of the proxy's choice and B that of golden's own. Undefined where golden gains nothing.
    Lower is better: 0 where golden never turns down. Its bounds pay for having looked for the
    peak, so an upper bound above 0 is no sign of one, and a lower bound above 0 is.

    Args:
        n: Largest n; prompts with fewer responses are left out. None goes as far as every prompt
            can, and then all must have about the same N.
        min_golden_gain: Mean golden gain, in golden units, below which nothing is decided.

    Caution:
        Its upper bound is above 0 wherever the pool is small; only a lower bound above 0 is a sign
        of a peak.

    Reference:
        Karwowski et al. 2024, arXiv 2310.09144 (normalised drop height).
    """

    name = "drop_from_peak"
    invariances = SELECTION
    tells_direction = False  # a constant model gains nothing, and so never turns down

    min_golden_gain: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("min_golden_gain", self.min_golden_gain, 0)

    def per_prompt(self, proxy: Floats, golden: Floats) -> Floats:
        """(p, G + 3): the proxy's and golden's gain at the largest n, 1, and the proxy's curve."""
        gains = curve_gains(proxy, golden, self.grid)
        ends = [gains.golden[:, -1], gains.best[:, -1], np.ones(proxy.shape[0])]
        return np.concatenate([np.stack(ends, axis=1), gains.golden], axis=1)

    def value(self, sums: Floats) -> Floats:
        """The largest of `parts`; NaN where golden gains nothing."""
        return np.asarray(self.parts(sums).max(axis=-1))

    def parts(self, sums: Floats) -> Floats:
        """(…, G) golden lost between each n and the largest, over golden's own gain."""
        return ratio(sums[..., 3:] - sums[..., :1], sums[..., 1:2])

    def concerns(self, sums: Floats) -> tuple[str, ...]:
        """A golden gain that is near zero, or smaller than asked for."""
        return golden_gain_concerns(sums[:, 1], sums[:, 2], self.min_golden_gain)

    def facts(self, sums: Floats) -> dict[str, float]:
        """Both gains per prompt at the largest n, in golden units, and the n of the peak."""
        found = gain_facts(*sums[:3])
        return found and {**found, "peak_n": float(self.grid[int(np.argmax(sums[3:]))])}
