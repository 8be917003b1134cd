"""Accuracy from many judge labels and few human ones: do its bounds hold, what are they worth?

Made prompts, each with four responses. Golden is a normal number; a reward model sees it with
noise; judges see it with more or less noise, one likes the reward model's errors, and one is noise
alone. Real pools: golden of all prompts stands for humans, of whom few are asked, and what a bound
must hold is the metric by golden on all prompts (of which the asked ones are a part, so that bounds
hold more often there than they say). Compared with the human labels alone.

Run: OMP_NUM_THREADS=1 python benchmarks/judged.py [--pools FOLDER]
Writes benchmarks/results/judged.md.
"""

import argparse
import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.metrics.judged import HUMAN, JudgedMean
from rmcheck.metrics.pairwise import Accuracy
from rmcheck.metrics.rewards import Rewards

RESULTS = Path(__file__).parent / "results" / "judged.md"
SAMPLING = Sampling(confidence=0.95, resamples=1000, seed=0)
# Noise of each judge; how much it likes what the reward model likes.
JUDGES = {"good": (0.5, 0.0), "fair": (1.5, 0.0), "partial": (0.7, 0.7), "useless": (1e6, 0.0)}


def world(judge: str, prompts: int, seed: int) -> tuple[Rewards, Rewards]:
    """Rewards with the judge as golden, and the same with humans as golden."""
    rng = np.random.default_rng(seed)
    golden = rng.normal(size=(prompts, 4))
    errors, (noise, liking) = rng.normal(size=golden.shape), JUDGES[judge]
    judged = golden + noise * rng.normal(size=golden.shape) + liking * errors
    proxy = golden + errors
    return both(proxy.ravel(), golden.ravel(), judged.ravel(), np.full(prompts, 4))


def both(
    proxy: np.ndarray, human: np.ndarray, judge: np.ndarray, counts: np.ndarray
) -> tuple[Rewards, Rewards]:
    """The same prompts by a judge with humans as a column, and by humans."""
    ends = np.cumsum(counts)[:-1]
    rows = [np.split(values, ends) for values in (proxy, judge, human)]
    judged = Rewards.from_arrays(rows[0], rows[1], columns={HUMAN: rows[2]})
    return judged, replace(judged, golden=human)


def asked(rewards: Rewards, count: int, seed: int) -> tuple[Rewards, np.ndarray]:
    """With human labels on so many prompts, drawn at random; and which they are."""
    drawn = np.zeros(len(rewards), bool)
    drawn[np.random.default_rng([seed, 1]).permutation(len(rewards))[:count]] = True
    known = np.repeat(drawn, rewards.counts)
    human = np.where(known, rewards.columns[HUMAN], np.nan)
    return replace(rewards, columns={HUMAN: human}), drawn


def only(rewards: Rewards, prompts: np.ndarray) -> Rewards:
    """The rewards of some prompts."""
    starts, parts = rewards.offsets[:-1], rewards.counts
    rows = [slice(a, a + n) for a, n in zip(starts[prompts], parts[prompts], strict=True)]
    proxies, goldens = ([v[r] for r in rows] for v in (rewards.proxy, rewards.golden))
    return Rewards.from_arrays(proxies, goldens)


def trial(pools: tuple[Rewards, Rewards], count: int, truth: float, seed: int) -> list[float]:
    """Whether each bound holds, with judge and without; widths; λ; the judge's own error."""
    judged, drawn = asked(pools[0], count, seed)
    with_judge = measure(JudgedMean(Accuracy()), judged, sampling=SAMPLING)
    alone = measure(Accuracy(), only(pools[1], drawn), sampling=SAMPLING).estimate
    e, facts = with_judge.estimate, with_judge.facts
    found = [e.lower <= truth, e.upper >= truth, alone.lower <= truth, alone.upper >= truth]
    widths = [e.upper - e.lower, alone.upper - alone.lower]
    return [*found, *widths, facts["trust_in_judge"], facts.get("judge_only", truth) - truth]


def row(name: str, prompts: int, count: int, trials: list[list[float]]) -> str:
    """A line of the table."""
    a, b, c, d, width, alone, trust, off = np.mean(trials, axis=0)
    return (
        f"| {name} | {prompts:,} | {count} | {off:+.3f} | {trust:.2f} | {a:.1%} / {b:.1%} | "
        f"{c:.1%} / {d:.1%} | {width:.3f} | {alone:.3f} | {width / alone:.2f} |"
    )


def made(runs: int) -> Iterator[str]:
    """Lines of the made worlds."""
    truth = measure(Accuracy(), world("good", 100_000, 999)[1], sampling=SAMPLING).estimate.value
    for judge in JUDGES:
        for count in (40, 150):
            trials = [trial(world(judge, 1_000, seed), count, truth, seed) for seed in range(runs)]
            yield row(f"made, {judge} judge", 1_000, count, trials)


def real(folder: Path, seeds: range, counts: Sequence[int]) -> Iterator[str]:
    """Lines of the real pools; the reward model likes long answers."""
    for name, pools in (("AlpacaEval", alpaca(folder)), ("WildBench", wildbench(folder))):
        truth = measure(Accuracy(), pools[1], sampling=SAMPLING).estimate.value
        for count in counts:
            trials = [trial(pools, count, truth, seed) for seed in seeds]
            yield row(f"{name}, accuracy of length", len(pools[0]), count, trials)


def alpaca(folder: Path) -> tuple[Rewards, Rewards]:
    """Eight responses of each prompt that two judges have read; GPT-4-turbo stands for humans."""
    rows, human, judge, counts = [], [], [], []
    with gzip.open(folder / "alpaca_eval" / "pool.jsonl.gz", "rt") as file:
        for line in file:
            one = json.loads(line)
            second = one["gpt4_vs_davinci003"]
            kept = [i for i, value in enumerate(second) if value is not None][:8]
            if len(kept) > 1:
                rows += [len(one["responses"][i]) for i in kept]
                human += [one["golden"][i] for i in kept]
                judge += [second[i] for i in kept]
                counts.append(len(kept))
    return both(*map(np.array, (np.asarray(rows, float), human, judge, counts)))


def wildbench(folder: Path) -> tuple[Rewards, Rewards]:
    """GPT-4-turbo stands for humans, GPT-4o is the judge: scores from 1 to 10, of whole numbers."""
    prompts: dict[str, list[tuple[float, float, float]]] = {}
    with gzip.open(folder / "judges" / "scores.csv.gz", "rt") as file:
        for one in csv.DictReader(file):
            if one["gpt4turbo_v0522"] and one["gpt4o_v0522"]:
                read = (float(one[c]) for c in ("chars", "gpt4turbo_v0522", "gpt4o_v0522"))
                prompts.setdefault(one["session_id"], []).append(tuple(read))
    kept = [rows for rows in prompts.values() if len(rows) > 1]
    return both(*np.concatenate(kept).T, np.array([len(rows) for rows in kept]))


HEAD = (
    "| pool | prompts | by humans | off | λ | hold | hold, humans alone | width | humans alone "
    "| ratio |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pools", type=Path, help="folder with alpaca_eval/ and judges/")
    parser.add_argument("--runs", type=int, default=120)
    parser.add_argument("--again", type=int, default=500, help="draws of the real pools anew")
    chosen = parser.parse_args()
    lines = [
        f"{chosen.runs} draws a line, bounds of 95 % each (lower / upper), {SAMPLING.resamples} "
        "resamples. *off*: the metric by the judge alone less that by humans. *ratio*: width of "
        "the interval over that of human labels alone.",
        "",
        *HEAD,
        *made(chosen.runs),
    ]
    if chosen.pools:
        lines += real(chosen.pools, range(chosen.runs), (40, 150))
        lines += ["", f"The real pools with other seeds, {chosen.again} draws a line:", "", *HEAD]
        lines += real(chosen.pools, range(1000, 1000 + chosen.again), (30, 40, 80))
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
