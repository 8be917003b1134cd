"""`rmcheck score --engine ray`: its options, and what scores."""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmcheck.run.fill import Fill

# By the names under which argparse keeps them.
OPTIONS = ("actors", "cpus_per_actor", "gpus_per_actor", "ray_address", "timeout")


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """Options of a cluster."""
    group.add_argument(
        "--actors",
        type=int,
        metavar="N",
        help="processes that hold the model (default: one a GPU, or one a CPU less one)",
    )
    group.add_argument(
        "--cpus-per-actor",
        type=float,
        metavar="X",
        help="CPUs that each reserves, may be a fraction (default: 1)",
    )
    group.add_argument(
        "--gpus-per-actor",
        type=float,
        metavar="X",
        help="GPUs that each reserves, may be a fraction (default: 1 where the cluster has GPUs)",
    )
    group.add_argument(
        "--ray-address",
        metavar="ADDR",
        help="HOST:PORT of the cluster, or auto for the one that runs on this machine (default: "
        "RAY_ADDRESS, or a cluster of this machine alone, started for this command)",
    )
    group.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="give up when no actor has finished anything for so long (default: 1800)",
    )


@contextmanager
def filling(given: Mapping[str, Any]) -> "Iterator[Fill]":
    """Scores on the actors of a cluster, which is left when the block ends.

    Args:
        given: Those of `OPTIONS` that the user gave.

    Raises:
        UsageError: One has an impossible value.
    """
    from rmcheck.lab.cluster.ray_engine import RayEngine
    from rmcheck.scoring.scorer import fill_requests

    named = {"address" if name == "ray_address" else name: value for name, value in given.items()}
    with RayEngine(**named) as engine:
        yield partial(fill_requests, engine=engine)
