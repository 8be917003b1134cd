"""`rmcheck sample`: responses of a policy, or those of a pool that people should label."""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rmcheck.cli.arguments import add_lock_timeout, add_too_long, kept_scores
from rmcheck.errors import UsageError

if TYPE_CHECKING:
    from rmcheck.metrics.rewards import Floats
    from rmcheck.pool.pool import Pool

# Options of one way only, with their defaults; argparse holds None where they are not given.
_SCORED: dict[str, object] = {
    "n": None,
    "model": None,
    "store": Path(".rmcheck"),
    "lock_timeout": None,
    "too_long": "error",
}
_WAYS: dict[str, dict[str, object]] = {
    "--policy": {"responses": None, "max_tokens": 512, "temperature": 1.0, "labels": None},
    "--design nested": {**_SCORED, "random": 5},
    "--design weighted": {**_SCORED, "labels": 8},
    "--design random": {"labels": 5},
}
_NEEDED: dict[str, tuple[str, ...]] = {
    "--policy": ("responses",),
    "--design nested": ("model", "n"),
    "--design weighted": ("model", "n"),
    "--design random": (),
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "With --policy: sample N responses to every prompt of a file, to a new pool; a run that "
        "was killed goes on where it stopped. The file has prompts alone (JSON Lines, JSON, "
        "Parquet, CSV, or one a line in a .txt), or is a pool, whose responses are not read. With "
        "--design: choose what to label of a pool whose responses have no golden reward yet. "
        "`random` keeps all responses and marks some at random with `to_label` 1, which serves "
        "every checkpoint; `weighted` marks those more often that the model would choose as the "
        "best of n; `nested` keeps a few random responses and the choices alone. Fill in `golden` "
        "where it is wanted, then name the file as the pool of a suite with the check {metric: "
        "predicted_regret, n: ...}."
    )
    command.add_argument(
        "pool", type=Path, metavar="FILE", help="prompts, or a pool in any known format"
    )
    way = command.add_mutually_exclusive_group(required=True)
    way.add_argument("--design", choices=["random", "weighted", "nested"], help="what to label")
    way.add_argument("--policy", metavar="SPEC", help="what answers, such as hf:runs/sft-7b")
    command.add_argument(
        "--prompts", type=int, metavar="N", help="take N prompts at random (default all)"
    )
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of all random choices (default 0)"
    )
    command.add_argument("--format", help="format of the file, where it cannot be told apart")
    command.add_argument(
        "--labels",
        type=int,
        metavar="K",
        help="responses a prompt to be labelled (default 5, by weight 8; with --policy none unless "
        "this says how many)",
    )
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="rows to write")
    design = command.add_argument_group("with --design")
    design.add_argument(
        "--model", metavar="SPEC", help="reward model whose choices are to be labelled"
    )
    design.add_argument("--store", type=Path, metavar="DIR", help="kept scores (default .rmcheck)")
    add_lock_timeout(design)
    add_too_long(design, "")
    design.add_argument("--n", metavar="N,N,…", help="n of best-of-n: 4,16,64")
    design.add_argument(
        "--random", type=int, metavar="N", help="random responses a prompt (default 5)"
    )
    policy = command.add_argument_group("with --policy")
    policy.add_argument("--responses", type=int, metavar="N", help="responses a prompt (needed)")
    policy.add_argument(
        "--max-tokens", type=int, metavar="N", help="most tokens of a response (default 512)"
    )
    policy.add_argument("--temperature", type=float, metavar="T", help="of sampling (default 1)")


def run(options: argparse.Namespace) -> int:
    """Do the one of both that was asked for."""
    _settle(options, "--policy" if options.design is None else f"--design {options.design}")
    return _sample(options) if options.design is None else _choose(options)


def _settle(options: argparse.Namespace, way: str) -> None:
    """Fill in the defaults of one way.

    Raises:
        UsageError: An option of the other way is given, or a needed one is not; all are named.
    """
    own = _WAYS[way]
    every = dict.fromkeys(name for names in _WAYS.values() for name in names)
    strange = [
        _option(name) for name in every if name not in own and getattr(options, name) is not None
    ]
    absent = [_option(name) for name in _NEEDED[way] if getattr(options, name) is None]
    problems = [f"{', '.join(strange)} mean nothing with {way}"] if strange else []
    problems += [f"{way} needs {', '.join(absent)}"] if absent else []
    if problems:
        raise UsageError("; ".join(problems))
    for name, default in own.items():
        if getattr(options, name) is None:
            setattr(options, name, default)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _sample(options: argparse.Namespace) -> int:
    """Sample responses, and write them as a pool."""
    from rmcheck.lab.sampling.sampled_pool import drawn_prompts, sample_pool
    from rmcheck.policies.policy import Decoding
    from rmcheck.policies.registry import open_policy
    from rmcheck.pool.reading import read_prompts
    from rmcheck.scoring.progress import progress_in

    decoding = Decoding(options.max_tokens, options.temperature)
    policy = open_policy(options.policy)
    pool = read_prompts(options.pool, format=options.format)
    prompts = drawn_prompts(pool.prompts, options.prompts, options.seed)
    repeated = len(prompts) - len({prompt.messages for prompt in prompts})
    if repeated:
        print(f"{options.pool}: {repeated} of {len(prompts)} prompts repeat an earlier one")

    def progress(left: int) -> Callable[[int], object]:
        opening = f"{left:,} prompts, {options.responses:,} responses each"
        bar = progress_in(f"sampling {policy.spec}", opening, left, "prompts")
        return stack.enter_context(bar).update

    with ExitStack() as stack:
        found = sample_pool(
            policy,
            prompts,
            options.out,
            n=options.responses,
            seed=options.seed,
            decoding=decoding,
            labels=options.labels,
            progress=progress,
        )
    kept = f" ({found.kept} were there)" if found.kept else ""
    print(
        f"{options.out}: {found.prompts} prompts{kept}, {found.responses} responses of "
        f"{policy.name}; {found.empty} are empty, {found.cut} were cut at {decoding.max_tokens} "
        "tokens"
    )
    return 0


def _choose(options: argparse.Namespace) -> int:
    """Score the pool where choices count, choose, and write the rows."""
    from rmcheck.lab.sampling.annotation import LabelDesign, annotation, parsed_numbers
    from rmcheck.pool.reading import read_pool

    at = parsed_numbers(options.n) if options.n else ()
    pool = read_pool(options.pool, format=options.format)
    nested = options.design == "nested"
    labels = options.random if nested else options.labels
    design = LabelDesign(labels, at, nested, options.prompts, options.seed)
    rows = annotation(pool, _scores(options, pool) if at else None, design)
    rows.write(options.out)
    left_out = f"; {rows.left_out} prompts left out, they have too few" if rows.left_out else ""
    print(f"{options.out}: {len(rows.rows)} prompts, {rows.to_label} responses to label{left_out}")
    return 0


def _scores(options: argparse.Namespace, pool: "Pool") -> "Floats":
    """(M,) rewards of the model for all responses of the pool."""
    from rmcheck.models.registry import open_model
    from rmcheck.scoring.members import fill_members, read_combined
    from rmcheck.scoring.request import PoolSamples, Request

    store_of = kept_scores(options)
    request = Request(open_model(options.model), PoolSamples(pool), options.too_long)
    for report in fill_members([request], store_of):
        print(report)
    return read_combined(request, store_of).rewards
