"""Curves of a pool of 1,000 prompts x 1,280 responses: one sort for all n against the plain ways.

    OMP_NUM_THREADS=1 python benchmarks/curves.py

Best-of-n at 16 values of n, with golden, best, proxy and drop bands from 2,000 resamples:

* `rmcheck`: `best_of_n_curve`, with the Gao fit, the past-peak test and gamma on top;
* `numpy loop`: a loop over prompts and n that sorts again for every n, and a loop over resamples;
* `Monte-Carlo`: 1,000 draws of n responses for every prompt and n, on 10 prompts, its time scaled
  up to 1,000; no bands.

KL-regularised policies at 30 divergences:

* `rmcheck`: `tilted_curve`, with 2,000 resamples that each step to β of their own;
* `numpy loop`: scipy's brentq on a mean over a loop over prompts, on 100 prompts, scaled up to
  1,000; no bands.

Prints a table and writes benchmarks/results/curves.json. Times are medians of CPU seconds of one
thread, in interleaved rounds; peak memory is that of numpy in a run of its own.
"""

import json
import math
import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy.optimize import brentq

from rmcheck.lab.curves.curve import best_of_n_curve
from rmcheck.lab.curves.tilted_curve import tilted_curve
from rmcheck.metrics.best_of_n import bon_weights
from rmcheck.metrics.bon_curve import n_grid
from rmcheck.metrics.rewards import Rewards
from rmcheck.stats.weights import draw_weights

PROMPTS, RESPONSES, RESAMPLES, ROUNDS = 1_000, 1_280, 2_000, 3
DRAWS, DRAWN_PROMPTS, TILTED_PROMPTS = 1_000, 10, 100
GRID = n_grid(RESPONSES)
KLS = np.geomspace(0.02, 2.5, 30)
RESULTS = Path(__file__).parent / "results" / "curves.json"

Pair = tuple[np.ndarray, np.ndarray]


def pool() -> Pair:
    """(P, N) proxy and golden rewards, jointly Gaussian with correlation 0.7."""
    rng = np.random.default_rng(0)
    golden = rng.normal(size=(PROMPTS, RESPONSES))
    return 0.7 * golden + math.sqrt(0.51) * rng.normal(size=golden.shape), golden


def ours(proxy: np.ndarray, golden: np.ndarray) -> None:
    """The whole curve, with the weights drawn anew."""
    draw_weights.cache_clear()
    best_of_n_curve(Rewards.from_arrays(proxy, golden), grid=GRID, resamples=RESAMPLES)


def numpy_loop(proxy: np.ndarray, golden: np.ndarray) -> None:
    """Sort every prompt for every n, then draw one resample after another."""
    gains = np.empty((len(proxy), len(GRID), 3))
    for k, n in enumerate(GRID):
        weights = bon_weights(RESPONSES, n)
        for i, (r, g) in enumerate(zip(proxy, golden, strict=True)):
            order = np.argsort(r)
            gains[i, k, 0] = g[order] @ weights - g.mean()
            gains[i, k, 1] = np.sort(g) @ weights - g.mean()
            gains[i, k, 2] = r[order] @ weights - r.mean()
    rng = np.random.default_rng(0)
    draws = np.empty((RESAMPLES, len(GRID), 3))
    for b in range(RESAMPLES):
        draws[b] = gains[rng.integers(0, len(proxy), len(proxy))].mean(axis=0)
    with np.errstate(invalid="ignore"):
        np.quantile(1 - draws[..., 0] / draws[..., 1], [0.05, 0.95], axis=0)


def monte_carlo(proxy: np.ndarray, golden: np.ndarray) -> None:
    """Draw n responses again and again."""
    rng = np.random.default_rng(0)
    for r, g in zip(proxy[:DRAWN_PROMPTS], golden[:DRAWN_PROMPTS], strict=True):
        for n in GRID:
            drawn = np.stack([rng.choice(RESPONSES, n, replace=False) for _ in range(DRAWS)])
            chosen = np.take_along_axis(drawn, r[drawn].argmax(axis=1)[:, None], axis=1)
            g[chosen].mean() - g.mean()


def ours_tilted(proxy: np.ndarray, golden: np.ndarray) -> None:
    """Both policies at every divergence, with bands."""
    draw_weights.cache_clear()
    tilted_curve(Rewards.from_arrays(proxy, golden), KLS.tolist(), resamples=RESAMPLES)


def numpy_tilted(proxy: np.ndarray, golden: np.ndarray) -> None:
    """One divergence, one selector, one trial β and one prompt after another."""

    def policy(rewards: np.ndarray, beta: float) -> np.ndarray:
        weights = np.exp((rewards - rewards.max()) / beta)
        return weights / weights.sum()

    def divergence(weights: np.ndarray) -> float:
        kept = weights[weights > 0]
        return float((kept * np.log(RESPONSES * kept)).sum())

    rows = list(zip(proxy[:TILTED_PROMPTS], golden[:TILTED_PROMPTS], strict=True))
    for kl in KLS:
        for which in (0, 1):

            def excess(log_beta: float, which: int = which, kl: float = kl) -> float:
                found = (divergence(policy(row[which], math.exp(log_beta))) for row in rows)
                return statistics.fmean(found) - kl

            beta = math.exp(brentq(excess, -5, 5))
            statistics.fmean(policy(row[which], beta) @ row[1] - row[1].mean() for row in rows)


# What runs, and by how much its time is scaled up to the whole pool.
WAYS: dict[str, dict[str, tuple[Callable[[np.ndarray, np.ndarray], None], float]]] = {
    f"best-of-n curve, {len(GRID)} n, {RESAMPLES:,} resamples": {
        "rmcheck": (ours, 1),
        "numpy loop": (numpy_loop, 1),
        "Monte-Carlo, scaled": (monte_carlo, PROMPTS / DRAWN_PROMPTS),
    },
    f"tilting at {len(KLS)} KL": {
        "rmcheck": (ours_tilted, 1),
        "numpy loop, scaled": (numpy_tilted, PROMPTS / TILTED_PROMPTS),
    },
}


def benchmark(ways: dict[str, tuple[Callable[[np.ndarray, np.ndarray], None], float]]) -> dict:
    """Median CPU seconds of each way, how many times longer than ours, and peak memory."""
    proxy, golden = pool()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (way, factor) in ways.items():
            started = time.process_time()
            way(proxy, golden)
            times[name].append(factor * (time.process_time() - started))
    peaks = {}
    for name, (way, _) in ways.items():
        tracemalloc.start()
        way(proxy, golden)
        peaks[name] = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
    median = {name: statistics.median(t) for name, t in times.items()}
    return {
        name: {
            "cpu_seconds": m,
            "times_rmcheck": m / median["rmcheck"],
            "peak_mib": peaks[name],
        }
        for name, m in median.items()
    }


def main() -> None:
    """Measure, print and write."""
    results = {name: benchmark(ways) for name, ways in WAYS.items()}
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    machine |= {name: version(name) for name in ("rmcheck", "numpy", "scipy")}
    pool_size = {"prompts": PROMPTS, "responses": RESPONSES}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps({"machine": machine, "pool": pool_size, "curves": results}, indent=2) + "\n"
    )
    for name, ways in results.items():
        print(f"{name}, {PROMPTS:,} prompts x {RESPONSES:,}")
        for way, found in ways.items():
            print(
                f"  {way:20s} {found['cpu_seconds']:9.2f} s {found['times_rmcheck']:8.1f}x"
                f" {found['peak_mib']:8.0f} MiB"
            )


if __name__ == "__main__":
    main()
