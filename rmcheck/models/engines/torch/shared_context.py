"""A context that several threads are in at once."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager


class SharedContext:
    """Entered by the first of several threads, and left by the last of them.

    For settings of a whole process or model: threads that set and restore them each on its own
    would restore them under the others.

    Args:
        open_context: Makes the context that is entered; called anew after the last has left.
    """

    def __init__(self, open_context: Callable[[], AbstractContextManager[object]]) -> None:
        self._open_context = open_context
        self._lock = threading.Lock()
        self._inside = 0
        self._opened: AbstractContextManager[object] | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Be inside."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def _enter(self) -> None:
        with self._lock:
            if self._opened is None:
                opened = self._open_context()
                opened.__enter__()
                self._opened = opened
            self._inside += 1

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._opened is not None:
                opened, self._opened = self._opened, None
                opened.__exit__(None, None, None)
