"""`rmcheck sample`: choose the responses of a pool that people should label."""

import argparse
from pathlib import Path

from rmcheck.cli.arguments import add_model


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Choose what to label of a pool whose responses have no golden reward yet: of every "
        "prompt a few random responses, and those that the model would choose as the best of n. "
        "Fill in `golden`, then name the file as the pool of a suite with the check "
        "{metric: predicted_regret, n: ..., predictor: nested}."
    )
    command.add_argument("pool", type=Path, metavar="POOL", help="pool in any known format")
    add_model(command, "reward model whose choices are to be labelled")
    command.add_argument("--design", choices=["nested"], required=True)
    command.add_argument("--n", required=True, metavar="N,N,…", help="n of best-of-n: 4,16,64")
    command.add_argument("--random", type=int, default=5, help="random responses (default 5)")
    command.add_argument("--prompts", type=int, help="prompts, drawn at random (default all)")
    command.add_argument("--seed", type=int, default=0, help="of all random choices (default 0)")
    command.add_argument("--format", help="format of the pool, where it cannot be told apart")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="rows to label")


def run(options: argparse.Namespace) -> int:
    """Score the pool, choose, and write the rows."""
    from rmcheck.models.model import RewardModel, Sample
    from rmcheck.models.registry import open_model
    from rmcheck.pool.reading import read_pool
    from rmcheck.regret.annotation import Design, annotation, parsed_numbers
    from rmcheck.scoring.members import fill_members, read_combined
    from rmcheck.scoring.request import Request
    from rmcheck.store.scores import MemoryStore, ScoreStore, Store

    design = Design(parsed_numbers(options.n), options.random, options.prompts, options.seed)
    pool = read_pool(options.pool, format=options.format)
    samples = tuple(
        Sample(prompt.prompt_id, index, prompt.messages, response)
        for prompt in pool.prompts
        for index, response in zip(prompt.indices, prompt.responses, strict=True)
    )
    kept, passing = ScoreStore(options.store), MemoryStore()

    def store_of(model: RewardModel) -> Store:
        return kept if model.kept else passing

    request = Request(open_model(options.model), samples)
    for report in fill_members([request], store_of):
        print(report)
    scores = read_combined(request, store_of).rewards
    rows = annotation(pool, scores, design)
    rows.write(options.out)
    left_out = f"; {rows.left_out} prompts left out, they have too few" if rows.left_out else ""
    print(f"{options.out}: {len(rows.rows)} prompts, {rows.to_label} responses to label{left_out}")
    return 0
