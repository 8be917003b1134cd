"""How often bounds hold where units are resampled in groups, and how often where each is alone.

    OMP_NUM_THREADS=1 python benchmarks/groups.py [--worlds gaussian,rare] [--replications 300]

On the same pools of the worlds of `benchmarks/dissent.py`. Above 4,096 units the package puts them
into so many groups; 512 groups of 3,000 units are a harder trial than it ever meets. Prints rows of
benchmarks/results/groups.md.
"""

import argparse
import warnings

from dissent import WORLDS, cell, possible, true_value

from rmcheck.stats import weights

TRIED = ("pairs-0.95-exp", "pairs-0.98-exp", "gaussian", "rare", "heavy", "grades", "verifier")


def grouped(world: str, prompts: int, groups: int, replications: int) -> dict[str, str]:
    """Name of a metric to its coverage and reach, with at most so many groups."""
    weights.COLUMNS = groups
    weights.draw_weights.cache_clear()
    truth = {metric: true_value(metric, world) for metric in possible(world)}
    found = cell(world, prompts, replications, truth)
    return {name: tally.row() for name, tally in found.items()}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=300)
    parser.add_argument("--prompts", type=int, default=3000)
    parser.add_argument("--groups", type=int, default=512)
    parser.add_argument("--worlds", default=",".join(TRIED))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for world in (w for w in WORLDS if w in options.worlds.split(",")):
        alone, together = (
            grouped(world, options.prompts, size, options.replications)
            for size in (options.prompts, options.groups)
        )
        for name, row in alone.items():
            print(f"| {world} | {name} | {row} | {together[name]} |", flush=True)


if __name__ == "__main__":
    main()
