"""A real vLLM server on loopback, started by the Python that RMCHECK_VLLM_PYTHON names.

That one needs vLLM and not rmcheck.
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

PYTHON = "RMCHECK_VLLM_PYTHON"
START_SECONDS = 300

needs_server = pytest.mark.skipif(
    not os.environ.get(PYTHON), reason=f"{PYTHON} names no Python that has vLLM"
)


@contextmanager
def serving(checkpoint: Path, log: Path, *options: str) -> Iterator[str]:
    """Address of a server of this checkpoint, in float32 and under the name `tiny`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [os.environ[PYTHON], "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(checkpoint), "--served-model-name", "tiny", "--dtype", "float32"]
    command += ["--enforce-eager", "--host", "127.0.0.1", "--port", str(port), *options]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    # What this test run imports is not for the server's interpreter.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | settings
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, log)
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
    pytest.fail(f"the vLLM server did not start:\n{log.read_text()[-3000:]}")


def _end(process: subprocess.Popen) -> None:
    """End the server with the processes that it started."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
