"""Templates and regular expressions of others, run in a child process with limits.

They come with checkpoints and judge files, and a few characters of them can run for ever or fill
the memory. The child has neither the environment nor the files of this process open, 10 s of the
processor for a run and 2 GiB of memory; one child serves this process, and is started again where
it was ended.
"""

import atexit
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rmcheck.errors import MissingDependencyError, ScoringError

# Of the processor, for one run.
SECONDS = 10.0
_CHILD = Path(__file__).with_name("confined_child.py")
# What a Python may need to start; the rest, keys among it, is not for templates.
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT")
# Bytes of runs that are sent before their answers are read.
_AT_ONCE = 4 << 20
# jinja2 3.1.5 lets a template out of its sandbox (CVE-2025-27516).
_LEAST_JINJA = (3, 1, 6)


class ConfinedError(ScoringError):
    """A template or a regular expression failed, or reached a limit.

    Args:
        message: Why.
        place: Position of the run among those that were asked for.
    """

    def __init__(self, message: str, place: int) -> None:
        super().__init__(message)
        self.place = place


def confined(kind: str, runs: Sequence[Any], **facts: Any) -> list[Any]:
    """What a program of `rmcheck.models.text.confined_child` gives for each run, in order.

    Args:
        kind: `chat`, `judge` and `names` are templates, `match` is a regular expression.
        runs: JSON values.
        facts: The program's arguments, as JSON values.

    Raises:
        ConfinedError: A run failed; the first is told.
        MissingDependencyError: A template is asked for, and jinja2 is not installed or too old.
    """
    if kind != "match":
        _require_jinja()
    return _CHILDREN.answers({"kind": kind, **facts}, [json.dumps(run).encode() for run in runs])


class _Children:
    """The child of this process, while it lives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def answers(self, program: Mapping[str, Any], runs: Sequence[bytes]) -> list[Any]:
        with self._lock:
            found: list[Any] = []
            for group in _groups(runs):
                for answer in self._asked(program, group):
                    if "error" in answer:
                        raise ConfinedError(answer["error"], len(found))
                    found.append(answer["value"])
            return found

    def _asked(self, program: Mapping[str, Any], runs: Sequence[bytes]) -> list[dict[str, Any]]:
        """Answers up to the one that ended the child."""
        child = self._running()
        assert child.stdin is not None
        assert child.stdout is not None
        header = json.dumps({"program": program, "seconds": SECONDS, "runs": len(runs)}).encode()
        try:
            child.stdin.write(b"\n".join([header, *runs, b""]))
            child.stdin.flush()
            lines = [child.stdout.readline() for _ in runs]
        except BrokenPipeError:
            lines = [b""]  # it ended while it was not asked
        # Half a conversation cannot be gone on with.
        except BaseException:
            self.close()
            raise
        answers = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return answers if len(answers) == len(runs) else [*answers, {"error": self._end()}]

    def _running(self) -> "subprocess.Popen[bytes]":
        # A forked process shares the pipes of its parent, whose child this is not.
        if self._owner != os.getpid() or (self._child and self._child.poll() is not None):
            self.close()
        if self._child is None:
            kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
            self._child = subprocess.Popen(
                [sys.executable, "-P", str(_CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            self._owner = os.getpid()
        return self._child

    def _end(self) -> str:
        """Why the child ended."""
        assert self._child is not None
        code = self._child.wait()
        self.close()
        if code == -getattr(signal, "SIGPROF", 0):
            return f"it runs for more than {SECONDS:g} s"
        return f"the process that ran it ended with {code}"

    def close(self) -> None:
        """End the child of this process."""
        child, self._child = self._child, None
        if child is None or self._owner != os.getpid():
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            with suppress(BrokenPipeError):  # what was not sent is not needed
                pipe.close()  # type: ignore[union-attr]


def _groups(runs: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The runs in order, in groups of a few megabytes."""
    group: list[bytes] = []
    size = 0
    for run in runs:
        if group and size + len(run) > _AT_ONCE:
            yield group
            group, size = [], 0
        group.append(run)
        size += len(run)
    if group:
        yield group


def _require_jinja() -> None:
    try:
        found = version("jinja2")
    except PackageNotFoundError:
        raise MissingDependencyError(
            "templates need jinja2. Install it with: pip install 'jinja2>=3.1.6,<4'"
        ) from None
    if tuple(map(int, re.findall(r"\d+", found)[:3])) < _LEAST_JINJA:
        raise MissingDependencyError(
            f"jinja2 {found} lets a template out of its sandbox (CVE-2025-27516). "
            "Install a newer one with: pip install 'jinja2>=3.1.6,<4'"
        )


_CHILDREN = _Children()
atexit.register(_CHILDREN.close)
