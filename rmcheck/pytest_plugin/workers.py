"""Workers of pytest-xdist, which no signal to the controller reaches."""

import os
import signal
from contextlib import suppress
from pathlib import Path

_FOLDER = "workers"


def announce_worker(session_folder: Path) -> None:
    """Leave this process's number where the controller finds it."""
    folder = session_folder / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / str(os.getpid())).touch()


def stop_workers(session_folder: Path) -> None:
    """Send SIGTERM to the workers of this run on this machine, so that no model goes on scoring."""
    for file in (session_folder / _FOLDER).glob("[0-9]*"):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(int(file.name), signal.SIGTERM)
