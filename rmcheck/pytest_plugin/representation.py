"""How a check that did not pass looks in pytest's own output.

These are private names of pytest, kept in one file: a failure drawn as a plain string would be
printed twice on CI and lose its headline under xdist.
"""

from pathlib import Path

import pytest
from _pytest._code.code import (
    ReprEntryNative,
    ReprExceptionInfo,
    ReprFileLocation,
    ReprTraceback,
)


def without_traceback(text: str, path: Path, line: int) -> ReprExceptionInfo:
    """A failure that shows only `text`; its first line is the headline of the short summary."""
    headline = text.strip().splitlines()[0]
    body = text if text.endswith("\n") else text + "\n"
    return ReprExceptionInfo(
        reprtraceback=ReprTraceback([ReprEntryNative([body])], None, style="native"),
        reprcrash=ReprFileLocation(str(path), line, headline),
    )


def plain_failure(text: str) -> BaseException:
    """An exception that shows only its text: for what goes wrong before a test is called."""
    return pytest.fail.Exception(text, pytrace=False)
