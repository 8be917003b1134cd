"""Calls of a user's function: plain or async, and no longer than a time limit."""

import asyncio
import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rmcheck.errors import ScoringError


class TimedOutError(ScoringError):
    """A call of a user's function took longer than its limit."""


class _AlarmError(BaseException):
    """The time of a call is over; no `except Exception` of the user's code catches it."""


def called(spec: str, seconds: float, function: Callable[[], Any]) -> Any:
    """What a function returns, or what the coroutine that it returns comes to.

    In the main thread an alarm ends it, so that functions which set alarms of their own (as
    math-verify does) work as they do in training; what never comes back to Python is not ended.
    Elsewhere the call is left behind in a thread of its own.

    Args:
        spec: The model as the user named it, for messages.
        seconds: The limit.
        function: The call, arguments and all.

    Raises:
        TimedOutError: It takes longer.
        Exception: Whatever it raises.
    """
    alarm = threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")
    try:
        if alarm and not _in_event_loop():
            with _alarm(seconds):
                return _finished(function())
        return _in_thread(lambda: _finished(function()), seconds)
    except _AlarmError:
        raise TimedOutError(
            f"{spec}: the function did not return within {seconds:g} s; allow more with timeout=, "
            "or give it less at once with batch="
        ) from None


def _finished(answer: Any) -> Any:
    if not inspect.isawaitable(answer):
        return answer

    async def awaited() -> Any:
        return await answer

    return asyncio.run(awaited())


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise _AlarmError here when the time is over; an alarm of another's goes on afterwards."""

    def over(number: int, frame: FrameType | None) -> None:
        raise _AlarmError

    before = signal.signal(signal.SIGALRM, over)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, left, interval)


def _in_thread(function: Callable[[], Any], seconds: float) -> Any:
    found: list[Any] = []

    def run() -> None:
        try:
            found.extend([True, function()])
        # Whatever it raises is raised again where it is waited for.
        except BaseException as error:
            found.extend([False, error])

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise _AlarmError
    returned, value = found
    if returned:
        return value
    raise value
