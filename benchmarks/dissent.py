"""How often bounds hold where few prompts dissent, and how wide they are.

    OMP_NUM_THREADS=1 python benchmarks/dissent.py [--replications 300] [--worlds pairs-.98,rare]

Worlds in which resampling alone says too little: reward models that are right on nearly every pair,
golden rewards of few values, heavy tails, and disasters on few prompts. Pools are drawn again and
again; the true value and the true drop are those of 400,000 prompts. Counted is how often the
one-sided 95 % bounds hold; the median distance from the value to the deciding bound is beside it.
The second part decides `at_most` on the true value, and on half of it, at every look of
`adaptive: true`. Prints and writes benchmarks/results/dissent_run.md; what
it gave before and after the bounds were changed is kept in dissent.md.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from rmcheck.checks.bounds import one_sided_bounds
from rmcheck.checks.measurement import Measurement, Sampling, measured, pending, pending_drop
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import Metric, per_prompt_sums
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.stats.sequential import Looks, Repeated

RESULTS = Path(__file__).parent / "results"
TRUTH_PROMPTS = 400_000
PROMPTS = (30, 50, 100, 200)
SAMPLING = Sampling(0.95, resamples=1000, seed=0, min_prompts=2)
LOOKS = (0.1, 0.2, 0.4, 0.7, 1.0)
METRICS: tuple[Metric, ...] = (
    make_metric("accuracy"),
    make_metric("bon_drop_ratio", n=2),
    make_metric("bon_drop_ratio", n=4),
    make_metric("bo_n"),
)

Arrays = tuple[Floats, Floats, Floats]


def pairs(accuracy: float, gap: str) -> Callable[[int, np.random.Generator], Arrays]:
    """Pairs that two models get wrong independently; the golden gap is exponential or always 1."""

    def draw(prompts: int, rng: np.random.Generator) -> Arrays:
        gaps = rng.exponential(1, prompts) if gap == "exp" else np.ones(prompts)
        golden = np.stack([np.zeros(prompts), gaps], axis=1)
        first, second = (np.where(rng.random(prompts) < accuracy, 1.0, -1.0) for _ in range(2))
        return np.stack([0 * first, first], axis=1), np.stack([0 * second, second], axis=1), golden

    return draw


def _two(rho: Floats | float, z: Floats, errors: Callable[[], Floats]) -> tuple[Floats, Floats]:
    """Two models on normal z, whose errors are correlated by one half."""
    shared = errors()
    first, second = (
        rho * z + np.sqrt(1 - np.square(rho)) * (shared + errors()) / np.sqrt(2) for _ in range(2)
    )
    return first, second


def gaussian(prompts: int, rng: np.random.Generator) -> Arrays:
    """Golden and models jointly normal with ρ = .8."""
    z = rng.standard_normal((prompts, 5))
    return (*_two(0.8, z, lambda: rng.standard_normal(z.shape)), z)


def rare(prompts: int, rng: np.random.Generator, stake: float = 8.0) -> Arrays:
    """ρ = .9, but each model reverses 3 % of prompts of its own, on which golden spreads wider."""
    z = rng.standard_normal((prompts, 4))
    models = _two(0.9, z, lambda: rng.standard_normal(z.shape))
    bad = rng.random((2, prompts, 1)) < 0.03
    first, second = (np.where(b, -m, m) for b, m in zip(bad, models, strict=True))
    return first, second, np.where(bad.any(axis=0), stake, 1.0) * z


def rare_equal(prompts: int, rng: np.random.Generator) -> Arrays:
    """`rare` with as much at stake on every prompt."""
    return rare(prompts, rng, 1.0)


def heavy(prompts: int, rng: np.random.Generator) -> Arrays:
    """Errors of Student's t with 2.2 degrees of freedom, lognormal golden."""
    z = rng.standard_normal((prompts, 5))
    return (*_two(0.85, z, lambda: rng.standard_t(2.2, z.shape) / 2), np.exp(z))


def difficulty(prompts: int, rng: np.random.Generator) -> Arrays:
    """ρ of .95, .3 or −.4 by prompt, and golden spreads that are lognormal over prompts."""
    z = rng.standard_normal((prompts, 5))
    rho = rng.choice([0.95, 0.3, -0.4], (prompts, 1), p=[0.7, 0.2, 0.1])
    spread = rng.lognormal(0, 1, (prompts, 1))
    return (*_two(rho, z, lambda: rng.standard_normal(z.shape)), spread * z)


def grades(prompts: int, rng: np.random.Generator) -> Arrays:
    """Ratings from 1 to 5, four responses."""
    z = rng.standard_normal((prompts, 4))
    golden = np.digitize(z + 0.8 * rng.standard_normal((prompts, 1)), [-1.2, -0.4, 0.4, 1.2])
    return (*_two(0.85, z, lambda: rng.standard_normal(z.shape)), 1.0 + golden)


def verifier(prompts: int, rng: np.random.Generator) -> Arrays:
    """Pass or fail with a rate that differs by prompt (Beta(.6, .6)), eight responses."""
    golden = (rng.random((prompts, 8)) < rng.beta(0.6, 0.6, (prompts, 1))).astype(float)
    shared, own = rng.standard_normal((prompts, 8)), rng.standard_normal((2, prompts, 8))
    first, second = (golden + 0.5 * (shared + one) for one in own)
    return first, second, golden


WORLDS: dict[str, Callable[[int, np.random.Generator], Arrays]] = {
    **{f"pairs-{a:g}-{gap}": pairs(a, gap) for a in (0.95, 0.98, 0.99) for gap in ("exp", "equal")},
    "gaussian": gaussian,
    "rare": rare,
    "rare-equal": rare_equal,
    "heavy": heavy,
    "difficulty": difficulty,
    "grades": grades,
    "verifier": verifier,
}


@dataclass
class Tally:
    """Of one metric in one cell: bounds that held, and distances to the deciding bounds."""

    held: list[list[bool]] = field(default_factory=list)
    reach: list[list[float]] = field(default_factory=list)
    undecided: int = 0

    def row(self) -> str:
        """Coverage of lower, upper, the drop's lower and upper; reach to the deciding ones."""
        held, reach = np.mean(self.held, axis=0), np.median(self.reach, axis=0)
        shares = " ".join(f"{100 * share:.1f}" for share in held)
        told = f" ({self.undecided} undecided)" if self.undecided else ""
        return f"{shares} · {reach[0]:.3f} {reach[1]:.3f}{told}"


def drawn(world: str, prompts: int, seed: int) -> tuple[Rewards, Rewards]:
    """A pool, scored by candidate and baseline."""
    first, second, golden = WORLDS[world](prompts, np.random.default_rng([prompts, seed]))
    return Rewards.from_arrays(first, golden), Rewards.from_arrays(second, golden)


def true_value(metric: Metric, world: str) -> float:
    """On a huge pool."""
    _, _, golden = arrays = WORLDS[world](TRUTH_PROMPTS, np.random.default_rng(1))
    huge = Rewards(
        arrays[0].ravel(),
        golden.ravel(),
        np.arange(TRUTH_PROMPTS + 1) * golden.shape[1],
        np.zeros(TRUTH_PROMPTS, dtype="<U1"),
        np.arange(TRUTH_PROMPTS),
    )
    return float(metric.value(per_prompt_sums(metric, huge)[0].sum(axis=0)))


def possible(world: str) -> list[Metric]:
    """The metrics, with the larger n that this world's number of responses allows."""
    size = WORLDS[world](2, np.random.default_rng(0))[2].shape[1]
    unfit = make_metric("bon_drop_ratio", n=4 if size < 4 else 2)
    return [metric for metric in METRICS if metric != unfit]


def cell(
    world: str, prompts: int, replications: int, truth: dict[Metric, float]
) -> dict[str, Tally]:
    """Name of a metric to how often its bounds held."""
    tallies = {metric: Tally() for metric in truth}
    for seed in range(replications):
        candidate, baseline = drawn(world, prompts, seed)
        values = []
        for metric in truth:
            try:
                own = pending(metric, candidate, sampling=SAMPLING)
                drop = pending_drop(metric, candidate, baseline, sampling=SAMPLING)
            except UndefinedMetricError:
                tallies[metric].undecided += 1
                continue
            values.append((metric, own, drop))
        found = iter(measured([v for _, own, drop in values for v in (own, drop)]))
        for metric, _, _ in values:
            _count(tallies[metric], metric, next(found), next(found), truth[metric])
    return {metric.name: tally for metric, tally in tallies.items()}


def _count(tally: Tally, metric: Metric, own: Measurement, drop: Measurement, truth: float) -> None:
    e, d = own.estimate, drop.estimate
    tally.held.append([e.lower <= truth, truth <= e.upper, d.lower <= 0, d.upper >= 0])
    near = e.value - e.lower if metric.direction == "higher" else e.upper - e.value
    tally.reach.append([near, d.upper - d.value])
    tally.undecided += bool(e.concerns)


def looks(world: str, prompts: int, replications: int, truth: float) -> str:
    """Passes of `at_most` on the true value and on half of it: at any look, and at the last."""
    metric = next(m for m in possible(world) if m.name == "bon_drop_ratio")
    passed = np.zeros((2, 2))
    for seed in range(replications):
        candidate, _ = drawn(world, prompts, seed)
        at_looks = [_bounds_at(metric, candidate, share) for share in LOOKS]
        full = pending(metric, candidate, sampling=replace(SAMPLING, resamples=4000))
        whole = measured([full])[0].estimate.upper
        for i, bound in enumerate((truth, truth / 2)):
            passed[i] += [any(upper <= bound for upper in at_looks), whole <= bound]
    told = 100 * passed / replications
    return f"{told[0, 0]:.1f}, {told[0, 1]:.1f} | {told[1, 0]:.1f}, {told[1, 1]:.1f}"


def _bounds_at(metric: Metric, rewards: Rewards, share: float) -> float:
    """Upper bound at the look on this share; prompts are drawn in random order already."""
    n = int(np.ceil(share * len(rewards)))
    stop = rewards.offsets[n]
    part = Rewards(
        rewards.proxy[:stop],
        rewards.golden[:stop],
        rewards.offsets[: n + 1],
        rewards.prompt_ids[:n],
        np.arange(n),
    )
    try:
        [found] = measured([pending(metric, part, sampling=replace(SAMPLING, resamples=4000))])
    except UndefinedMetricError:
        return np.inf
    if found.estimate.concerns or n < 30:
        return np.inf
    repeated = Repeated(found.distribution, Looks(LOOKS), LOOKS.index(share))
    return one_sided_bounds(repeated, found.estimate.value, 0.95)[1]


def tables(worlds: list[str], replications: int, adaptive: int) -> Iterator[str]:
    """All lines of the results."""
    yield from (
        "# Bounds where few prompts dissent",
        "",
        f"Percent of {replications} pools on which one-sided 95 % bounds held: lower, upper, and",
        "those of the paired drop against a baseline of the same quality; then the median distance",
        "from the value, and from the drop, to the bound that decides a pass. Best-of-n is that of",
        "n = 4, on pairs of n = 2. Written by `benchmarks/dissent.py`.",
        "",
        "| world | metric | " + " | ".join(f"P = {p}" for p in PROMPTS) + " |",
        "|---|---|" + "---|" * len(PROMPTS),
    )
    for world in worlds:
        truth = {metric: true_value(metric, world) for metric in possible(world)}
        cells = [cell(world, p, replications, truth) for p in PROMPTS]
        for name in cells[0]:
            yield f"| {world} | {name} | " + " | ".join(c[name].row() for c in cells) + " |"
    if adaptive:
        yield from (
            "",
            f"`adaptive: true` on 300 prompts, {adaptive} pools: percent that pass `bon_drop_ratio",
            "at_most` with the true value on the bound, and twice the bound; at any look, and in a",
            "full run.",
            "",
            "| world | on the bound: adaptive, full | twice the bound: adaptive, full |",
            "|---|---|---|",
        )
        for world in worlds:
            metric = next(m for m in possible(world) if m.name == "bon_drop_ratio")
            yield f"| {world} | {looks(world, 300, adaptive, true_value(metric, world))} |"


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=300)
    parser.add_argument("--adaptive", type=int, default=200)
    parser.add_argument("--worlds", default=",".join(WORLDS))
    parser.add_argument("--out", type=Path, default=RESULTS / "dissent_run.md")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    lines = []
    for line in tables(options.worlds.split(","), options.replications, options.adaptive):
        print(line, flush=True)
        lines.append(line)
    options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
