"""Work that several processes share: each item is done by one of them."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

T = TypeVar("T")


def shared(items: Iterable[T], lock_of: Callable[[T], Path]) -> Iterator[T]:
    """The items, each under its lock while the caller is at it.

    What another process is at comes last, when that process has done it, or was killed at it.

    Args:
        items: In the order of work.
        lock_of: Its lock file, in a folder that is made.
    """
    later = []
    for item in items:
        lock = _lock(lock_of(item))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            later.append((item, lock))
            continue
        try:
            yield item
        finally:
            lock.release()
    for item, lock in later:
        with lock:
            yield item


def _lock(path: Path) -> FileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, is_singleton=True)  # a process never waits for itself
