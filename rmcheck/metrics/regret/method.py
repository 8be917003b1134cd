"""Which way a regret is found on a pool, and whether that way is more than a guess."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.best_of_n import BonDropRatio, bon_kl
from rmcheck.metrics.matched_kl import MIN_ESS, MatchedKlRegret, ess_refusal
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.regret.disattenuated import Disattenuated
from rmcheck.metrics.regret.nested import NestedDrop
from rmcheck.metrics.regret.nested_columns import CHOSEN_AT, RANDOM
from rmcheck.metrics.regret.ordinal import OrdinalDrop
from rmcheck.metrics.regret.pooled import PooledDrop
from rmcheck.metrics.regret.weighted import WeightedDrop
from rmcheck.metrics.rewards import Rewards

NAME = "predicted_regret"
Predictor = Literal[
    "auto", "measured", "weighted", "pooled", "gaussian", "ordinal", "nested", "calibrated"
]

# Share of the prompts that must have n responses for the regret to be measured on them.
MIN_MEASURED_SHARE = 0.5
# exp(30) responses: far more than anybody draws.
MAX_KL = 30.0
_GAUSSIAN = "extrapolated from best-of-2, as if proxy and golden were Gaussian"


def n_at_kl(kl: float) -> int:
    """Fewest responses from which best-of-n is at least this many nats from the initial policy.

    Raises:
        UsageError: kl is above `MAX_KL`.
    """
    if kl > MAX_KL:
        raise UsageError(f"kl is {kl!r}; valid: {MAX_KL:g} nats at most.")
    low, high = 1, 2 + math.ceil(math.exp(kl + 1))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if bon_kl(middle) >= kl else (middle, high)
    return high


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        n: Responses that the policy would draw; None where a KL is asked for.
        kl: KL divergence in nats of the policy from the initial one; None where n is asked for.
        least: Golden gain below which nothing is decided.
    """

    predictor: Predictor
    n: int | None
    kl: float | None
    least: float

    @property
    def draws(self) -> int:
        """n, or the n of best-of-n that has the KL."""
        return self.n if self.n is not None else n_at_kl(self.kl or 0.0)


def choose_method(wanted: Wanted, rewards: Rewards) -> tuple[Metric, str]:
    """The fitted method and why it is this one.

    Raises:
        UndefinedMetricError: The predictor asked for cannot be used on these rewards.
    """
    predictor, n, least = wanted.predictor, wanted.draws, wanted.least
    at_kl = "" if wanted.kl is None else f"best-of-{n} has the KL of {wanted.kl:g} nats"
    chosen = predictor in ("auto", "calibrated")
    if predictor == "nested" or (chosen and {RANDOM, CHOSEN_AT} <= set(rewards.columns)):
        return NestedDrop(n, min_golden_gain=least).fitted(rewards), at_kl
    if predictor == "weighted" or (chosen and _ranks_reach(rewards, n)):
        return WeightedDrop(n, min_golden_gain=least).fitted(rewards), at_kl
    if predictor == "ordinal":
        return OrdinalDrop().fitted(rewards), at_kl
    if predictor == "gaussian":
        return BonDropRatio(n=2, min_golden_gain=least), _GAUSSIAN
    measured = None if predictor == "pooled" else _measured(wanted, rewards)
    if isinstance(measured, Metric):
        return measured, "" if wanted.kl is not None else f"measured at n={n} on the pool"
    if predictor == "measured":
        raise UndefinedMetricError(f"{NAME} cannot be measured: {measured}")
    pooled = PooledDrop(n, min_golden_gain=least).fitted(rewards)
    return pooled, "; ".join(filter(None, (measured, at_kl)))


def _ranks_reach(rewards: Rewards, n: int) -> bool:
    """Whether responses without a label were scored, n of them on half of the prompts."""
    if rewards.scored is None:
        return False
    return bool(np.mean(rewards.scored.counts >= n) >= MIN_MEASURED_SHARE)


def _measured(wanted: Wanted, rewards: Rewards) -> Metric | str:
    """The method that measures it on the pool, or why there is none."""
    least = wanted.least
    if wanted.kl is not None:
        try:
            found = MatchedKlRegret(wanted.kl, min_golden_gain=least).fitted(rewards)
        except UndefinedMetricError as error:
            return str(error)
        return found if found.ess >= MIN_ESS else ess_refusal(found.ess)
    counts, n = rewards.counts[rewards.counts >= 2], wanted.n or 2
    most = int(counts.max()) if counts.size else 0
    if most < n:
        return f"the pool has N={most} < n={n}"
    if np.mean(counts >= n) < MIN_MEASURED_SHARE:
        return f"fewer than {MIN_MEASURED_SHARE:.0%} of the prompts have N >= n={n}"
    return BonDropRatio(n=n, min_golden_gain=least)


def guess(method: Metric, wanted: Wanted) -> tuple[str, ...]:
    """Why nothing is decided on this method alone: it looks beyond the labels by assumption."""
    n = wanted.draws
    method = method.base if isinstance(method, Disattenuated) else method
    by_pool = isinstance(method, PooledDrop) and method.anchor < method.n
    by_pairs = isinstance(method, BonDropRatio) and method.n != n
    if not (by_pool or by_pairs or isinstance(method, OrdinalDrop)):
        return ()
    return (
        f"the labels do not tell what best of {n} loses: it depends on responses that nobody has "
        f"scored. Score {n} a prompt and keep those without a label in the pool (rmcheck sample "
        "--labels), or calibrate on past reward models (history)",
    )
