"""Workers of pytest-xdist: which process is one, what they share, and how they are stopped."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

_FOLDER = "workers"


def session_folder(config: pytest.Config) -> Path:
    """A folder that the workers of one run share and the next run does not."""
    base: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    return (base.parent if is_worker(config) else base) / "rmcheck"


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is a worker of pytest-xdist."""
    return hasattr(config, "workerinput")


def announce_worker(shared: Path) -> None:
    """Leave this process's number where the controller finds it."""
    folder = shared / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / str(os.getpid())).touch()


def stop_workers(shared: Path) -> None:
    """Send SIGTERM to the workers of this run on this machine, so that no model goes on scoring."""
    for file in (shared / _FOLDER).glob("[0-9]*"):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(int(file.name), signal.SIGTERM)
