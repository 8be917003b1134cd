"""How often the bounds cover the truth, and how often a suite fails for nothing.

    OMP_NUM_THREADS=1 python benchmarks/coverage.py [--replications 1000] [--jobs 1]

Pools are drawn again and again from worlds whose true values are known from pools of 300,000
prompts. Every registered metric is measured on each pool through `rmcheck.checks.measurement`, the
candidate's value and its paired drop against a baseline. Counted is how often the one-sided 95 %
bounds hold. In the second part whole suites of 12 checks are decided whose requirements are all
just met.

Prints and writes benchmarks/results/coverage.md, and coverage.json with every number.
"""

import argparse
import json
import math
import platform
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from rmcheck.checks.measurement import Sampling, measured, pending, pending_drop
from rmcheck.checks.verdict import Criterion, decide
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import Metric, per_prompt_sums
from rmcheck.metrics.registry import make_metric, metric_names
from rmcheck.metrics.rewards import Rewards

RESULTS = Path(__file__).parent / "results"
CONFIDENCE = 0.95
ACCEPTED = (0.93, 0.97)
RESAMPLES = 1_000
TRUTH_PROMPTS = 300_000
PROMPTS = (20, 50, 100, 200)
RAGGED = "5-8"
# Every world at N = 5; other numbers of responses in the first world only, to keep the run short.
CELLS = (
    *((world, "5") for world in ("gaussian", "scales", "t3", "binary")),
    ("gaussian", "8"),
    ("gaussian", RAGGED),
)
# Settings with which each metric is measured. A metric that is not here is measured with none.
# Normalised ones can be measured on ragged pools too; at one N they are the raw ones, rescaled.
# `ndr` is 1 − `bon_drop_ratio`: what is a lower bound of one is an upper bound of the other.
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "mrr": [{"normalized": True}],
    "ndcg": [{"normalized": True}],
    "xi": [{"normalized": True}],
    "one_vs_many_accuracy": [{"normalized": True}],
    "ece": [{}, {"target": "soft"}],
    "ndr": [{"n": 4}],
    "bon_drop_ratio": [{"n": 2}],
    "predicted_regret": [{"n": 16}],
    "matched_kl_regret": [{"kl": 0.2}],
    "rank_bin_accuracy": [{"bins": 2, "chosen": 1, "rejected": 2}],
    "gamma": [{"n": 4}],
}
# All requirements are true and on their bound: the candidate's own true value, or a drop of 0.
AA_SUITE: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("accuracy", {}, "at_least"),
    ("kendall", {}, "at_least"),
    ("xi", {}, "at_least"),
    ("ndr", {"n": 2}, "at_least"),
    ("spearman", {}, "at_least"),
    ("bon_drop_ratio", {"n": 2}, "at_most"),
    ("bon_drop_ratio", {"n": 4}, "at_most"),
    ("predicted_regret", {"n": 16}, "at_most"),
    ("accuracy", {}, "max_drop"),
    ("ndcg", {}, "max_drop"),
    ("ndr", {"n": 2}, "max_drop"),
    ("bon_drop_ratio", {"n": 4}, "max_drop"),
)


@dataclass(frozen=True)
class Draw:
    """One pool: rewards of a candidate, and of a baseline on the same responses."""

    candidate: Rewards
    baseline: Rewards


@dataclass
class Tally:
    """How often the bounds of one metric held.

    Attributes:
        truth: True value and true drop.
        held: How often the lower bound, the upper bound, and both bounds of the drop held.
        n: Pools on which the metric was defined.
        undefined: Pools on which it was not.
        concerned: Pools on which there was a reason not to decide.
        exact: Whether every drop was exactly the true one, as where the proxy does not matter.
        refused: Why the world's pools cannot be measured at all; empty if they can.
    """

    truth: tuple[float, float] = (math.nan, math.nan)
    held: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    n: int = 0
    undefined: int = 0
    concerned: int = 0
    exact: bool = True
    refused: str = ""

    def shares(self) -> list[float]:
        """Coverage of lower, upper, the drop's lower and the drop's upper bound."""
        return [held / self.n if self.n else math.nan for held in self.held]


# -- worlds -------------------------------------------------------------------------------


def draw(world: str, responses: str, prompts: int, rng: np.random.Generator) -> Draw:
    """A pool of a world; candidate and baseline have errors that are correlated by one half.

    * `gaussian`: golden and proxy are normal, correlated by 0.7 (candidate) and 0.75 (baseline);
    * `scales`: golden's spread and both proxies' noise differ from prompt to prompt (lognormal);
    * `t3`: the proxies' errors have Student's t with 3 degrees of freedom;
    * `binary`: golden is 1 above a threshold that differs from prompt to prompt, else 0.
    """
    n = 8 if responses == RAGGED else int(responses)
    shape = (prompts, n)
    z = rng.standard_normal(shape)
    spread = rng.lognormal(0, 0.5, (prompts, 1)) if world == "scales" else np.ones((prompts, 1))
    noise = rng.lognormal(0, 0.5, (prompts, 1)) if world == "scales" else np.ones((prompts, 1))
    errors = _errors(world, shape, rng)
    golden = z * spread
    repeat = golden + 0.5 * spread * rng.standard_normal(shape)
    if world == "binary":
        threshold = rng.normal(0, 0.5, (prompts, 1))
        golden, repeat = (golden > threshold).astype(float), (repeat > threshold).astype(float)
    counts = rng.integers(5, 9, prompts) if responses == RAGGED else np.full(prompts, n)
    kept = np.arange(n) < counts[:, None]
    columns = {
        "repeat": repeat[kept],
        "length": np.exp(0.3 * np.clip(errors[0], -3, 3) + rng.normal(5, 0.5, shape))[kept],
        "disagreement": (np.abs(errors[0]) + rng.exponential(1, shape))[kept],
    }
    proxies = [
        rho * z + math.sqrt(1 - rho**2) * noise * error
        for rho, error in zip((0.7, 0.75), errors, strict=True)
    ]
    first, second = (_rewards(proxy[kept], golden[kept], counts, columns) for proxy in proxies)
    return Draw(first, second)


def _errors(
    world: str, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Errors of candidate and baseline of variance 1, half of whose variance is shared."""

    def one() -> np.ndarray:
        if world == "t3":
            return rng.standard_t(3, shape) / math.sqrt(3)
        return rng.standard_normal(shape)

    shared = one()
    return (shared + one()) / math.sqrt(2), (shared + one()) / math.sqrt(2)


def _rewards(
    proxy: np.ndarray, golden: np.ndarray, counts: np.ndarray, columns: dict[str, np.ndarray]
) -> Rewards:
    prompts = len(counts)
    return Rewards(
        proxy=proxy,
        golden=golden,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        prompt_ids=np.zeros(prompts, dtype="<U1"),
        clusters=np.arange(prompts),
        columns=columns,
    )


# -- coverage -----------------------------------------------------------------------------


def metrics() -> list[Metric]:
    """Every registered metric, with each of its settings here."""
    return [make_metric(name, **s) for name in metric_names() for s in SETTINGS.get(name, [{}])]


def label(metric: Metric) -> str:
    """Name and the settings that are not the defaults."""
    given = next(
        s for s in SETTINGS.get(metric.name, [{}]) if make_metric(metric.name, **s) == metric
    )
    return " ".join([metric.name, *(f"{key}={value}" for key, value in given.items())])


def true_values(metric: Metric, world: Draw) -> tuple[float, float]:
    """Value of the candidate, and its drop against the baseline, on a huge pool.

    Raises:
        UndefinedMetricError: These pools cannot be measured.
    """
    values = []
    for rewards in (world.candidate, world.baseline):
        fitted = metric.fitted(rewards)
        values.append(float(fitted.value(per_prompt_sums(fitted, rewards)[0].sum(axis=0))))
    sign = -1.0 if metric.direction == "higher" else 1.0
    return values[0], sign * (values[0] - values[1])


def coverage(world: str, responses: str, replications: int) -> dict[int, dict[str, Tally]]:
    """Number of prompts to metric to how often its bounds held."""
    huge = draw(world, responses, TRUTH_PROMPTS, np.random.default_rng(1))
    truth: dict[str, tuple[float, float] | str] = {}
    for metric in metrics():
        try:
            truth[label(metric)] = true_values(metric, huge)
        except UndefinedMetricError as error:
            truth[label(metric)] = str(error)
    del huge
    found = {}
    for prompts in PROMPTS:
        tallies = {
            name: Tally(refused=t) if isinstance(t, str) else Tally(truth=t)
            for name, t in truth.items()
        }
        for replication in range(replications):
            rng = np.random.default_rng([prompts, replication])
            pairs = [(metric, tallies[label(metric)]) for metric in metrics()]
            replicate(draw(world, responses, prompts, rng), pairs)
        found[prompts] = tallies
    return found


def replicate(pool: Draw, tallies: Sequence[tuple[Metric, Tally]]) -> None:
    """Measure metrics on one pool, all with one product with the weights, and count."""
    sampling = Sampling(CONFIDENCE, RESAMPLES, seed=0, min_prompts=2)
    pairs = []
    for metric, tally in tallies:
        if tally.refused:
            continue
        try:
            own = pending(metric, pool.candidate, sampling=sampling)
            drop = pending_drop(metric, pool.candidate, pool.baseline, sampling=sampling)
        except UndefinedMetricError:
            tally.undefined += 1
            continue
        pairs.append((tally, own, drop))
    estimates = iter(
        [m.estimate for m in measured([value for _, *both in pairs for value in both])]
    )
    for tally, _, _ in pairs:
        own, drop = next(estimates), next(estimates)
        value, true_drop = tally.truth
        tally.n += 1
        tally.concerned += bool(own.concerns)
        tally.exact &= drop.value == true_drop
        ends = (own.lower <= value, value <= own.upper)
        drop_ends = (drop.lower <= true_drop, true_drop <= drop.upper)
        for i, holds in enumerate((*ends, *drop_ends)):
            tally.held[i] += bool(holds)


# -- false alarms -------------------------------------------------------------------------


def false_alarms(prompts: int, replications: int) -> dict[str, float]:
    """Share of suites with a FAIL though every requirement is met, with the bound on the truth.

    * `noise`: candidate and baseline are different checkpoints of one quality (same distribution,
      independent errors);
    * `same`: they are the same checkpoint.
    """
    metrics_ = [make_metric(name, **settings) for name, settings, _ in AA_SUITE]
    kinds = [kind for _, _, kind in AA_SUITE]
    huge = _alike(TRUTH_PROMPTS, np.random.default_rng(2))
    bounds = [
        0.0 if kind == "max_drop" else true_values(metric, huge)[0]
        for metric, kind in zip(metrics_, kinds, strict=True)
    ]
    criteria = [Criterion(k, b) for k, b in zip(kinds, bounds, strict=True)]  # type: ignore[arg-type]
    failed = {"noise": 0, "same": 0}
    for replication in range(replications):
        pool = _alike(prompts, np.random.default_rng([prompts, replication, 7]))
        for name, baseline in (("noise", pool.baseline), ("same", pool.candidate)):
            verdicts = decide(criteria, _suite(metrics_, kinds, pool.candidate, baseline))
            failed[name] += any(verdict.outcome == "fail" for verdict in verdicts)
    return {name: count / replications for name, count in failed.items()}


def _suite(
    suite: Sequence[Metric], kinds: Sequence[str], candidate: Rewards, baseline: Rewards
) -> list[Any]:
    sampling = Sampling(CONFIDENCE, RESAMPLES, seed=0)
    return measured(
        [
            pending_drop(metric, candidate, baseline, sampling=sampling)
            if kind == "max_drop"
            else pending(metric, candidate, sampling=sampling)
            for metric, kind in zip(suite, kinds, strict=True)
        ]
    )


def _alike(prompts: int, rng: np.random.Generator, n: int = 5, rho: float = 0.7) -> Draw:
    """Two checkpoints of one quality on the same responses, with independent errors."""
    golden = rng.standard_normal((prompts, n))
    counts = np.full(prompts, n)
    first, second = (
        _rewards(
            (rho * golden + math.sqrt(1 - rho**2) * rng.standard_normal(golden.shape)).ravel(),
            golden.ravel(),
            counts,
            {},
        )
        for _ in range(2)
    )
    return Draw(first, second)


# -- results ------------------------------------------------------------------------------


def markdown(cells: dict[str, Any], alarms: dict[int, dict[str, float]], size: int) -> str:
    """All tables."""
    error = math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / size)
    lines = [
        "# Coverage",
        "",
        f"Share of {size:,} pools, in percent, on which a one-sided 95 % bound held, with "
        f"{RESAMPLES:,} resamples. Monte-Carlo error: {100 * error:.1f}. `!` marks a share outside "
        f"{100 * ACCEPTED[0]:.0f}-{100 * ACCEPTED[1]:.0f}. Each cell is the lower and the upper "
        "bound of the value, then those of the paired drop. `undecided`: percent of the pools on "
        "which the metric gave a reason not to decide, so that a check is inconclusive whatever "
        "its bounds. Written by `benchmarks/coverage.py`.",
        "",
    ]
    for name, found in cells.items():
        lines += [f"## {name}", "", *_table(found), ""]
    lines += ["## False alarms of a suite of 12 checks", "", *_alarm_table(alarms, size), ""]
    return "\n".join(lines)


def _table(found: dict[int, dict[str, Tally]]) -> Iterator[str]:
    yield "| metric | " + " | ".join(f"P = {prompts}" for prompts in found) + " |"
    yield "|---|" + "---|" * len(found)
    refused = []
    for metric, first in next(iter(found.values())).items():
        if first.refused:
            refused.append(f"* {metric}: {first.refused}")
            continue
        yield f"| {metric} | " + " | ".join(cell(found[p][metric]) for p in found) + " |"
    if refused:
        yield from ("", "Not measured here:", "", *refused)


def cell(tally: Tally) -> str:
    """Coverage of one metric, in percent."""
    low, high, *drop = tally.shares()
    dropped = ["exact"] if tally.exact else [_share(share) for share in drop]
    pools = tally.n + tally.undefined
    remarks = [
        f"{100 * count / pools:.0f} {word}"
        for word, count in (("undefined", tally.undefined), ("undecided", tally.concerned))
        if count
    ]
    remark = f" ({', '.join(remarks)})" if remarks else ""
    return f"{_share(low)} {_share(high)} · {' '.join(dropped)}{remark}"


def _share(share: float) -> str:
    if not math.isfinite(share):
        return "-"
    mark = "" if ACCEPTED[0] <= round(share, 4) <= ACCEPTED[1] else "!"
    return f"{100 * share:.1f}{mark}"


def _alarm_table(alarms: dict[int, dict[str, float]], size: int) -> Iterator[str]:
    error = math.sqrt(0.05 * 0.95 / size)
    yield (
        "Share of suites, in percent, with any FAIL though all 12 requirements are met and lie on "
        f"the true value. At most 5 is promised; Monte-Carlo error {100 * error:.1f}."
    )
    yield ""
    yield "| prompts | checkpoints of one quality | the same checkpoint |"
    yield "|---|---|---|"
    for prompts, found in alarms.items():
        yield f"| {prompts} | {100 * found['noise']:.1f} | {100 * found['same']:.1f} |"


def as_data(cells: dict[str, Any]) -> dict[str, Any]:
    """Every tally as plain data."""
    return {
        name: {
            str(prompts): {
                metric: {"refused": tally.refused}
                if tally.refused
                else {
                    "truth": tally.truth,
                    "coverage": tally.shares(),
                    "undefined": tally.undefined,
                    "with_concerns": tally.concerned,
                }
                for metric, tally in tallies.items()
            }
            for prompts, tallies in found.items()
        }
        for name, found in cells.items()
    }


def main() -> None:
    """Simulate, print and write."""
    command = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    command.add_argument("--replications", type=int, default=1_000)
    command.add_argument("--jobs", type=int, default=1, help="processes")
    command.add_argument("--results", type=Path, default=RESULTS, help="folder")
    options = command.parse_args()
    size, started = options.replications, time.perf_counter()
    with ProcessPoolExecutor(options.jobs) as pool:
        running = {f"{w}, N = {n}": pool.submit(coverage, w, n, size) for w, n in CELLS}
        suites = {prompts: pool.submit(false_alarms, prompts, size) for prompts in PROMPTS[1:]}
        cells = {name: future.result() for name, future in running.items()}
        alarms = {prompts: future.result() for prompts, future in suites.items()}
    text = markdown(cells, alarms, size)
    print(text)
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    machine |= {name: version(name) for name in ("rmcheck", "numpy")}
    data = {"machine": machine, "replications": size, "seconds": time.perf_counter() - started}
    data |= {"coverage": as_data(cells), "false_alarms": alarms}
    options.results.mkdir(exist_ok=True)
    (options.results / "coverage.md").write_text(text, encoding="utf-8")
    (options.results / "coverage.json").write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
