"""What is left of the noise in a calibration error, and how often its bounds hold.

    OMP_NUM_THREADS=1 python benchmarks/calibration.py [--replications 60] [--prompts 30,100,500]

Pools are drawn again and again from worlds whose calibration error is known from 200,000 prompts: a
proxy that is calibrated, sure of too much or of too little, sure of nearly everything, reversed in
one bin, tied, on one pair a prompt or on the ten pairs of five responses. Beside the estimate and
its one-sided 95 % bounds stands what they replaced: the sum with its noise, and percentiles of it.
The drops are those between two proxies on the same labels. Prints and writes
benchmarks/results/calibration.md.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from rmcheck.checks.bounds import one_sided_bounds
from rmcheck.checks.measurement import Pending, Sampling, measured, pending, pending_drop
from rmcheck.metrics.calibration import ECE, logistic
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.rewards import Floats, Rewards

RESULTS = Path(__file__).parent / "results" / "calibration.md"
TRUTH_PROMPTS = 200_000
LEVEL = 0.95
World = Callable[[int, np.random.Generator], tuple[Floats, Floats]]


def pairs(belief: Callable[[Floats], Floats]) -> World:
    """One pair a prompt: a margin that labels are drawn from, and what the proxy makes of it."""

    def draw(prompts: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        margin = rng.normal(0, 1.5, prompts)
        right = rng.random(prompts) < logistic(margin)
        proxy = belief(margin)
        return np.stack([proxy, 0 * proxy], axis=1), np.stack([right, ~right], axis=1).astype(float)

    return draw


def sure(accuracy: float) -> World:
    """One pair a prompt, of which the proxy claims .9997 and more."""

    def draw(prompts: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        right = rng.random(prompts) < accuracy
        margin = 8 + rng.random(prompts)
        return np.stack([margin, 0 * margin], axis=1), np.stack([right, ~right], axis=1).astype(
            float
        )

    return draw


def fives(scale: float) -> World:
    """Ten pairs a prompt: golden is the proxy, calibrated where `scale` is 1, plus Gumbel noise."""

    def draw(prompts: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        utility = rng.normal(0, 1.2, (prompts, 5))
        return scale * utility, utility + rng.gumbel(size=utility.shape)

    return draw


WORLDS: dict[str, World] = {
    "calibrated": pairs(lambda m: m),
    "over-confident": pairs(lambda m: 2 * m),
    "under-confident": pairs(lambda m: 0.5 * m),
    "reversed in one bin": pairs(lambda m: np.where(np.abs(m) > 2.47, -m, m)),
    "tied": pairs(lambda m: np.round(2 * m) / 1.4),
    "sure, .95 right": sure(0.95),
    "sure, .98 right": sure(0.98),
    "calibrated, ten pairs": fives(1.0),
    "over-confident, ten pairs": fives(2.0),
    "under-confident, ten pairs": fives(0.5),
}
DROPS = (
    ("over-confident", "calibrated"),
    ("calibrated", "over-confident"),
    ("under-confident", "over-confident"),
    ("tied", "calibrated"),
    ("over-confident, ten pairs", "calibrated, ten pairs"),
    ("calibrated, ten pairs", "over-confident, ten pairs"),
    ("under-confident, ten pairs", "over-confident, ten pairs"),
)


def drawn(world: str, prompts: int, seed: int) -> Rewards:
    """A pool; worlds of as many pairs have the same labels at the same seed."""
    return Rewards.from_arrays(*WORLDS[world](prompts, np.random.default_rng([prompts, seed])))


def truth(world: str) -> float:
    """Of so many prompts that noise is a thousandth."""
    pool = drawn(world, TRUTH_PROMPTS, 0)
    metric = ECE().fitted(pool)
    found = metric.debiased(per_prompt_sums(metric, pool)[0])
    assert found is not None
    return found


def replaced(value: Pending) -> tuple[float, float, float]:
    """The sum, or the difference of two, with its noise, and the bounds that resampling gave it.

    Percentiles, but for the lower bound of a sum: that was the sum less a percentile of the noise.
    """
    totals = value.units.whole
    drawn = value.units.resampled(value.sampling.resamples, value.sampling.seed)
    plain, draws = float(value.statistic.value(totals)), value.statistic.value(drawn)
    lower, upper = np.quantile(draws, [1 - LEVEL, LEVEL]).tolist()
    terms, moved = value.statistic.terms(totals), value.statistic.terms(drawn)
    if terms is not None and moved is not None:
        lower = max(0.0, plain - float(np.quantile(np.abs(moved - terms).sum(axis=1), LEVEL)))
    return plain, lower, upper


def cells(values: Iterator[Pending], true: float) -> list[str]:
    """Mean estimate, share of pools in which each bound holds, mean distance of the upper one."""
    rows = []
    for value in values:
        [found] = measured([value])
        rows.append(
            (
                *replaced(value),
                found.estimate.value,
                *one_sided_bounds(found.distribution, found.estimate.value, LEVEL),
            )
        )
    numbers = np.array(rows)
    out = []
    for before in (0, 3):
        center, lower, upper = numbers[:, before : before + 3].T
        out.append(f"{center.mean():.3f}")
        # Noise is left in the truth as well: a thousandth.
        out.append(f"{np.mean(lower <= true + 1e-3):.0%} {np.mean(upper >= true - 1e-3):.0%}")
        out.append(f"{upper.mean():.3f}")
    return out


HEAD = (
    "| | true | prompts | sum | bounds hold | upper | estimate | bounds hold | upper |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def tables(prompts: list[int], replications: int) -> Iterator[str]:
    """Line by line."""
    true = {name: truth(name) for name in WORLDS}
    told = __doc__.split("\n\n")[2].replace("\n", " ").partition(" Prints and writes")[0]
    yield from ("# Calibration error", "", told, "")
    yield (
        f"{replications} pools a row, 400 resamples. Bounds: share of pools in which the lower, "
        "then the upper one holds; upper: its mean. On the left what was, on the right what is."
    )
    yield from ("", HEAD)
    how = Sampling(LEVEL, resamples=400, seed=0, min_prompts=2)
    for name in WORLDS:
        for size in prompts:
            pools = (drawn(name, size, seed) for seed in range(1, replications + 1))
            row = cells((pending(ECE(), pool, sampling=how) for pool in pools), true[name])
            yield f"| {name} | {true[name]:.3f} | {size} | {' | '.join(row)} |"
    yield from ("", "Drops, from the second to the first:", "", HEAD)
    for first, second in DROPS:
        for size in prompts:
            both = (
                [drawn(name, size, seed) for name in (first, second)]
                for seed in range(1, replications + 1)
            )
            gap = true[first] - true[second]
            row = cells((pending_drop(ECE(), *pair, sampling=how) for pair in both), gap)
            yield f"| {first} / {second} | {gap:+.3f} | {size} | {' | '.join(row)} |"


def main() -> None:
    """Print as it goes, and keep."""
    command = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    command.add_argument("--replications", type=int, default=60)
    command.add_argument("--prompts", default="30,100,500")
    options = command.parse_args()
    lines = []
    for line in tables([int(n) for n in options.prompts.split(",")], options.replications):
        print(line, flush=True)
        lines.append(line)
    RESULTS.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
