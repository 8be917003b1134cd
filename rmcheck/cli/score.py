"""`rmcheck score`: score the pools of suites, without pytest."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rmcheck.cli.arguments import add_model, add_suites, opened
from rmcheck.errors import UsageError

if TYPE_CHECKING:
    from rmcheck.runner.scores import Fill

ENGINES = ("local", "ray")
# Options that only a cluster reads, by the name under which argparse keeps them.
_OF_RAY = ("actors", "cpus_per_actor", "gpus_per_actor", "ray_address", "timeout")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Score the pools of suites into the store, and write them as a bundle that the model "
        "scores:FILE reads on a machine without the checkpoint."
    )
    add_suites(command)
    add_model(command, "reward model to score with")
    command.add_argument("--bundle", type=Path, metavar="FILE", help="Parquet file to write")
    command.add_argument(
        "--engine",
        choices=ENGINES,
        default="local",
        help="local: this process; ray: actors on a Ray cluster that sees the same --store folder",
    )
    ray = command.add_argument_group("with --engine ray")
    ray.add_argument(
        "--actors",
        type=int,
        metavar="N",
        help="processes that hold the model (default: one a GPU, or one a CPU less one)",
    )
    ray.add_argument(
        "--cpus-per-actor",
        type=float,
        metavar="X",
        help="CPUs that each reserves, may be a fraction (default: 1)",
    )
    ray.add_argument(
        "--gpus-per-actor",
        type=float,
        metavar="X",
        help="GPUs that each reserves, may be a fraction (default: 1 where the cluster has GPUs)",
    )
    ray.add_argument(
        "--ray-address",
        metavar="ADDR",
        help="HOST:PORT of the cluster, or auto for the one that runs on this machine (default: "
        "RAY_ADDRESS, or a cluster of this machine alone, started for this command)",
    )
    ray.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="give up when no actor has finished anything for so long (default: 1800)",
    )


def run(options: argparse.Namespace) -> int:
    """Score, and write the bundle where one is asked for."""
    from rmcheck.scoring.bundle import write_bundle

    with _fill(options) as fill, opened(options, fill=fill) as (runner, _):
        samples, scores, provenance = runner.score()
        for line in runner.scoring_lines():
            print(line)
        if options.bundle is not None:
            write_bundle(options.bundle, samples, scores, provenance)
            print(f"{options.bundle}: {len(samples)} scores; use it as scores:{options.bundle}")
    return 0


@contextmanager
def _fill(options: argparse.Namespace) -> "Iterator[Fill | None]":
    """What scores: None is this process.

    Raises:
        UsageError: An option of a cluster was given without one, or has an impossible value.
    """
    given = {name: getattr(options, name) for name in _OF_RAY}
    given = {name: value for name, value in given.items() if value is not None}
    if options.engine != "ray":
        if given:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise UsageError(f"{names}: only --engine ray reads this")
        yield None
        return
    from rmcheck.scoring.ray_engine import RayEngine
    from rmcheck.scoring.scorer import fill_requests

    if "ray_address" in given:
        given["address"] = given.pop("ray_address")
    with RayEngine(**given) as engine:
        yield partial(fill_requests, engine=engine)
