"""An object in a process of its own: plain data in, plain data out.

Whatever it does to its process (environment, random states, logs, the allocator) is done to no
other, and its memory comes back when the process ends. What it prints goes to a file, of which the
last lines are told when it dies.
"""

import os
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue
from threading import Thread
from typing import IO, Any, NoReturn

from rmcheck.errors import RmcheckError
from rmcheck.models.libraries import ForeignError, brief

# Seconds that a process has to end by itself; then it is killed.
_PATIENCE = 10.0
# What is asked first.
_MAKE = "make"
# Of what a dead process printed.
_BYTES, _LINES = 4000, 5


class OwnProcess:
    """A child process that holds one object. It ends when it is closed, and with this process.

    Args:
        made_by: What makes the object there, as `package.module:name`; its `close` is called in
            the end, where it has one.
        environment: Variables that the child has beside those of this process.
        **how: Arguments of it, which can be pickled.

    Raises:
        RmcheckError: As the object's own; so is MemoryError.
        ForeignError: Anything else that was raised there, in a few words, or the child died.
    """

    def __init__(self, made_by: str, environment: Mapping[str, str], **how: Any) -> None:
        ours, theirs = Pipe()
        log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the child lives
        with theirs:
            self._child = started(theirs, log, made_by, environment)
        self._connection, self._log = ours, log
        self._end = weakref.finalize(self, _end, self._child, ours, log)
        try:
            self.ask(_MAKE, **how)
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._end.alive

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._child.pid

    def ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        """What a method of the object returns there.

        Raises:
            RmcheckError: As the method's own; so is MemoryError.
            ForeignError: Anything else that it raised, in a few words, or the child died.
        """
        if not self.alive:
            raise ForeignError("its process has ended")
        try:
            self._connection.send((method, arguments, named))
            answer, error = self._connection.recv()
        except (EOFError, OSError):
            self._died()
        # An answer that nobody waits for would be taken for that to the next question.
        except BaseException:
            self.close()
            raise
        if error is not None:
            raise error
        return answer

    def close(self) -> None:
        """End the child, and wait until it has. Does nothing the second time."""
        self._end()

    def _died(self) -> NoReturn:
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(_PATIENCE)
        code = self._child.poll()
        said = _last_lines(self._log)
        self.close()
        raise ForeignError(f"its process {_ended_with(code)}{': ' if said else ''}{said}")


def started(
    connection: Connection, log: IO[bytes], made_by: str, environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """A child that answers at this end of a pipe."""
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, str(connection.fileno()), made_by],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=[connection.fileno()],
        env={**os.environ, **environment, "PYTHONPATH": path},
        # Ctrl-C is for this process, which then ends the child.
        start_new_session=True,
    )


def _end(child: "subprocess.Popen[bytes]", connection: Connection, log: IO[bytes]) -> None:
    connection.close()
    with suppress(subprocess.TimeoutExpired):
        child.wait(_PATIENCE)
    if child.poll() != 0:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # and the processes that it has started
        child.wait()
    log.close()


def _ended_with(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended with {code}"
    name = signal.Signals(-code).name
    hint = ", as where memory is short" if name == "SIGKILL" else ""
    return f"was ended by {name}{hint}"


def _last_lines(log: IO[bytes]) -> str:
    log.seek(max(0, log.seek(0, os.SEEK_END) - _BYTES))
    lines = log.read().decode(errors="replace").splitlines()
    return " / ".join([line.strip() for line in lines if line.strip()][-_LINES:])


class Served:
    """What the child does: makes the object, and answers.

    Args:
        connection: To who asks.
        made_by: What makes the object, as `package.module:name`.
    """

    def __init__(self, connection: Connection, made_by: str) -> None:
        self._connection = connection
        self._module, self._name = made_by.split(":")
        self._object: Any = None
        self._asked: SimpleQueue[Any] = SimpleQueue()
        self._busy = False

    def answer_all(self) -> None:
        """Until the other end is closed."""
        Thread(target=self._receive, daemon=True).start()
        while (question := self._asked.get()) is not None:
            answer = self._tried(*question)
            self._busy = False
            with suppress(OSError):  # nobody is there any more
                self._connection.send(answer)
        if hasattr(self._object, "close"):
            self._object.close()

    def _receive(self) -> None:
        """Questions until the other end is closed, which ends the process in its work, too."""
        with suppress(EOFError, OSError):
            while True:
                question = self._connection.recv()
                self._busy = True
                self._asked.put(question)
        if self._busy:
            os._exit(0)
        self._asked.put(None)

    def _tried(self, *question: Any) -> tuple[Any, Exception | None]:
        try:
            return self._act(*question), None
        except (RmcheckError, MemoryError) as error:
            return None, error
        except Exception as error:
            return None, ForeignError(brief(error))

    def _act(self, method: str, arguments: Any, named: Any) -> Any:
        if method != _MAKE:
            return getattr(self._object, method)(*arguments, **named)
        self._object = getattr(import_module(self._module), self._name)(**named)
        return None


if __name__ == "__main__":
    Served(Connection(int(sys.argv[1])), sys.argv[2]).answer_all()
