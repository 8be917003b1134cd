"""Proxy against golden, response by response, and accuracy slice by slice, as plain numbers."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.errors import RmcheckError, UndefinedMetricError
from rmcheck.metrics.length_bias import LENGTH
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.run.drawn.curves import RESAMPLES, plain
from rmcheck.stats.simultaneous import band
from rmcheck.stats.units import Units

POINTS, BINS = 500, 10
# Slices of one column that are shown: the largest ones.
SLICES = 25


def points(rewards: Rewards, sampling: Sampling) -> dict[str, Any]:
    """Proxy and golden of some responses less their prompt's mean, in sd inside prompts.

    Beside them golden's mean in each tenth of the proxy, over all responses, with bands, and in
    which third of length the responses of `proxy` are: 0 short, 2 long.

    Raises:
        UndefinedMetricError: No prompt has two responses, or all rewards are equal.
    """
    several = np.repeat(rewards.counts >= 2, rewards.counts)
    if not several.any():
        raise UndefinedMetricError("no prompt has two responses")
    proxy, golden = (_inside(rewards, v)[several] for v in (rewards.proxy, rewards.golden))
    if not (proxy.any() and golden.any()):
        raise UndefinedMetricError("all rewards of a prompt are equal")
    owner = np.repeat(np.arange(len(rewards)), rewards.counts)[several]
    edges = np.unique(np.quantile(proxy, np.arange(1, BINS) / BINS))
    at = np.searchsorted(edges, proxy, side="right")
    rng = np.random.default_rng(sampling.seed)
    chosen = np.sort(rng.permutation(proxy.size)[:POINTS])
    return {
        "proxy": _rounded(proxy[chosen]),
        "golden": _rounded(golden[chosen]),
        "length": _thirds(rewards, several)[chosen].tolist(),
        "means": _means(rewards, proxy, golden, owner, at, edges.size + 1, sampling),
    }


def _inside(rewards: Rewards, values: Floats) -> Floats:
    """(M,) values less their prompt's mean, over the standard deviation inside prompts."""
    centred = rewards.centred(values)
    spread = float(np.sqrt(np.mean(centred**2)))
    scaled: Floats = centred / spread if spread > 1e-12 * np.abs(values).max() else 0 * centred
    return scaled


def _means(
    rewards: Rewards,
    proxy: Floats,
    golden: Floats,
    owner: Any,
    at: Any,
    size: int,
    sampling: Sampling,
) -> dict[str, list[float | None]]:
    cell = owner * size + at
    shape = (len(rewards), size)
    columns = [np.bincount(cell, w, shape[0] * size).reshape(shape) for w in (golden, proxy)]
    columns.append(np.bincount(cell, minlength=shape[0] * size).reshape(shape).astype(float))
    units = Units.of(np.hstack(columns), rewards.clusters, rewards.units)

    def mean(t: Floats, first: int) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = t[..., first : first + size] / t[..., 2 * size :]
        return found

    draws = mean(units.resampled(RESAMPLES, sampling.seed), 0)
    found = band(mean(units.whole, 0), draws, sampling.confidence)
    ends = {name: plain(getattr(found, name)) for name in ("values", "lower", "upper")}
    return {"proxy": plain(mean(units.whole, size)), **ends}


def _thirds(rewards: Rewards, several: Any) -> Any:
    """In which third of their prompt's lengths responses are; all in the middle where unknown."""
    if LENGTH not in rewards.columns:
        return np.ones(int(several.sum()), dtype=int)
    relative = _inside(rewards, np.log1p(rewards.columns[LENGTH]))[several]
    return np.searchsorted(np.quantile(relative, [1 / 3, 2 / 3]), relative, side="right")


def _rounded(values: Floats) -> list[float]:
    return [round(float(v), 3) for v in values]


def by_slice(rewards: Rewards, sampling: Sampling) -> dict[str, Any]:
    """Accuracy on the whole pool and on each slice, with bounds; the largest slices of a column.

    Raises:
        UndefinedMetricError: Accuracy is undefined on the whole pool.
    """
    few = replace(sampling, resamples=min(sampling.resamples, 4 * RESAMPLES))
    rows = [_accuracy("", rewards, {}, few)]
    left_out = 0
    for column, values in rewards.slices.items():
        known, counts = np.unique(values[values != ""], return_counts=True)
        largest = sorted(known[np.argsort(-counts, kind="stable")][:SLICES].tolist())
        left_out += known.size - len(largest)
        for value in largest:
            with suppress(RmcheckError):  # nothing in it can be compared
                rows.append(_accuracy(f"{column}={value}", rewards, {column: value}, few))
    return {"rows": rows, "left_out": left_out}


def _accuracy(
    name: str, rewards: Rewards, where: dict[str, str], sampling: Sampling
) -> dict[str, Any]:
    found = measure(make_metric("accuracy"), rewards, where=where, sampling=sampling).estimate
    ends = {"value": found.value, "lower": found.lower, "upper": found.upper}
    return {"name": name, **ends, **({"n": found.n} if where else {})}
