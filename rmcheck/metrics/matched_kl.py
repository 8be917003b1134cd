"""Matched-KL regret: what optimising the proxy loses against optimising golden, at one KL."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.best_of_n import gain_facts, golden_gain_concerns
from rmcheck.metrics.metric import Invariance, Metric
from rmcheck.metrics.ratio import ratio
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.metrics.settings import require_number
from rmcheck.metrics.tilting import GAIN_SLOPE, OWN_GAIN, Tilt, require_positive, tilt_sums

# Mean effective sample size below which nothing is decided, and below which gains are a few per
# cent too low.
MIN_ESS = 20.0
GOOD_ESS = 50.0


@register
@dataclass(frozen=True)
class MatchedKlRegret(Metric):
    """Share of the golden gain at a given KL that is lost by optimising the proxy instead.

    1 − Ĝ(π_r) / Ĝ(π_g), where π_r and π_g tilt the pool by proxy and golden, each with the β at
    which its mean KL is `kl`; Ĝ(π_g) is the most that any policy on the pool gains at that KL.
    Undefined where golden gains nothing, and where the pool cannot reach the KL. Lower is better:
    0 loses nothing, 1 gains nothing, above 1 is harmful. In a Gaussian world it is 1 − ρ at any
    KL. It refuses to be decided below an effective sample size of 20.

    The two β are solved on the whole pool by `fitted`. Every resample needs β of its own: its value
    takes one step towards them, along √KL, in which gains are nearly linear. So the value is exact
    where β was solved, and right to first order elsewhere.

    Args:
        kl: KL divergence from the policy in nats, above 0; about ln N − 4 is the most that N
            responses a prompt can tell.
        min_golden_gain: Mean golden gain, in golden units, below which nothing is decided.

    Caution:
        Beyond about ln N - 4 nats a few responses carry all weight, and no number is given. Golden
        tilts of the same policy are compared, not trained policies.

    Reference:
        Wen et al. 2024, arXiv 2410.05584, eq. 2.
    """

    name = "matched_kl_regret"
    direction = "lower"
    range = (0.0, np.inf)
    attainable = (0.0, 2.0)
    invariances = frozenset[Invariance]({"proxy_shift", "golden_shift", "golden_scale"})
    scale_free = True  # β is solved for the KL, whatever the unit of the proxy
    studentised = True  # percentile bounds of this ratio under-cover on small pools

    kl: float
    min_golden_gain: float = field(default=0.0, kw_only=True)
    proxy_beta: float = field(default=0.0, init=False, repr=False)
    golden_beta: float = field(default=0.0, init=False, repr=False)
    responses: float = field(default=0.0, init=False, repr=False)
    ess: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        require_positive("kl", self.kl)
        require_number("min_golden_gain", self.min_golden_gain, 0)

    @property
    def note(self) -> str:
        """How many responses carry the weight, where they are few."""
        if not 0 < self.ess < GOOD_ESS:
            return ""
        return (
            f"effective sample size {self.ess:.0f} of {self.responses:.0f} responses, below "
            f"{GOOD_ESS:g}: both gains are a few per cent too low, their ratio hardly"
        )

    def require(self, rewards: Rewards) -> None:
        """Refuse rewards that this metric cannot measure.

        Raises:
            UndefinedMetricError: No prompt has two responses, or there are too few for this KL.
        """
        super().require(rewards)
        most = float(np.log(rewards.counts[rewards.counts >= self.min_responses]).mean())
        if self.kl >= most:
            raise UndefinedMetricError(
                f"{self.name}: KL {self.kl:g} is out of reach: tilting this pool gives less than "
                f"{most:.4g} nats (ln N)"
            )

    def fitted(self, rewards: Rewards) -> Self:
        """This metric with both β solved on this pool.

        Raises:
            UndefinedMetricError: See `require`; or proxy or golden is constant inside every
                prompt, or ties so often that its tilt cannot reach this KL.
        """
        return self.localised(rewards, np.ones(len(rewards), dtype=bool))

    def localised(self, rewards: Rewards, mask: NDArray[np.bool_]) -> Self:
        """This metric with both β solved on the prompts of a (P,) mask alone; see `fitted`."""
        self.require(rewards)
        blocks = []
        for block in rewards.blocks(self.min_responses):
            inside = mask[block.rows]
            if inside.any():
                blocks.append((block.proxy[inside], block.golden[inside]))
        betas = {}
        for i, name in enumerate(("proxy", "golden")):
            tilt = Tilt.of([block[i] for block in blocks], name)
            betas[f"{name}_beta"] = tilt.beta_at_kl(self.kl) * tilt.sd
        found = self.fixed(**betas)
        sums = np.concatenate([found.per_prompt(*block) for block in blocks])
        sizes = [proxy.shape[1] for proxy, _ in blocks for _ in range(len(proxy))]
        return self.fixed(**betas, ess=matched_ess(sums), responses=float(np.mean(sizes)))

    def per_prompt(self, proxy: Floats, golden: Floats) -> Floats:
        """(p, 12): both golden gains, 1, and what `value` needs; see `matched_sums`.

        Raises:
            UndefinedMetricError: β has not been solved by `fitted`.
        """
        if not self.proxy_beta:
            raise UndefinedMetricError(f"{self.name} must first see the pool: call fitted(rewards)")
        return matched_sums(proxy, golden, self.proxy_beta, self.golden_beta)

    def value(self, sums: Floats) -> Floats:
        """1 − the proxy's golden gain over golden's own, both at the KL asked for."""
        return 1 - ratio(self._at_kl(sums, 0, 3)[0], self._at_kl(sums, 1, 7)[0])

    def gradient(self, sums: Floats) -> Floats:
        top, of_top = self._at_kl(sums, 0, 3)
        bottom, of_bottom = self._at_kl(sums, 1, 7)
        bottom = np.where(bottom == 0, np.nan, bottom)[..., None]
        return np.asarray(-of_top / bottom + top[..., None] * of_bottom / bottom**2)

    def _at_kl(self, sums: Floats, gain: int, rest: int) -> tuple[Floats, Floats]:
        """Total golden gain of one tilt at the KL asked for, and its derivative by every total.

        G + (√(κ P) − √KL) dG/d√KL, with dG/d√KL = 2 √KL G' / KL', all of totals.
        """
        slope, kl, kl_slope = sums[..., rest], sums[..., rest + 1], sums[..., rest + 2]
        there = np.sqrt(self.kl * sums[..., 2] * kl)
        step = ratio(2 * (there - kl), kl_slope)
        out = np.zeros(sums.shape)
        out[..., gain] = 1.0
        per_kl = ratio(slope, kl_slope)
        out[..., 2] = per_kl * np.sqrt(self.kl * ratio(kl, sums[..., 2]))
        out[..., rest] = step
        out[..., rest + 1] = per_kl * (np.sqrt(self.kl * ratio(sums[..., 2], kl)) - 2)
        out[..., rest + 2] = -step * per_kl
        return sums[..., gain] + slope * step, out

    def concerns(self, sums: Floats) -> tuple[str, ...]:
        """Too few responses that carry the weight, or a golden gain near zero."""
        found = golden_gain_concerns(sums[:, 1], sums[:, 2], self.min_golden_gain)
        ess = matched_ess(sums)
        if ess < MIN_ESS:
            return (f"{ess_refusal(ess)} at KL {self.kl:g}", *found)
        return found

    def facts(self, sums: Floats) -> dict[str, float]:
        """Both gains per prompt at the KL, in golden units, and the effective sample size."""
        if not sums[2]:
            return {}
        gains = gain_facts(self._at_kl(sums, 0, 3)[0], self._at_kl(sums, 1, 7)[0], sums[2])
        return {**gains, "effective_sample_size": matched_ess(sums[None])}


def matched_sums(proxy: Floats, golden: Floats, proxy_beta: float, golden_beta: float) -> Floats:
    """(p, 12) sums of tilting the same responses by proxy and by golden.

    Golden gain of both tilts; 1; of the proxy's tilt the derivative of that gain, KL, its
    derivative and effective sample size; the same of golden's; and the proxy gain of the proxy's.
    Derivatives are by ln β.

    Args:
        proxy: (p, N) rewards of the model under test.
        golden: (p, N) reference rewards.
        proxy_beta: β of the proxy's tilt, in proxy units.
        golden_beta: β of golden's tilt, in golden units.
    """
    by_proxy = tilt_sums(proxy, golden, proxy_beta)
    by_golden = tilt_sums(golden, golden, golden_beta)
    return np.concatenate(
        [
            by_proxy[:, :1],
            by_golden[:, :1],
            np.ones((len(proxy), 1)),
            by_proxy[:, GAIN_SLOPE:OWN_GAIN],
            by_golden[:, GAIN_SLOPE:OWN_GAIN],
            by_proxy[:, OWN_GAIN:],
        ],
        axis=1,
    )


def matched_ess(sums: Floats) -> float:
    """Mean effective sample size of the tilt that has the smaller one, from (n, 12) sums."""
    totals = sums.sum(axis=0)
    return float(min(totals[6], totals[10]) / totals[2])


def ess_refusal(ess: float) -> str:
    """The reason not to read a tilt that so few responses carry."""
    return f"effective sample size {ess:.1f}, fewer than {MIN_ESS:g}"
