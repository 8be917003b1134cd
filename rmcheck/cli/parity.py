"""`rmcheck parity`: whether two engines give one model's rewards."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rmcheck.cli.arguments import add_lock_timeout, add_store, add_too_long, kept_scores
from rmcheck.errors import UsageError

if TYPE_CHECKING:
    from rmcheck.metrics.parity import Parity
    from rmcheck.metrics.rewards import Floats
    from rmcheck.models.model import RewardModel
    from rmcheck.models.sample import Sample, TooLong
    from rmcheck.scoring.members import StoreOf

    NamedPool = tuple[str, Sequence[Sample], TooLong]

EXIT_NO_PARITY = 1


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Score the same responses through two engines (a checkpoint with transformers, say, and "
        "the server that training will ask) and compare. Exit code 1 when rewards drift or pairs "
        "of responses change their order by more than the bounds."
    )
    command.add_argument("model_a", metavar="MODEL_A", help="the reference, such as hf:DIR")
    command.add_argument("model_b", metavar="MODEL_B", help="such as http:http://host:8000")
    pools = command.add_mutually_exclusive_group(required=True)
    pools.add_argument(
        "--suite", nargs="+", type=Path, metavar="SUITE", help="score the pools of suites"
    )
    pools.add_argument("--pool", type=Path, metavar="POOL", help="score a pool in any known format")
    command.add_argument("--format", help="format of --pool, where it cannot be told apart")
    add_too_long(command, "of --pool: ")
    add_store(command)
    add_lock_timeout(command)
    command.add_argument(
        "--max-difference",
        type=float,
        default=1e-3,
        metavar="X",
        help="largest change of one reward, in its own units (default %(default)s: float32 on "
        "both sides; half precision moves rewards by 0.1 and more)",
    )
    command.add_argument(
        "--max-flips",
        type=int,
        default=0,
        metavar="N",
        help="pairs of responses to one prompt that may change their order (default %(default)s)",
    )
    command.add_argument(
        "--tolerance",
        type=float,
        default=1e-3,
        metavar="X",
        help="change of a pair's margin that is rounding, and no flip (default %(default)s)",
    )
    command.add_argument(
        "--worst", type=int, default=5, metavar="N", help="texts to show (default %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Score with both, compare, and say whether the bounds hold."""
    from rmcheck.models.registry import open_model
    from rmcheck.run.plan import names_apart, require_two_engines

    _require_bounds(options)
    models = [open_model(spec) for spec in (options.model_a, options.model_b)]
    require_two_engines(*models)
    # All pools are read before anything is scored, and each model is loaded once.
    pools = list(_pools(options))
    found = _scores(models, pools, kept_scores(options))
    failed = 0
    for (name, samples, _), scores in zip(pools, found, strict=True):
        print(f"\n{name}: {' against '.join(names_apart(models))}\n")
        failed += _compared(samples, scores, options)
    return EXIT_NO_PARITY if failed else 0


def _require_bounds(options: argparse.Namespace) -> None:
    bounds = {
        "--max-difference": options.max_difference,
        "--max-flips": options.max_flips,
        "--tolerance": options.tolerance,
        "--worst": options.worst,
    }
    wrong = [f"{name} is {value}" for name, value in bounds.items() if not value >= 0]
    if wrong:
        raise UsageError(f"{', '.join(wrong)}; valid: numbers from 0.")


def _pools(options: argparse.Namespace) -> "Iterator[NamedPool]":
    """What to score: a name, samples prompt by prompt, and what to do with long ones."""
    if options.pool is not None:
        from rmcheck.pool.reading import read_pool
        from rmcheck.scoring.request import PoolSamples

        pool = read_pool(options.pool, format=options.format)
        yield str(options.pool), PoolSamples(pool), options.too_long or "error"
        return
    if options.format is not None:
        raise UsageError("--format is for --pool; a suite says the format of its own pool")
    if options.too_long is not None:
        raise UsageError("--too-long is for --pool; a suite says `too_long` itself")

    from rmcheck.run.load import load
    from rmcheck.suite.detect import suite_files

    for path in suite_files(options.suite):
        loaded = load(path)
        yield loaded.suite.name, loaded.samples, loaded.suite.too_long


def _scores(
    models: "list[RewardModel]", pools: "list[NamedPool]", store_of: "StoreOf"
) -> "list[list[Floats]]":
    """For each pool the (M,) rewards of each model, from the store where it has them."""
    from rmcheck.scoring.members import fill_members, read_combined
    from rmcheck.scoring.request import Request

    requests = [
        [Request(model, tuple(samples), too_long) for model in models]
        for _, samples, too_long in pools
    ]
    for report in fill_members([part for parts in requests for part in parts], store_of):
        print(report)
    return [[read_combined(part, store_of).rewards for part in parts] for parts in requests]


def _compared(
    samples: "Sequence[Sample]", scores: "list[Floats]", options: argparse.Namespace
) -> int:
    """Print the comparison.

    Returns:
        Number of bounds that do not hold.
    """
    import numpy as np

    from rmcheck.checks.mistakes import worst_drifts
    from rmcheck.metrics.parity import map_sentence, parity
    from rmcheck.reports.drift import drift_lines

    ids = [sample.prompt_id for sample in samples]
    starts = [i for i in range(len(ids)) if not i or ids[i] != ids[i - 1]]
    offsets = np.array([*starts, len(ids)], dtype=np.int64)
    found = parity(scores[0], scores[1], offsets, tolerance=options.tolerance)
    failures = _failures(found, options)
    drifts = worst_drifts(samples, scores[0], scores[1], found.worst, most=options.worst)
    worst = drift_lines(drifts)
    for line in [*_lines(found, len(samples), len(starts)), *([""] if worst else []), *worst]:
        print(f"  {line}" if line else "")
    if found.map:
        print(f"\n  {map_sentence(found.map, 'the first', 'the second')}")
    print()
    for verdict in [f"FAIL  {failure}" for failure in failures] or ["parity holds"]:
        print(f"  {verdict}")
    return len(failures)


def _failures(found: "Parity", options: argparse.Namespace) -> list[str]:
    failures = []
    if found.max_difference > options.max_difference:
        failures.append(
            f"a reward differs by {found.max_difference:.3g}, more than {options.max_difference:g} "
            "(--max-difference)"
        )
    if found.flips > options.max_flips:
        failures.append(
            f"{found.flips} of {found.pairs} pairs change their order, more than "
            f"{options.max_flips} (--max-flips)"
        )
    return failures


def _lines(found: "Parity", responses: int, prompts: int) -> list[str]:
    lines = [
        f"{responses} responses to {prompts} prompts",
        f"difference    largest {found.max_difference:.3g}, mean {found.mean_difference:.3g}, "
        f"mean with sign {found.shift:+.3g}",
    ]
    if found.pairs:
        lines.append(f"order         {found.flips} of {found.pairs} pairs flip inside prompts")
    else:
        lines.append("order         no prompt has two responses, so no order is compared")
    if found.spearman is None:
        lines.append("Spearman      undefined: no prompt in which both tell responses apart")
    else:
        lines.append(
            f"Spearman      {found.spearman:.6f} inside prompts on average, "
            f"lowest {found.lowest_spearman:.4f}"
        )
    return lines
