"""10,000 bootstrap resamples of eight statistics: one shared weight matrix against loops.

    OMP_NUM_THREADS=1 python benchmarks/bootstrap.py

* `python loop`: for each resample, draw prompts and take eight means;
* `scipy percentile`, `scipy BCa`: `scipy.stats.bootstrap`, vectorised, one statistic after another;
* `rmcheck, first`: draw the weights, then all eight distributions with BCa bounds;
* `rmcheck, again`: the same with the weights at hand, as for every further check, model and slice.

Prints a table and writes benchmarks/results/bootstrap.json. Times are medians of CPU seconds of one
thread, in interleaved rounds.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.stats

from rmcheck.metrics.ratio import ratio, ratio_gradient
from rmcheck.stats.bootstrap import resample
from rmcheck.stats.weights import draw_weights

RESAMPLES = 10_000
STATISTICS = 8
ROUNDS = 5
RESULTS = Path(__file__).parent / "results" / "bootstrap.json"


class Mean:
    """Sum over count."""

    def value(self, sums: np.ndarray) -> np.ndarray:
        """The mean."""
        return ratio(sums[..., 0], sums[..., 1])

    def gradient(self, sums: np.ndarray) -> np.ndarray:
        """Of a ratio."""
        return ratio_gradient(sums, sign=1.0)


def python_loop(values: np.ndarray) -> None:
    """One resample after another."""
    rng = np.random.default_rng(0)
    size = values.shape[0]
    draws = np.empty((RESAMPLES, values.shape[1]))
    for b in range(RESAMPLES):
        draws[b] = values[rng.integers(0, size, size)].mean(axis=0)
    np.quantile(draws, [0.05, 0.95], axis=0)


def scipy_bootstrap(values: np.ndarray, method: str) -> None:
    """One statistic after another."""
    for column in values.T:
        scipy.stats.bootstrap(
            (column,), np.mean, n_resamples=RESAMPLES, method=method, batch=200, rng=0
        )


def ours(values: np.ndarray) -> None:
    """All statistics in one product with the weights."""
    weights = draw_weights(values.shape[0], RESAMPLES, 0)
    sums = np.stack([values, np.ones_like(values)], axis=-1)
    totals = weights.totals(sums.reshape(len(values), -1)).reshape(RESAMPLES, STATISTICS, 2)
    for i in range(STATISTICS):
        distribution = resample(Mean(), sums[:, i], weights, totals=totals[:, i])
        distribution.bound(0.05), distribution.bound(0.95)


def ours_first(values: np.ndarray) -> None:
    """With the weights drawn anew."""
    draw_weights.cache_clear()
    ours(values)


WAYS: dict[str, Callable[[np.ndarray], None]] = {
    "python loop": python_loop,
    "scipy percentile": lambda values: scipy_bootstrap(values, "percentile"),
    "scipy BCa": lambda values: scipy_bootstrap(values, "BCa"),
    "rmcheck, first": ours_first,
    "rmcheck, again": ours,
}


def benchmark(prompts: int) -> dict[str, dict[str, float]]:
    """Median CPU seconds of each way, and how often it fits into the python loop."""
    values = np.random.default_rng(prompts).normal(size=(prompts, STATISTICS))
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, way in WAYS.items():
            started = time.process_time()
            way(values)
            times[name].append(time.process_time() - started)
    median = {name: statistics.median(t) for name, t in times.items()}
    slowest = median["python loop"]
    return {name: {"cpu_seconds": m, "speed_up": slowest / m} for name, m in median.items()}


def main() -> None:
    """Measure, print and write."""
    results = {str(prompts): benchmark(prompts) for prompts in (805, 2733)}
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    machine |= {name: version(name) for name in ("rmcheck", "numpy", "scipy")}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine, "prompts": results}, indent=2) + "\n")
    for prompts, ways in results.items():
        print(f"{prompts} prompts, {STATISTICS} statistics, {RESAMPLES:,} resamples")
        for name, found in ways.items():
            ms, ratio_to_loop = 1000 * found["cpu_seconds"], found["speed_up"]
            print(f"  {name:18s} {ms:8.0f} ms  {ratio_to_loop:6.1f}x")


if __name__ == "__main__":
    main()
