"""Metric mathematics against loops over prompts with scipy, scikit-learn and plain Python.

    OMP_NUM_THREADS=1 python benchmarks/metrics.py

Prints a table and writes benchmarks/results/metrics.json. Times are medians of CPU seconds of one
thread, which a busy neighbour barely moves. A loop that would take longer than LOOP_SECONDS is
timed on its first prompts and scaled by P, which it is linear in; such figures are marked with *.
Memory is tracemalloc's peak of one call.
"""

import itertools
import json
import math
import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy.stats import chatterjeexi, kendalltau, pearsonr, rankdata, spearmanr
from sklearn.metrics import ndcg_score

from rmcheck.metrics.metric import Metric, per_prompt_sums
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards

SHAPES = ((2733, 5), (2733, 64), (805, 200), (1000, 1280))
REPEATS = 5
LOOP_SECONDS = 1.0
DRAWS = 1000

Loop = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Row:
    """One metric on one shape.

    Attributes:
        metric: Signature of the metric.
        prompts: P.
        responses: N of each prompt.
        seconds: Median CPU seconds of `fitted` and the sums of all prompts.
        peak_mib: Peak memory of one call.
        loop: What the metric is compared with.
        loop_seconds: Median CPU seconds of the loop over all prompts.
        scaled: Whether the loop was timed on some prompts and scaled.
        ratio: `loop_seconds` / `seconds`.
        same: Largest difference of the two values of the prompts that were looped over; None
            where the loop estimates by drawing.
    """

    metric: str
    prompts: int
    responses: int
    seconds: float
    peak_mib: float
    loop: str
    loop_seconds: float
    scaled: bool
    ratio: float
    same: float | None


def pair_accuracy(proxy: np.ndarray, golden: np.ndarray) -> float:
    """Accuracy by a double loop."""
    right = total = 0.0
    rows = list(zip(proxy.tolist(), golden.tolist(), strict=True))
    for (r, g), (s, h) in itertools.combinations(rows, 2):
        if g != h:
            total += 1
            right += 0.5 if r == s else (r > s) == (g > h)
    return right / total


def reciprocal_rank(proxy: np.ndarray, golden: np.ndarray) -> float:
    """MRR by sorting, without ties."""
    return 1 / rankdata(-golden)[proxy.argmax()]


def monte_carlo_gain(proxy: np.ndarray, golden: np.ndarray) -> float:
    """Best-of-n gain of the proxy by drawing; n is a quarter of the responses."""
    rng = np.random.default_rng(0)
    n = max(2, proxy.size // 4)
    gained = 0.0
    for _ in range(DRAWS):
        drawn = rng.choice(proxy.size, n, replace=False)
        gained += golden[drawn[proxy[drawn].argmax()]]
    return gained / DRAWS - golden.mean()


def pair_calibration(proxy: np.ndarray, golden: np.ndarray) -> float:
    """Margins, confidence and bins of all pairs of one prompt at once."""
    low, high = np.triu_indices(proxy.size, 1)
    margin, agrees = proxy[low] - proxy[high], golden[low] > golden[high]
    agrees = np.where(margin < 0, ~agrees, agrees)
    margin = np.abs(margin)
    cells = np.searchsorted(np.quantile(margin, np.arange(1, 10) / 10), margin)
    gap = np.bincount(cells, 1 / (1 + np.exp(-margin)) - agrees, minlength=10)
    return float(np.abs(gap).sum() / margin.size)


def compared(size: int) -> list[tuple[Metric, str, Loop, bool]]:
    """(metric, name of the loop, the loop, whether the values of a prompt must agree)."""
    quarter = max(2, size // 4)
    return [
        (make_metric("accuracy"), "python double loop", pair_accuracy, True),
        (
            make_metric("kendall"),
            "scipy kendalltau loop",
            lambda r, g: kendalltau(r, g).statistic,
            True,
        ),
        (
            make_metric("spearman"),
            "scipy spearmanr loop",
            lambda r, g: spearmanr(r, g).statistic,
            True,
        ),
        (
            make_metric("pearson"),
            "scipy pearsonr loop",
            lambda r, g: pearsonr(r, g).statistic,
            True,
        ),
        (
            make_metric("xi"),
            "scipy chatterjeexi loop",
            lambda r, g: chatterjeexi(r, g).statistic,
            True,
        ),
        (
            make_metric("ndcg"),
            "sklearn ndcg_score loop",
            lambda r, g: ndcg_score(rankdata(g)[None], r[None]),
            True,
        ),
        (make_metric("mrr"), "scipy rankdata loop", reciprocal_rank, True),
        (
            make_metric("bon_drop_ratio", n=quarter),
            f"Monte-Carlo choice, {DRAWS} draws",
            monte_carlo_gain,
            False,
        ),
        (make_metric("ece"), "numpy loop, all pairs", pair_calibration, False),
    ]


def measured(metric: Metric, rewards: Rewards) -> tuple[float, float]:
    """(median seconds, peak MiB) of fitting and of the sums of all prompts."""

    def run() -> None:
        per_prompt_sums(metric.fitted(rewards), rewards)

    run()
    seconds = [timed(run) for _ in range(REPEATS)]
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return statistics.median(seconds), peak


def timed(run: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def looped(loop: Loop, proxy: np.ndarray, golden: np.ndarray) -> tuple[float, list[float]]:
    """(seconds over all prompts, values of the prompts that were looped over)."""
    values = [loop(proxy[0], golden[0])]  # what is loaded on first use is not counted
    start = time.process_time()
    spent, done = 0.0, 0
    while done < proxy.shape[0] and (spent < LOOP_SECONDS or done < 3):
        found = loop(proxy[done], golden[done])
        if done:
            values.append(found)
        done += 1
        spent = time.process_time() - start
    return spent * proxy.shape[0] / done, values


def benchmark(prompts: int, responses: int) -> list[Row]:
    """All metrics on one shape: Gaussian rewards of correlation 0.8, no ties."""
    rng = np.random.default_rng(prompts + responses)
    golden = rng.normal(size=(prompts, responses))
    proxy = 0.8 * golden + 0.6 * rng.normal(size=golden.shape)
    rewards = Rewards.from_arrays(proxy, golden)
    rows = []
    for metric, name, loop, exact in compared(responses):
        seconds, peak = measured(metric, rewards)
        repeats = [looped(loop, proxy, golden) for _ in range(3)]
        loop_seconds = statistics.median(spent for spent, _ in repeats)
        values = repeats[0][1]
        same = None
        if exact:
            sums, _ = per_prompt_sums(metric, rewards)
            same = float(np.abs(sums[: len(values), 0] - values).max())
        rows.append(
            Row(
                metric=metric.signature,
                prompts=prompts,
                responses=responses,
                seconds=seconds,
                peak_mib=peak,
                loop=name,
                loop_seconds=loop_seconds,
                scaled=len(values) < prompts,
                ratio=loop_seconds / seconds,
                same=same,
            )
        )
        print(line(rows[-1]), flush=True)
    total = sum(row.seconds for row in rows)
    print(f"{prompts:5} x {responses:<5} all of them: {1000 * total:.1f} ms\n")
    return rows


def line(row: Row) -> str:
    """A row of the printed table."""
    star = "*" if row.scaled else " "
    digits = 3 - min(3, max(0, math.floor(math.log10(max(row.ratio, 0.01)))))
    same = "" if row.same is None else f"max diff {row.same:.0e}"
    return (
        f"{row.prompts:5} x {row.responses:<5} {row.metric.split('|')[0]:<15}"
        f"{1000 * row.seconds:10.2f} ms {row.peak_mib:7.1f} MiB   {row.loop:<30}"
        f"{1000 * row.loop_seconds:12.1f} ms{star} {row.ratio:10,.{digits}f}x  {same}"
    )


def processor() -> str:
    """Name of the processor, as Linux gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for text in info.read_text(encoding="utf-8").splitlines():
            if text.startswith("model name"):
                return text.partition(":")[2].strip()
    return platform.processor()


def main() -> None:
    """Run all shapes, print the table, write the file."""
    machine = {
        "processor": processor(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "scipy", "scikit-learn", "rmcheck")},
    }
    print(", ".join(f"{key} {value}" for key, value in machine.items()), "\n")
    rows = [row for shape in SHAPES for row in benchmark(*shape)]
    target = Path(__file__).parent / "results" / "metrics.json"
    target.parent.mkdir(exist_ok=True)
    document = {"machine": machine, "repeats": REPEATS, "rows": [asdict(row) for row in rows]}
    target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
