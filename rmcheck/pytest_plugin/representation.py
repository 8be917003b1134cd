"""How a check that did not pass looks in pytest's own output.

These are private names of pytest, kept in one file: a failure drawn as a plain string would be
printed twice on CI and lose its headline under xdist.
"""

from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from _pytest._code.code import (
    ReprEntryNative,
    ReprExceptionInfo,
    ReprFileLocation,
    ReprTraceback,
)

from rmcheck.errors import bug_text
from rmcheck.wording import printable_lines

BUG_SHOWN_BY = "`pytest -v`"


class CheckDidNotPass(Exception):
    """The verdict of a check keeps the gate closed; the text is what a person should read."""


def without_traceback(text: str, path: Path, line: int) -> ReprExceptionInfo:
    """A failure that shows only `text`; its first line is the headline of the short summary."""
    text = printable_lines(text)
    headline = text.strip().splitlines()[0]
    body = text if text.endswith("\n") else text + "\n"
    return ReprExceptionInfo(
        reprtraceback=ReprTraceback([ReprEntryNative([body])], None, style="native"),
        reprcrash=ReprFileLocation(str(path), line, headline),
    )


def bug_failure(item: pytest.Item | pytest.Collector, error: BaseException) -> Any:
    """An exception that nobody expected, without its traceback; None where that is asked for."""
    if not isinstance(error, Exception) or not hides_bugs(item.config):
        return None
    return without_traceback(bug_text(error, BUG_SHOWN_BY), item.path, 1)


def hides_bugs(config: pytest.Config) -> bool:
    """Whether tracebacks of rmcheck itself are left out."""
    return config.option.verbose <= 0 and not config.option.fulltrace


def plain_failure(text: str) -> BaseException:
    """An exception that shows only its text: for what goes wrong before a test is called."""
    return pytest.fail.Exception(printable_lines(text), pytrace=False)


def end_in_the_test(error: BaseException) -> None:
    """Cut the frames of rmcheck off the end of a traceback: the last one is the test's own line."""
    frame = error.__traceback__
    last: TracebackType | None = None
    while frame is not None:
        if _is_outside(frame):
            last = frame
        frame = frame.tb_next
    if last is not None:
        last.tb_next = None


def _is_outside(frame: TracebackType) -> bool:
    name = str(frame.tb_frame.f_globals.get("__name__"))
    return name.partition(".")[0] not in ("rmcheck", "functools")
