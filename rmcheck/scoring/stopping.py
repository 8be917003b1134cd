"""Stopping on request: SIGTERM ends a run as Ctrl-C does, and what is scored stays."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# What a shell reports of a process that these signals end.
EXIT_INTERRUPTED = 128 + 2
EXIT_TERMINATED = 128 + 15
KEPT = "what was scored is kept; run again and only the rest is scored"


class Terminated(KeyboardInterrupt):
    """SIGTERM. No `except Exception` takes it for a fault of a model."""


@contextmanager
def sigterm_stops() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM, so that models are released; nothing outside the main thread.

    Whoever has a handler of its own keeps it.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Terminated(f"stopped by SIGTERM; {KEPT}")
