"""How often the bounds of probes hold.

    OMP_NUM_THREADS=1 python benchmarks/probe_coverage.py [--replications 400] [--worlds rare]

Pools with edited responses are drawn again and again from worlds whose true effects are those of
100,000 prompts. Counted is how often the one-sided 95 % bounds of each measure of a probe hold, and
those of its paired drop against a baseline. Prints and writes benchmarks/results/probe_coverage.md.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from coverage import RESULTS, Draw, Tally, cell, replicate, true_values

from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.probes.effect import MEASURES, ProbeEffect, answered
from rmcheck.probes.probe import Probe

TRUTH_PROMPTS, RESPONSES = 100_000, 5
PROMPTS = (20, 50, 200)
EDIT = Probe("edit", "Is simulated.", "not_raise", edits=("{response}.",))
ASKING = Probe(
    "asking", "Is simulated.", "not_raise", prompt=("?",), honest=("a",), bad=("b",), items=({},)
)
Numbers = Callable[[tuple[int, ...]], Floats]
# Rewards of a model, of its edited responses and of their controls; (P, N) each.
Model = tuple[Floats, Floats, Floats]


def gaussian(golden: Floats, noise: Numbers) -> Model:
    """Shifts of 0.3 ± 0.5, of which one half is the length's."""
    proxy = 0.7 * golden + 0.7 * noise(golden.shape)
    length = 0.15 + 0.2 * noise((len(golden), 1))
    edited = proxy + length + 0.15 + 0.4 * noise((len(golden), 1)) + 0.2 * noise(golden.shape)
    return proxy, edited, proxy + length


def heavy(golden: Floats, noise: Numbers) -> Model:
    """Spreads that differ from prompt to prompt, and shifts with the tails of a cubed normal."""
    spread = np.exp(0.7 * noise((len(golden), 1)))
    proxy = spread * (0.7 * golden + 0.7 * noise(golden.shape))
    length = spread * 0.1 * noise((len(golden), 1)) ** 3
    return proxy, proxy + length + spread * (0.1 + 0.2 * noise(golden.shape) ** 3), proxy + length


def trigger(golden: Floats, noise: Numbers) -> Model:
    """Nothing but noise, and on 3 % of the prompts a jump over all other responses."""
    proxy = 0.9 * golden + 0.4 * noise(golden.shape)
    jumps = 5.0 * (noise((len(golden), 1)) > 1.88)
    return proxy, proxy + jumps + 0.02 * noise(golden.shape), proxy + 0.02 * noise(golden.shape)


def few_flips(golden: Floats, noise: Numbers) -> Model:
    """A model that ranks well, and an edit that does so little that one pair in 100 turns."""
    proxy = golden + 0.05 * noise(golden.shape)
    return proxy, proxy + 0.04 * noise(golden.shape), proxy


def most_win(golden: Floats, noise: Numbers) -> Model:
    """An edit that lifts a bad answer over nearly all honest ones."""
    proxy = 0.7 * golden + 0.7 * noise(golden.shape)
    return proxy, proxy + 4.0 + noise((len(golden), 1)), proxy + 0.5


def replaced(level: float) -> Callable[[Floats, Numbers], Model]:
    """One text in place of the answer, of one reward a prompt."""

    def model(golden: Floats, noise: Numbers) -> Model:
        proxy = 0.7 * golden + 0.7 * noise(golden.shape)
        text = np.broadcast_to(level + noise((len(golden), 1)), golden.shape)
        return proxy, text, np.full(golden.shape, np.nan)

    return model


WORLDS: dict[str, Callable[[Floats, Numbers], Model]] = {
    "gaussian": gaussian,
    "heavy": heavy,
    "trigger": trigger,
    "few flips": few_flips,
    "most win": most_win,
    "replaced, bad": replaced(-3.2),
    "replaced, good": replaced(3.2),
}
RATES = {"questions, .02": 0.02, "questions, .50": 0.5, "questions, .98": 0.98}


def draw(world: str, prompts: int, rng: np.random.Generator) -> Draw:
    """Two models, half of whose errors are shared, on one pool."""
    if world in RATES:
        return Draw(*(_answers(RATES[world], prompts, rng) for _ in range(2)))
    golden = rng.standard_normal((prompts, RESPONSES))
    # One response in six has no edit, and two a prompt are tried.
    known = (np.arange(RESPONSES) < 2) & (rng.random(golden.shape) > 1 / 6)
    if world.startswith("replaced"):
        known = np.ones_like(known)
    shared = int(rng.integers(2**32))
    models = []
    for _ in range(2):
        again = np.random.default_rng(shared)

        def noise(shape: tuple[int, ...], again: np.random.Generator = again) -> Floats:
            both = again.standard_normal(shape) + rng.standard_normal(shape)
            return np.asarray(both / math.sqrt(2))

        models.append(_rewards(golden, known, *WORLDS[world](golden, noise)))
    return Draw(*models)


def _rewards(
    golden: Floats, known: np.ndarray, proxy: Floats, edited: Floats, control: Floats
) -> Rewards:
    names = ProbeEffect(EDIT).columns
    columns = (np.where(known, values, np.nan).ravel() for values in (edited, control))
    return Rewards(
        proxy=proxy.ravel(),
        golden=golden.ravel(),
        offsets=np.arange(0, golden.size + 1, RESPONSES),
        prompt_ids=np.zeros(len(golden), dtype="<U1"),
        clusters=np.arange(len(golden)),
        columns=dict(zip(names, columns, strict=True)),
    )


def _answers(rate: float, questions: int, rng: np.random.Generator) -> Rewards:
    margins = 2.0 * (rng.random(questions) < rate) - 1
    noise = 0.1 * rng.standard_normal((questions, 2))  # two models never give the same rewards
    return answered(ProbeEffect(ASKING), np.column_stack([np.zeros(questions), margins]) + noise)


def effects(world: str) -> list[ProbeEffect]:
    """Every measure that a probe of this world has."""
    if world in RATES:
        return [ProbeEffect(ASKING)]
    without = {"beyond_length"} if world.startswith("replaced") else set()
    return [ProbeEffect(EDIT, measure) for measure in MEASURES if measure not in without]


def coverage(world: str, replications: int) -> dict[int, dict[str, Tally]]:
    """Number of prompts to measure to how often its bounds held."""
    huge = draw(world, TRUTH_PROMPTS, np.random.default_rng(1))
    measured = effects(world)
    truth = [true_values(effect, huge) for effect in measured]
    found = {}
    for prompts in PROMPTS:
        tallies = {str(e.measure): Tally(truth=t) for e, t in zip(measured, truth, strict=True)}
        pairs = list(zip(measured, tallies.values(), strict=True))
        for replication in range(replications):
            rng = np.random.default_rng([prompts, replication])
            replicate(draw(world, prompts, rng), pairs)
        found[prompts] = tallies
    return found


def lines(world: str, replications: int) -> Iterator[str]:
    """The rows of a world."""
    found = coverage(world, replications)
    for measure, tally in found[PROMPTS[0]].items():
        cells = " | ".join(cell(found[prompts][measure]) for prompts in PROMPTS)
        yield f"| {world} | {measure} | {tally.truth[0]:.3f} | {cells} |"


def main() -> None:
    """Simulate, print and write."""
    command = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    command.add_argument("--replications", type=int, default=400)
    command.add_argument("--worlds", nargs="+", default=[*WORLDS, *RATES])
    command.add_argument("--results", type=Path, default=RESULTS, help="folder")
    options = command.parse_args()
    size = options.replications
    table = ["| world | measure | truth |" + "".join(f" P = {p} |" for p in PROMPTS)]
    table.append("|---|---|---|" + "---|" * len(PROMPTS))
    for world in options.worlds:
        table += lines(world, size)
        print("\n".join(table[-len(effects(world)) :]), flush=True)
    text = (
        "# Coverage of the bounds of probes\n\n"
        f"Share of {size:,} pools, in percent, on which a one-sided 95 % bound held, with 1,000 "
        "resamples; Monte-Carlo error "
        f"{100 * math.sqrt(0.95 * 0.05 / size):.1f}. `!` marks a share outside 93-97. Each cell is "
        "the lower and the upper bound of the value, then those of the paired drop. `undefined`: "
        "percent of the pools without a value. Written by `benchmarks/probe_coverage.py`, which "
        "says what the worlds are.\n\n"
    )
    (options.results / "probe_coverage.md").write_text(text + "\n".join(table) + "\n")


if __name__ == "__main__":
    main()
