"""Best-of-n and calibration of a model as plain numbers, with bands."""

import math
from typing import Any

import numpy as np

from rmcheck.checks.measurement import Sampling
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.best_of_n import bon_kl
from rmcheck.metrics.bon_curve import BonCurve, largest_n, n_grid
from rmcheck.metrics.calibration import calibration
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.regret.pooled import COUNT, TAIL, PooledDrop
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.stats.simultaneous import band
from rmcheck.stats.units import Units

RESAMPLES = 500
# The curve is followed beyond the responses of a prompt at these multiples of their number.
BEYOND = (2, 4, 8)


def curve(rewards: Rewards, sampling: Sampling) -> dict[str, Any]:
    """Gains of best-of-n, golden's in standard deviations of golden inside prompts, proxy's alike.

    `best` is what golden's own choice gains. `beyond` follows golden from the last n to where no
    prompt has so many responses.

    Raises:
        UndefinedMetricError: No prompt has two responses.
    """
    shape = BonCurve(n_grid(largest_n(rewards)))
    sums, took_part = shape.sums(rewards)
    units = Units.of(sums[took_part], rewards.clusters[took_part], rewards.units)
    whole, totals = units.whole, units.resampled(RESAMPLES, sampling.seed)

    def scaled(gain: Any, spread: Any) -> dict[str, list[float | None]]:
        values, draws = (gain(t) / spread(t)[..., None] for t in (whole, totals))
        return _band(values, draws, sampling.confidence)

    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "n": list(shape.grid),
            "root_kl": [math.sqrt(bon_kl(n)) for n in shape.grid],
            "golden": scaled(shape.golden_gain, shape.golden_sd),
            "best": scaled(shape.best_gain, shape.golden_sd),
            "proxy": scaled(shape.proxy_gain, shape.proxy_sd),
            "beyond": _beyond(rewards, shape, sums, sampling),
        }


def _beyond(rewards: Rewards, shape: BonCurve, sums: Floats, sampling: Sampling) -> dict[str, Any]:
    """Golden's gain at larger n: that at the last n, and what the tail of all together adds."""
    last, spread = len(shape.grid) - 1, float(shape.golden_sd(sums.sum(axis=0)))
    tails: dict[int, Floats] = {}
    for n in (shape.most * times for times in (1, *BEYOND)):
        try:
            metric = PooledDrop(n).fitted(rewards)
            if metric.reach < n or not spread > 0:
                break
            tails[n] = per_prompt_sums(metric, rewards)[0][:, [TAIL, COUNT]]
        except UndefinedMetricError:
            break
    if len(tails) < 2:
        return {}
    columns = np.hstack([sums[:, [last, -1]], *tails.values()])
    units = Units.of(columns, rewards.clusters, rewards.units)

    def gain(t: Floats) -> Floats:
        means = t[..., 0::2] / t[..., 1::2]
        found: Floats = (means[..., :1] + means[..., 1:] - means[..., 1:2]) / spread
        return found

    draws = gain(units.resampled(RESAMPLES, sampling.seed))
    return {
        "n": list(tails),
        "root_kl": [math.sqrt(bon_kl(n)) for n in tails],
        "golden": _band(gain(units.whole), draws, sampling.confidence),
    }


def bins(rewards: Rewards, sampling: Sampling) -> dict[str, Any]:
    """Of each bin of margins: mean confidence, share in which golden agrees, and pairs.

    Raises:
        UndefinedMetricError: No two responses of a prompt differ in golden.
    """
    found = calibration(rewards)
    numbers = {name: plain(getattr(found, name)) for name in ("confidence", "agreement", "pairs")}
    return {**numbers, "ece": found.ece, "noise_floor": found.noise_floor}


def _band(values: Floats, draws: Floats, confidence: float) -> dict[str, list[float | None]]:
    found = band(values, draws, confidence)
    return {name: plain(getattr(found, name)) for name in ("values", "lower", "upper")}


def plain(values: Floats) -> list[float | None]:
    """Numbers as JSON has them; None for one that is not finite."""
    return [float(v) if math.isfinite(v) else None for v in values]
