"""A Ray cluster: reaching it, and what it can place."""

import logging
import os
import socket
from dataclasses import dataclass
from typing import Any

from rmcheck.errors import MissingDependencyError, UsageError

# Blocks of text pass through it, one an actor; Ray would take a third of the machine's memory.
_LOCAL_OBJECT_STORE = 256 * 2**20
_KNOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Shape:
    """How many actors there are and what each one reserves.

    Attributes:
        actors: How many.
        cpus: CPUs of each; may be a fraction.
        gpus: GPUs of each; may be a fraction.
    """

    actors: int
    cpus: float
    gpus: float

    def __str__(self) -> str:
        each = " each" if self.actors > 1 else ""
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.actors} actor{'s' * (self.actors > 1)} of {self.cpus:g} CPU{gpus}{each}"


@dataclass(frozen=True)
class Node:
    """One machine of a cluster.

    Attributes:
        name: Its address.
        cpus: What Ray may use of it.
        gpus: The same.
    """

    name: str
    cpus: float
    gpus: float

    def holds(self, cpus: float, gpus: float) -> int:
        """How many actors that reserve so much it can hold at once."""
        # Fractions such as 0.1 add up to a hair too much.
        counts = [
            int(there / asked + 1e-9)
            for asked, there in ((cpus, self.cpus), (gpus, self.gpus))
            if asked
        ]
        return min(counts)

    def __str__(self) -> str:
        return f"{self.name}: {self.cpus:g} CPU, {self.gpus:g} GPU"


def imported_ray() -> Any:
    """The package `ray`.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            "--engine ray needs Ray. Install it with: pip install 'rmcheck[ray]'"
        ) from error
    return ray


def connect(address: str | None) -> bool:
    """Join a cluster, or start one of this machine alone; nothing is done inside a joined one.

    Args:
        address: `HOST:PORT` of a cluster, `auto` for the one that runs on this machine; None for
            the environment's RAY_ADDRESS or, where that is not set, a cluster of this machine.

    Returns:
        Whether this call joined it, so that whoever called must leave it again.

    Raises:
        MissingDependencyError: Ray is not installed.
        UsageError: There is no cluster at the address.
    """
    ray = imported_ray()
    if ray.is_initialized():
        return False
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    # A gate sends nothing to anybody, and actors without GPUs are told so by Ray's own new rule.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    local = {"include_dashboard": False, "object_store_memory": _LOCAL_OBJECT_STORE}
    try:
        _require_listener(address)
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **(local if address == "local" else {}),
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise UsageError(
            f"no Ray cluster can be reached at {address!r} ({str(error).splitlines()[0]}). Give "
            "--ray-address HOST:PORT of its head node, or leave it out to use this machine alone."
        ) from error
    return True


def _require_listener(address: str) -> None:
    """Find out in seconds that nobody listens; Ray itself tries for two minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()


def shape_of(actors: int | None, cpus: float, gpus: float | None, wanted: int = 1) -> Shape:
    """How many actors of what size, with the defaults of this cluster filled in.

    Without a number of GPUs an actor has as many as its model takes, where the cluster has GPUs.
    Without a number of actors there are as many as have room or, without GPUs, one a CPU less one
    for the driver.

    Args:
        actors: How many; None for the default.
        cpus: Of each.
        gpus: The same; None for the default.
        wanted: GPUs that a model takes at the same time.

    Raises:
        UsageError: The cluster cannot place them: says what is asked and what there is.
    """
    nodes = _nodes()
    if gpus is None:
        gpus = float(wanted) if any(node.gpus >= 1 for node in nodes) else 0.0
    room = sum(node.holds(cpus, gpus) for node in nodes)
    if actors is None:
        actors = max(1, room if gpus else int(room - 1 / cpus))
    shape = Shape(actors, cpus, gpus)
    if room < actors:
        raise UsageError(
            f"{shape} do not fit: the cluster has room for {room}.\n"
            + "\n".join(f"  {node}" for node in nodes)
            + "\n  Set --actors, --cpus-per-actor or --gpus-per-actor (a fraction is allowed)."
        )
    return shape


def free_resources() -> str:
    """What no job of the cluster has reserved at this moment, in words."""
    free = imported_ray().available_resources()
    return f"{free.get('CPU', 0.0):g} CPU and {free.get('GPU', 0.0):g} GPU"


def _nodes() -> list[Node]:
    return [
        Node(
            node["NodeManagerAddress"],
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
        )
        for node in imported_ray().nodes()
        if node["Alive"]
    ]
