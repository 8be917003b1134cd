"""Metric mathematics against scipy and scikit-learn, all prompts at once and prompt by prompt.

    OMP_NUM_THREADS=1 python benchmarks/metrics.py [--before OLDER_CHECKOUT] [--shape P N]

Prints a table and writes benchmarks/results/metrics.json. Beside the loops over prompts stand the
calls that take all rows at once (`axis=1`), where scipy or scikit-learn have one. At the end all
ten metrics are measured with 10,000 resamples, each time in a process of its own; with --before in
turn with the package of an older checkout. Times are medians of CPU seconds of one thread, which a
busy neighbour barely moves. A loop that would take longer than LOOP_SECONDS is
timed on its first prompts and scaled by P, which it is linear in; such figures are marked with *.
Memory is tracemalloc's peak of one call.
"""

import argparse
import itertools
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import chatterjeexi, kendalltau, pearsonr, rankdata, spearmanr, spearmanrho
from sklearn.metrics import ndcg_score

from rmcheck.checks.measurement import measured, pending
from rmcheck.metrics.metric import Metric, per_prompt_sums
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards

SHAPES = ((2733, 5), (2733, 64), (805, 200), (1000, 1280))
WHOLE = ((2733, 5), (2733, 16), (2733, 64), (20_000, 8))
REPEATS = 5
LOOP_SECONDS = 0.3
DRAWS = 1000

ROUNDS = 3
RESAMPLED = "ten_metrics_and_10000_resamples"

Loop = Callable[[np.ndarray, np.ndarray], float]
Rows = Callable[[np.ndarray, np.ndarray], np.ndarray]


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
        rows: The call that takes all rows at once; empty where there is none.
        rows_seconds: Median CPU seconds of that call.
        rows_ratio: `rows_seconds` / `seconds`.
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
    rows: str
    rows_seconds: float | None
    rows_ratio: float | None
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


def reciprocal_ranks(proxy: np.ndarray, golden: np.ndarray) -> np.ndarray:
    """MRR of all rows, without ties."""
    first = proxy.argmax(axis=1)[:, None]
    return 1 / np.take_along_axis(rankdata(-golden, axis=1), first, axis=1)[:, 0]


# By metric: the name of the call that takes all rows, and the call.
ALL_ROWS: dict[str, tuple[str, Rows]] = {
    "accuracy": (
        "scipy kendalltau, axis=1",
        lambda r, g: (1 + kendalltau(r, g, axis=1).statistic) / 2,
    ),
    "kendall": ("scipy kendalltau, axis=1", lambda r, g: kendalltau(r, g, axis=1).statistic),
    "spearman": ("scipy spearmanrho, axis=1", lambda r, g: spearmanrho(r, g, axis=1).statistic),
    "pearson": ("scipy pearsonr, axis=1", lambda r, g: pearsonr(r, g, axis=1).statistic),
    "xi": ("scipy chatterjeexi, axis=1", lambda r, g: chatterjeexi(r, g, axis=1).statistic),
    "ndcg": ("sklearn ndcg_score, 2-D", lambda r, g: ndcg_score(rankdata(g, axis=1), r)),
    "mrr": ("scipy rankdata, axis=1", reciprocal_ranks),
}


def timed_metric(metric: Metric, rewards: Rewards) -> tuple[float, float]:
    """(median seconds, peak MiB) of fitting and of the sums of all prompts."""

    def run() -> None:
        anew = replace(rewards)  # nothing is known of it yet: not its order, nor its pairs
        per_prompt_sums(metric.fitted(anew), anew)

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


def drawn(prompts: int, responses: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian proxy and golden rewards of correlation 0.8, no ties."""
    rng = np.random.default_rng(prompts + responses)
    golden = rng.normal(size=(prompts, responses))
    return 0.8 * golden + 0.6 * rng.normal(size=golden.shape), golden


def benchmark(prompts: int, responses: int) -> list[Row]:
    """All metrics on one shape."""
    proxy, golden = drawn(prompts, responses)
    rewards = Rewards.from_arrays(proxy, golden)
    rows = []
    for metric, name, loop, exact in compared(responses):
        seconds, peak = timed_metric(metric, rewards)
        rows_name, call = ALL_ROWS.get(metric.name, ("", None))
        at_once = None
        if call is not None:
            call(proxy, golden)
            spent = [timed(lambda call=call: call(proxy, golden)) for _ in range(3)]
            at_once = statistics.median(spent)
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
                rows=rows_name,
                rows_seconds=at_once,
                rows_ratio=at_once and at_once / seconds,
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
    at_once = f"{row.rows} {row.rows_ratio:.1f}x" if row.rows_ratio else ""
    return (
        f"{row.prompts:5} x {row.responses:<5} {row.metric.split('|')[0]:<15}"
        f"{1000 * row.seconds:10.2f} ms {row.peak_mib:7.1f} MiB   {row.loop:<30}"
        f"{1000 * row.loop_seconds:12.1f} ms{star} {row.ratio:10,.{digits}f}x  {same:16} {at_once}"
    )


def whole(prompts: int, responses: int) -> float:
    """CPU seconds of ten metrics with bounds from 10,000 resamples, of rewards just read."""
    proxy, golden = drawn(prompts, responses)
    rewards = Rewards.from_arrays(proxy, golden)
    quarter = max(2, responses // 4)
    plain = ("accuracy", "pearson", "spearman", "kendall", "xi", "mrr", "ndcg", "ece")
    metrics = [make_metric(name) for name in plain]
    metrics += [make_metric(name, n=quarter) for name in ("bo_n", "bon_drop_ratio")]
    tiny = Rewards.from_arrays(proxy[:50], golden[:50])
    measured([pending(metric, tiny) for metric in metrics])  # what is loaded on first use

    def run() -> None:
        measured([pending(metric, rewards) for metric in metrics])

    return timed(run)


def wholes(prompts: int, responses: int, before: Path | None) -> dict[str, float]:
    """Median CPU seconds of `whole`, of this package and of the older one, in turn."""
    checkouts = {"now": Path(__file__).parents[1], **({"before": before} if before else {})}
    spent: dict[str, list[float]] = {name: [] for name in checkouts}
    for _ in range(ROUNDS):
        for name, checkout in checkouts.items():
            command = [sys.executable, __file__, "--whole", f"{prompts}", f"{responses}"]
            environment = {**os.environ, "PYTHONPATH": str(checkout)}
            found = subprocess.run(command, env=environment, check=True, capture_output=True)
            spent[name].append(float(found.stdout))
    return {name: statistics.median(times) for name, times in spent.items()}


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
    command = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    command.add_argument("--before", type=Path, help="checkout of an older version")
    command.add_argument("--shape", type=int, nargs=2, metavar=("P", "N"), help="this one alone")
    command.add_argument("--whole", type=int, nargs=2, help=argparse.SUPPRESS)
    options = command.parse_args()
    if options.whole:
        print(whole(*options.whole))
        return
    machine = {
        "processor": processor(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "scipy", "scikit-learn", "rmcheck")},
    }
    print(", ".join(f"{key} {value}" for key, value in machine.items()), "\n")
    target = Path(__file__).parent / "results" / "metrics.json"
    document: dict[str, Any] = {"machine": machine, "repeats": REPEATS, "rows": {}, RESAMPLED: {}}
    if options.shape and target.exists():  # beside what is there of other shapes
        known = json.loads(target.read_text(encoding="utf-8"))
        same = known["machine"] == machine and isinstance(known["rows"], dict)
        document = known if same else document
    wanted = [tuple(options.shape)] if options.shape else sorted({*SHAPES, *WHOLE})
    for p, n in wanted:
        shape = f"{p} x {n}"
        if (p, n) in SHAPES:
            document["rows"][shape] = [asdict(row) for row in benchmark(p, n)]
        if (p, n) in WHOLE:
            found = document[RESAMPLED][shape] = wholes(p, n, options.before)
            told = ", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in found.items())
            print(f"{shape}, ten metrics with 10,000 resamples: {told}")
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
