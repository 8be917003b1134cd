"""Servers of other packages on loopback, each started by the Python that a variable names.

That Python needs the package and not rmcheck.
"""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

START_SECONDS = 300


def needs(variable: str, package: str) -> pytest.MarkDecorator:
    """Skip where the variable names no Python."""
    return pytest.mark.skipif(
        not os.environ.get(variable), reason=f"{variable} names no Python that has {package}"
    )


@contextmanager
def running(
    variable: str, command: list[str], log: Path, *, ready: str = "/health", **settings: str
) -> Iterator[str]:
    """Address of a server that runs meanwhile.

    Args:
        variable: Names the Python.
        command: The module and its options, without host and port.
        log: Where its output goes.
        ready: The page that it has once it answers.
        settings: Of its environment.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [os.environ[variable], "-m", *command, "--host", "127.0.0.1", "--port", str(port)]
    # What this test run imports is not for the server's interpreter.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", **settings}
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}{ready}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        _end(process)


def _wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"the server did not start:\n{log.read_text()[-3000:]}")


def _end(process: subprocess.Popen) -> None:
    """End the server with the processes that it started."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
