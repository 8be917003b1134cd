"""Processes that have imported vLLM, for tests: its import costs four times what a tiny model does.

One process imports it once and forks for each model that is loaded; nothing else about a model's
process differs. `OwnProcess` is tested by itself, and `test_the_gate_with_vllm` starts one in full.
"""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import recv_handle, send_handle
from unittest.mock import patch

from rmcheck.models.engines import own_process


class Nursery:
    """Starts children of a process that has imported vLLM."""

    def __init__(self):
        self._connection = None

    def start(self, connection, log, made_by, environment):
        """As `own_process.started`; children of anything else than vLLM are started by that."""
        if ".vllm." not in made_by:
            return STARTED(connection, log, made_by, environment)
        if self._connection is None:
            self._open(environment)
        self._connection.send(("fork", made_by))
        for handle in (connection, log):
            send_handle(self._connection, handle.fileno(), self._process.pid)
        return Forked(self._connection, self._connection.recv())

    def _open(self, environment):
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def close(self):
        """End it; models that were not closed end with this process."""
        if self._connection is not None:
            self._connection.close()
            self._process.wait()


class Forked:
    """A child of the nursery, as `subprocess.Popen` has it."""

    def __init__(self, nursery, pid):
        self.pid, self._nursery, self._code = pid, nursery, None

    def poll(self):
        """How it ended, if it has."""
        if self._code is None:
            self._nursery.send(("poll", self.pid))
            self._code = self._nursery.recv()
        return self._code

    def wait(self, timeout=60.0):
        """How it ended, once it has."""
        for _ in range(int(timeout * 50)):
            if self.poll() is not None:
                return self._code
            time.sleep(0.02)
        raise subprocess.TimeoutExpired("vLLM", timeout)


STARTED = own_process.started


@contextmanager
def nursery():
    """Within it models in vLLM are children of one process."""
    mother = Nursery()
    with patch.object(own_process, "started", mother.start):
        yield
    mother.close()


def _serve(connection):
    import vllm
    import vllm.v1.worker.cpu_worker  # noqa: F401

    while True:
        try:
            what, which = connection.recv()
        except EOFError:
            return
        connection.send(_forked(connection, which) if what == "fork" else _ended(which))


def _forked(connection, made_by):
    end, log = recv_handle(connection), recv_handle(connection)
    pid = os.fork()
    if not pid:
        connection.close()
        os.setsid()
        os.dup2(log, 1)
        os.dup2(log, 2)
        own_process.Served(Connection(end), made_by).answer_all()
        os._exit(0)
    os.close(end)
    os.close(log)
    return pid


def _ended(pid):
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
