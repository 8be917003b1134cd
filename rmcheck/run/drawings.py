"""What a page draws of a suite, as plain numbers: curves, calibration, and responses that moved."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from rmcheck.checks.record import EXCERPT
from rmcheck.errors import RmcheckError
from rmcheck.metrics.best_of_n import bon_kl
from rmcheck.metrics.bon_curve import BonCurve, largest_n, n_grid
from rmcheck.metrics.calibration import calibration
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.run.fill import Filled
from rmcheck.run.loaded import LoadedSuite
from rmcheck.run.plan import PlannedSuite
from rmcheck.stats.simultaneous import band
from rmcheck.stats.units import Units
from rmcheck.wording import excerpt

ROLES = ("candidate", "baseline")
RESAMPLES, MOVED = 500, 5


def drawings(suite: PlannedSuite, filled: Filled) -> dict[str, Any]:
    """Plain data of the drawings of a suite; what the rewards do not allow is left out.

    Args:
        suite: The suite.
        filled: What the models have scored; a model without scores has no drawing.
    """
    found = {role: known.rewards for role in ROLES if (known := filled.known(suite, role))}
    data = {
        "curves": dict(_each(found, _curve, suite.loaded)),
        "calibration": dict(_each(found, _calibration, suite.loaded)),
        "moved": _moved(suite.loaded, found) if len(found) == len(ROLES) else [],
    }
    return {name: value for name, value in data.items() if value}


def _each(found: dict[str, Rewards], draw: Any, loaded: LoadedSuite) -> Iterator[tuple[str, Any]]:
    for role, rewards in found.items():
        try:
            yield role, draw(rewards, loaded)
        except RmcheckError:  # undefined there; a check that needs it has said why
            continue


def _curve(rewards: Rewards, loaded: LoadedSuite) -> dict[str, Any]:
    """Gains of best-of-n, golden's in standard deviations of golden inside prompts, proxy's alike.

    `best` is what golden's own choice gains.
    """
    sampling = loaded.sampling
    curve = BonCurve(n_grid(largest_n(rewards)))
    sums, took_part = curve.sums(rewards)
    units = Units.of(sums[took_part], rewards.clusters[took_part], rewards.units)
    whole, totals = units.whole, units.resampled(RESAMPLES, sampling.seed)

    def scaled(gain: Any, spread: Any) -> dict[str, list[float | None]]:
        values, draws = (gain(t) / spread(t)[..., None] for t in (whole, totals))
        found = band(values, draws, sampling.confidence)
        return {name: _plain(getattr(found, name)) for name in ("values", "lower", "upper")}

    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "n": list(curve.grid),
            "root_kl": [math.sqrt(bon_kl(n)) for n in curve.grid],
            "golden": scaled(curve.golden_gain, curve.golden_sd),
            "best": scaled(curve.best_gain, curve.golden_sd),
            "proxy": scaled(curve.proxy_gain, curve.proxy_sd),
        }


def _calibration(rewards: Rewards, loaded: LoadedSuite) -> dict[str, Any]:
    """Of each bin of margins: mean confidence, share in which golden agrees, and pairs."""
    found = calibration(rewards)
    names = ("confidence", "agreement", "pairs")
    return {name: _plain(getattr(found, name)) for name in names}


def _moved(loaded: LoadedSuite, found: dict[str, Rewards]) -> list[dict[str, Any]]:
    """The responses whose place among the answers to their prompt changed most.

    A place is the share of the other answers that have a lower reward, 1 for the best.
    """
    candidate, baseline = (found[role] for role in ROLES)
    if candidate.proxy.shape != baseline.proxy.shape:
        return []
    places = _places(candidate), _places(baseline)
    gap = np.nan_to_num(places[0] - places[1])
    rows = np.repeat(np.arange(len(candidate)), candidate.counts)
    order = np.argsort(-np.abs(gap), kind="stable")
    _, first = np.unique(rows[order], return_index=True)  # one a prompt
    chosen = [i for i in order[np.sort(first)][:MOVED].tolist() if gap[i]]
    return [_moved_record(loaded, found, places, int(rows[i]), i) for i in chosen]


def _places(rewards: Rewards) -> Floats:
    """(M,) place of each response in its prompt; NaN where it is the only one."""
    out = np.full(rewards.proxy.size, np.nan)
    for row in range(len(rewards)):
        part = slice(rewards.offsets[row], rewards.offsets[row + 1])
        values = rewards.proxy[part]
        if values.size > 1:
            below = np.searchsorted(np.sort(values), values, side="left")
            out[part] = below / (values.size - 1)
    return out


def _moved_record(
    loaded: LoadedSuite,
    found: dict[str, Rewards],
    places: tuple[Floats, Floats],
    row: int,
    at: int,
) -> dict[str, Any]:
    candidate = found["candidate"]
    prompt = loaded.pool.prompts[row]
    start = int(loaded.pool.columns.ends[row])
    asked = next((m.content for m in reversed(prompt.messages) if m.role == "user"), "")
    return {
        "prompt_id": prompt.prompt_id,
        "prompt": excerpt(asked, EXCERPT),
        "response": excerpt(prompt.responses[at - start], EXCERPT),
        "golden": float(candidate.golden[at]),
        **{f"{role}_reward": float(found[role].proxy[at]) for role in ROLES},
        **{f"{role}_place": float(place[at]) for role, place in zip(ROLES, places, strict=True)},
    }


def _plain(values: Floats) -> list[float | None]:
    return [float(v) if math.isfinite(v) else None for v in values]
