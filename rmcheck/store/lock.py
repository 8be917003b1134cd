"""One process at a time scores a model: who does, and how the others wait."""

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rmcheck.errors import StoreError, UsageError
from rmcheck.store.folder import unwritable, write_whole
from rmcheck.wording import printable

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK = "lock"
HOLDER = "holder.json"
# Seconds before the first words; most waits are over by then.
FIRST_WORDS = 3.0
WORDS_EVERY = 60.0
_POLL = 0.05


def _on_standard_error(line: str) -> None:
    sys.stderr.write(f"{printable(f'rmcheck: {line}')}\n")
    sys.stderr.flush()


@dataclass(frozen=True)
class Waiting:
    """How to wait for another process that scores the same model.

    Attributes:
        limit: Seconds after which to give up, 0 or more; None waits as long as it takes.
        run: Name of the run, shared by its processes. They wait for one another without words and
            without limit, for what one of them scores the others read. Empty is a run of one.
        tell: Takes a line for people, after a few seconds and then every minute.

    Raises:
        UsageError: The limit is negative or not a number.
    """

    limit: float | None = None
    run: str = ""
    tell: Callable[[str], None] = _on_standard_error

    def __post_init__(self) -> None:
        if self.limit is not None and not self.limit >= 0:
            raise UsageError(f"the lock timeout is {self.limit:g}; valid: seconds, 0 or more")


@dataclass(frozen=True)
class Holder:
    """The process that scores a model."""

    pid: int
    host: str
    since: str
    run: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


@contextmanager
def held_lock(folder: Path, waiting: Waiting) -> Iterator[None]:
    """Hold the lock of a folder of scores; the operating system lets go when the process dies.

    Raises:
        StoreError: The folder takes no lock file, or the limit has passed; names the holder.
    """
    from filelock import FileLock

    lock = FileLock(folder / LOCK)
    try:
        _acquire(lock, folder, waiting)
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        with suppress(OSError):  # who waits sees less; nothing else depends on it
            _sign(folder, waiting.run)
        yield
    finally:
        lock.release()


def holder_of(folder: Path) -> Holder | None:
    """Who holds the lock, or held it last; None where nobody signed, or it cannot be read."""
    try:
        return Holder(**json.loads((folder / HOLDER).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _sign(folder: Path, run: str) -> None:
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    holder = Holder(os.getpid(), platform.node(), since, run)
    write_whole(folder / HOLDER, json.dumps(asdict(holder)).encode())


def _acquire(lock: "BaseFileLock", folder: Path, waiting: Waiting) -> None:
    from filelock import Timeout

    limit = float("inf") if waiting.limit is None else waiting.limit
    started, words_at = time.monotonic(), FIRST_WORDS
    while True:
        waited = time.monotonic() - started
        try:
            lock.acquire(timeout=max(0.0, min(words_at, limit) - waited), poll_interval=_POLL)
            return
        except Timeout:
            pass
        waited, holder = time.monotonic() - started, holder_of(folder)
        if holder is not None and waiting.run and holder.run == waiting.run:
            started, words_at = time.monotonic(), FIRST_WORDS
            time.sleep(_POLL)
            continue
        if holder is None and waited < FIRST_WORDS:  # it may be about to sign
            time.sleep(_POLL)
            continue
        named = f"another process ({holder or 'which one is not known'})"
        if waited >= limit:
            raise StoreError(
                f"{folder}: {named} scores this model, and the lock timeout of {limit:g} s has "
                "passed. Wait until it is done, stop it, or give more time; then only what is "
                "missing is scored."
            )
        waiting.tell(f"{named} scores this model; waiting for it ({folder})")
        words_at = waited + WORDS_EVERY
