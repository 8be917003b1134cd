"""What adaptive gating spares, whether it says the same as the full run, and how often it is wrong.

    OMP_NUM_THREADS=1 python benchmarks/adaptive.py --pool POOL.jsonl.gz [--shuffles 40]

Three parts, all through `rmcheck.run.decide`:

* real pool: a suite of four checks on rules and on golden with noise, in many orders of the
  prompts; how often all verdicts are those of the full run, and the share of the pool scored; the
  same again with a check of the worst slice, of which the smallest needs `min_prompts` too;
* by distance: one check at a time, its bound put at a distance from the measured value that is a
  multiple of the full run's standard error, so that borderline checks are seen by themselves;
* error rates: simulated pools on which every true value lies on its bound, so that each pass and
  each fail is an error.

Prints and writes benchmarks/results/adaptive.md, and adaptive.json with every number.
"""

import argparse
import json
import math
import platform
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from statistics import NormalDist, median
from typing import Any

import numpy as np
from predicted_regret import Ragged, hacked, heavy, noisy, rules

from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards
from rmcheck.pool.pool import Message, Pool, Prompt
from rmcheck.run.decide import Decided, Look, SuiteVerdicts, one_look, plan_looks
from rmcheck.run.fill import ModelRewards
from rmcheck.run.find import Finding, Found, Key, find
from rmcheck.run.load import load
from rmcheck.run.loaded import LoadedSuite
from rmcheck.run.plan import PlannedSuite
from rmcheck.suite.loader import parse_suite
from rmcheck.suite.suite import Check

RESULTS = Path(__file__).parent / "results"
RESAMPLES = 4_000
DISTANCES = (0.5, 1.0, 1.4, 1.6, 1.7, 1.9, 2.2, 3.0, 4.0, 6.0, 8.0, 12.0)  # standard errors
SUITE = """\
rmcheck: 1
name: adaptive
adaptive: true
resamples: {resamples}
pool: {{path: {pool}}}
checks:
  - {{name: accuracy, metric: accuracy, at_least: 0.65}}
  - {{name: ranking, metric: kendall, at_least: 0.30}}
  - {{name: best-of-14, metric: bon_drop_ratio, n: 14, at_most: 0.45}}
  - {{name: no-regression, metric: accuracy, max_drop: 0.02}}
"""
SLICED = "  - {name: categories, metric: accuracy, over: category, worst: true, at_least: 0.6}\n"
BASELINE = "length"
PROXIES = (
    "length",
    "words",
    "distinct words",
    "lines",
    "markdown",
    "brevity",
    "near 1800 characters",
    "golden + 0.6 sd",
    "golden + 1 sd",
    "golden + 1.5 sd",
    "golden + 2.5 sd",
    "golden + 4 sd",
    "golden + 1.2 t2",
    "10% hacked",
    "golden + length",
    "golden + half length + noise",
)
# Metrics of which single checks are put at a distance from their value.
SINGLE = {"accuracy": {}, "bon_drop_ratio": {"n": 14}, "xi": {"normalized": True}}


@dataclass
class Runs:
    """What came of many orders of the prompts.

    Attributes:
        shares: Share of the pool that was scored, one a repeat.
        agreed: Whether all verdicts were those of the full run, one a repeat.
        opposite: Number of repeats in which a check passed that the full run fails, or the reverse.
    """

    shares: list[float] = field(default_factory=list)
    agreed: list[bool] = field(default_factory=list)
    opposite: int = 0

    def add(self, found: SuiteVerdicts, full: Mapping[Key, str]) -> None:
        """One repeat, against the verdicts of the full run."""
        outcome = outcomes(found)
        self.shares.append(len(found.seen.pool.prompts) / len(found.loaded.pool.prompts))
        self.agreed.append(outcome == full)
        self.opposite += any({outcome[key], full[key]} == {"pass", "fail"} for key in full)

    def data(self) -> dict[str, float]:
        """Plain numbers."""
        return {
            "repeats": len(self.agreed),
            "agreed": float(np.mean(self.agreed)),
            "opposite": self.opposite / len(self.agreed),
            "median_share": median(self.shares),
            "mean_share": float(np.mean(self.shares)),
        }


def outcomes(found: SuiteVerdicts) -> dict[Key, str]:
    """Key of each check to its verdict."""
    return {
        key: one.verdict.outcome if isinstance(one, Decided) else "error"
        for key, one in found.decided.items()
    }


def opened(loaded: LoadedSuite, seed: int) -> SuiteVerdicts:
    """A suite before the first look, its prompts in the order of a seed."""
    return SuiteVerdicts(loaded, plan_looks(loaded, seed))


def verdicts(found: Found, loaded: LoadedSuite) -> dict[Key, str]:
    """The same for a run that is not adaptive."""
    return outcomes(SuiteVerdicts(loaded, one_look(loaded)).after(found))


def found_at(look: Look, loaded: LoadedSuite, *rewards: Rewards) -> Found:
    """What a look finds of a candidate, and of a baseline, without a past."""
    models = zip(("candidate", "baseline"), rewards, strict=False)
    reads = {role: ModelRewards(of, "") for role, of in models}
    return find(PlannedSuite(loaded, {}), reads, look.repeated)


# -- the real pool ------------------------------------------------------------------------


class RealPool:
    """A pool of files with many proxies.

    Args:
        path: Native pool with golden rewards.
        resamples: Of the bootstrap.
    """

    def __init__(self, path: Path, resamples: int) -> None:
        text = SUITE.format(resamples=resamples, pool=path.resolve())
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "suite.yaml")
            file.write_text(text)
            self.loaded = load(file)
        self.sliced = replace(self.loaded, suite=parse_suite(text + SLICED, file))
        prompts = self.loaded.pool.prompts
        self.place = {prompt.prompt_id: i for i, prompt in enumerate(prompts)}
        golden = [np.array(p.labels["golden"], dtype=float) for p in prompts]
        lengths = [np.array([len(r) for r in p.responses], dtype=float) for p in prompts]
        asked = [p.messages[-1].content for p in prompts]
        known = rules([p.responses for p in prompts], asked)
        rng = np.random.default_rng(0)
        known |= noisy(golden, rng) | heavy(golden, rng) | hacked(golden, lengths, rng)
        self.proxies: dict[str, Ragged] = {name: known[name] for name in PROXIES}
        self.golden = golden

    def rewards(self, name: str, part: LoadedSuite) -> Rewards:
        """Rewards of a proxy on a part of the pool."""
        rows = [self.place[prompt.prompt_id] for prompt in part.pool.prompts]
        proxy = np.concatenate([self.proxies[name][i] for i in rows])
        return part.rewards(proxy, np.concatenate([self.golden[i] for i in rows]))


def whole_suites(pool: RealPool, loaded: LoadedSuite, shuffles: int) -> dict[str, Any]:
    """A suite on every proxy, in many orders."""
    out = {}
    for name in PROXIES:
        whole = found_at(*one_look(loaded), loaded, *_pair(pool, name, loaded))
        full = verdicts(whole, loaded)
        runs = Runs()
        for seed in range(shuffles):
            suite = opened(loaded, seed)
            while suite.is_open:
                look = suite.next
                suite = suite.after(found_at(look, loaded, *_pair(pool, name, look.part)))
            runs.add(suite, full)
        out[name] = {"full": {check: verdict for (check, _), verdict in full.items()}}
        out[name] |= runs.data()
        print(name, out[name], flush=True)
    return out


def _pair(pool: RealPool, name: str, part: LoadedSuite) -> tuple[Rewards, Rewards]:
    return pool.rewards(name, part), pool.rewards(BASELINE, part)


def by_distance(pool: RealPool, shuffles: int) -> dict[str, dict[str, float]]:
    """One check at a time, with its bound at a distance from the value of the full run."""
    runs = {distance: Runs() for distance in DISTANCES}
    for name in PROXIES:
        for metric, settings in SINGLE.items():
            _add_distances(runs, pool, name, metric, settings, shuffles)
        print(name, {d: r.data() for d, r in runs.items()}, flush=True)
    return {f"{distance:g}": found.data() for distance, found in runs.items()}


def _add_distances(
    runs: Mapping[float, Runs],
    pool: RealPool,
    name: str,
    metric: str,
    settings: Mapping[str, Any],
    shuffles: int,
) -> None:
    made = make_metric(metric, **settings)
    key = "at_least" if made.direction == "higher" else "at_most"
    check = Check(metric, made, **{key: 0.0})  # type: ignore[arg-type]
    alone = replace(pool.loaded, suite=replace(pool.loaded.suite, checks=(check,)))
    (found,) = found_at(*one_look(alone), alone, pool.rewards(name, alone)).values()
    assert isinstance(found, Finding)  # every proxy has both metrics
    e = found.measurement.estimate
    error = (e.upper - e.lower) / 2 / NormalDist().inv_cdf(e.confidence)
    suites: list[tuple[float, LoadedSuite, dict[Key, str]]] = []
    for distance in DISTANCES:
        for side in (-1, 1):
            bound = e.value + side * distance * error
            moved = replace(check, **{key: bound})
            loaded = replace(alone, suite=replace(alone.suite, checks=(moved,)))
            suites.append((distance, loaded, verdicts(_moved({check.name: found}, loaded), loaded)))
    for seed in range(shuffles):
        seen: dict[int, Any] = {}
        for distance, loaded, full in suites:
            suite = opened(loaded, seed)
            while suite.is_open:
                look = suite.next
                if look.number not in seen:  # a look measures the same for every bound
                    seen[look.number] = found_at(look, alone, pool.rewards(name, look.part))
                (one,) = seen[look.number].values()
                suite = suite.after(_moved({check.name: one}, loaded))
            runs[distance].add(suite, full)


def _moved(found: Mapping[str, Any], loaded: LoadedSuite) -> dict[Key, Any]:
    """What was found, put to the bounds of another suite."""
    planned = {p.check.name: p for p in loaded.planned}
    return {
        planned[name].key: replace(one, planned=planned[name]) if isinstance(one, Finding) else one
        for name, one in found.items()
    }


# -- simulated pools ----------------------------------------------------------------------


def on_the_bound(prompts: int, repeats: int, resamples: int) -> dict[str, Any]:
    """Shares of pools on which something was decided though every true value is on its bound."""
    rho, responses = 0.7, 5
    truth = _truth(rho, responses)
    loaded = _simulated(prompts, resamples, truth)
    names = [planned.check.name for planned in loaded.planned]
    wrong, full = (
        {"pass": dict.fromkeys(names, 0), "fail": dict.fromkeys([*names, "any"], 0)}
        for _ in range(2)
    )
    shares = []
    for repeat in range(repeats):
        rng = np.random.default_rng([prompts, repeat])
        first, second = _drawn(prompts, responses, rho, rng)
        whole = found_at(*one_look(loaded), loaded, *_rewards(loaded, first, second))
        _count(full, verdicts(whole, loaded))
        suite = opened(loaded, repeat)
        while suite.is_open:
            look = suite.next
            pair = _rewards(look.part, first, second)
            suite = suite.after(found_at(look, loaded, *pair))
        shares.append(len(suite.seen.pool.prompts) / prompts)
        _count(wrong, outcomes(suite))
    return {
        kind: {
            name: {"adaptive": wrong[kind][name] / repeats, "full": full[kind][name] / repeats}
            for name in wrong[kind]
        }
        for kind in wrong
    } | {"median_share": median(shares)}


def _count(tally: dict[str, dict[str, int]], found: Mapping[Key, str]) -> None:
    for kind, counts in tally.items():
        for (name, _), outcome in found.items():
            counts[name] += outcome == kind
        if "any" in counts:
            counts["any"] += kind in found.values()


def _simulated(prompts: int, resamples: int, truth: Mapping[str, float]) -> LoadedSuite:
    """A suite whose bounds are the true values."""
    text = f"""\
rmcheck: 1
name: on the bound
adaptive: true
resamples: {resamples}
pool: {{path: nothing.jsonl}}
checks:
  - {{name: accuracy, metric: accuracy, at_least: {truth["accuracy"]!r}}}
  - {{name: best-of-4, metric: bon_drop_ratio, n: 4, at_most: {truth["bon_drop_ratio"]!r}}}
  - {{name: no-regression, metric: accuracy, max_drop: 0}}
"""
    suite = parse_suite(text, Path("on_the_bound.yaml"))
    labels = {"golden": (0.0,) * 5}
    rows = tuple(
        Prompt(f"{i:05}", (Message("user", str(i)),), ("",) * 5, labels) for i in range(prompts)
    )
    return LoadedSuite(suite, Pool(Path("nothing.jsonl"), "native", rows))


def _drawn(
    prompts: int, responses: int, rho: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(2, P, N) proxy and golden of two models of one quality, with independent errors."""
    golden = rng.standard_normal((prompts, responses))
    proxies = [
        rho * golden + math.sqrt(1 - rho**2) * rng.standard_normal(golden.shape) for _ in range(2)
    ]
    return np.stack([proxies[0], golden]), np.stack([proxies[1], golden])


def _rewards(part: LoadedSuite, *pools: tuple[np.ndarray, np.ndarray]) -> list[Rewards]:
    rows = [int(prompt.prompt_id) for prompt in part.pool.prompts]
    return [part.rewards(proxy[rows].ravel(), golden[rows].ravel()) for proxy, golden in pools]


def _truth(rho: float, responses: int) -> dict[str, float]:
    """True values, from a million prompts."""
    first, _ = _drawn(1_000_000, responses, rho, np.random.default_rng(1))
    rewards = Rewards.from_arrays(*first)
    metrics = [make_metric("accuracy"), make_metric("bon_drop_ratio", n=4)]
    return {
        metric.name: float(metric.value(per_prompt_sums(metric, rewards)[0].sum(axis=0)))
        for metric in metrics
    }


# -- results ------------------------------------------------------------------------------


def markdown(found: Mapping[str, Any]) -> str:
    """All tables."""
    lines = ["# Adaptive gating", "", "Written by `benchmarks/adaptive.py`.", ""]
    if "whole" in found:
        for name, title in (("whole", "four checks"), ("sliced", "the same and a worst slice")):
            lines += [*_whole_table(title, found[name]), ""]
        lines += [*_distance_table(found["distance"]), ""]
    for prompts, errors in found["errors"].items():
        lines += [*_error_table(prompts, errors, found["repeats"]), ""]
    return "\n".join(lines)


def _whole_table(title: str, whole: Mapping[str, Any]) -> Iterator[str]:
    repeats = next(iter(whole.values()))["repeats"]
    agreed = float(np.mean([row["agreed"] for row in whole.values()]))
    yield f"## A suite of {title} on a real pool, {repeats} orders for each proxy"
    yield ""
    yield (
        f"Same verdicts as the full run in {agreed:.1%} of all repeats; median over proxies of the "
        f"median share scored {median(row['median_share'] for row in whole.values()):.0%}."
    )
    yield ""
    yield "| proxy | full run: pass, fail, inconclusive | same verdicts | share scored |"
    yield "|---|---|---|---|"
    for name, row in whole.items():
        outcome = list(row["full"].values())
        counts = ", ".join(str(outcome.count(v)) for v in ("pass", "fail", "inconclusive"))
        yield f"| {name} | {counts} | {row['agreed']:.1%} | {row['median_share']:.0%} |"


def _distance_table(rows: Mapping[str, Any]) -> Iterator[str]:
    repeats = next(iter(rows.values()))["repeats"]
    yield "## One check, by the distance of its bound from the value of the full run"
    yield ""
    yield (
        f"Distance in standard errors of the full run, on both sides; {repeats} repeats each. The "
        "full run decides from 1.64 on. `opposite` is a pass for a fail, or a fail for a pass."
    )
    yield ""
    yield "| distance | same verdict | opposite | share scored: median | mean |"
    yield "|---|---|---|---|---|"
    for distance, row in rows.items():
        yield (
            f"| {distance} | {row['agreed']:.1%} | {row['opposite']:.1%} | "
            f"{row['median_share']:.0%} | {row['mean_share']:.0%} |"
        )


def _error_table(prompts: str, errors: Mapping[str, Any], repeats: int) -> Iterator[str]:
    sd = math.sqrt(0.05 * 0.95 / repeats)
    yield f"## Errors with every true value on its bound, {prompts} prompts"
    yield ""
    yield (
        f"Percent of {repeats:,} simulated pools; Monte-Carlo error {100 * sd:.1f}. A check passes "
        "falsely in 5 % at most, and any check of the suite fails falsely in 5 % at most."
    )
    yield ""
    yield "| check | passes: adaptive, full run | fails: adaptive, full run |"
    yield "|---|---|---|"
    for name in errors["fail"]:
        found = (errors[kind].get(name) for kind in ("pass", "fail"))
        cells = (
            f"{100 * rates['adaptive']:.1f}, {100 * rates['full']:.1f}" if rates else "-"
            for rates in found
        )
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Measure, print and write."""
    command = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    command.add_argument("--pool", type=Path, help="native pool with golden rewards")
    command.add_argument("--shuffles", type=int, default=40, help="orders of the real pool")
    command.add_argument("--repeats", type=int, default=1_000, help="simulated pools")
    command.add_argument("--prompts", type=int, nargs="+", default=[300])
    command.add_argument("--resamples", type=int, default=RESAMPLES)
    command.add_argument("--results", type=Path, default=RESULTS, help="folder")
    options = command.parse_args()
    found: dict[str, Any] = {"repeats": options.repeats}
    if options.pool is not None:
        pool = RealPool(options.pool, options.resamples)
        found["whole"] = whole_suites(pool, pool.loaded, options.shuffles)
        found["sliced"] = whole_suites(pool, pool.sliced, max(1, options.shuffles // 5))
        found["distance"] = by_distance(pool, max(1, options.shuffles // 4))
    found["errors"] = {
        str(prompts): on_the_bound(prompts, options.repeats, options.resamples)
        for prompts in options.prompts
    }
    text = markdown(found)
    print(text)
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    machine |= {name: version(name) for name in ("rmcheck", "numpy")}
    data = {"machine": machine, "resamples": options.resamples, "shuffles": options.shuffles}
    data |= found
    options.results.mkdir(exist_ok=True)
    (options.results / "adaptive.md").write_text(text, encoding="utf-8")
    (options.results / "adaptive.json").write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
