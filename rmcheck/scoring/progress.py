"""How far scoring is: a bar for people at a terminal, a line now and then everywhere else.

`telling` hands the lines to whoever can show them: the plugin writes them through pytest's
capture, the command line on standard error. A program that uses rmcheck as a library sees none
unless it asks.
They are no log records: pytest would show those again under each failure.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self, TextIO

from rmcheck.wording import listed, printable

Tell = Callable[[str], None]
# Who shows lines, and the terminal that a bar is drawn on, where there is one; the last one does.
_TELLS: list[tuple[Tell, TextIO | None]] = []
# Names what is scored after what is scored now.
_LATER: list[Callable[[], Sequence[str]]] = []

# Shorter work needs no bar.
DELAY_SECONDS = 2.0
# Between two lines.
EVERY_SECONDS = 60.0
# Fewer tokens need no line: a test that compares two answers, not a pool.
FEW_TOKENS = 2_000
# Loading is announced where at least so many texts follow.
FEW_TEXTS = 20

Clock = Callable[[], float]


class Progress(Protocol):
    """What is told meanwhile."""

    def update(self, done: int, /) -> object:
        """So much more is done."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...


@contextmanager
def telling(tell: Tell, screen: TextIO | None = None) -> Iterator[None]:
    """Meanwhile hand each line to `tell` alone."""
    _TELLS.append((tell, screen))
    try:
        yield
    finally:
        _TELLS.remove((tell, screen))


@contextmanager
def followed_by(later: Callable[[], Sequence[str]]) -> Iterator[None]:
    """Meanwhile say also what comes next.

    Args:
        later: Models that are scored afterwards, asked only where something is said.
    """
    _LATER.append(later)
    try:
        yield
    finally:
        _LATER.remove(later)


def _say(line: str) -> None:
    if _TELLS:
        _TELLS[-1][0](line)


def _then() -> str:
    """What comes next, as the end of a sentence; empty where nothing does."""
    later = _LATER[-1]() if _LATER and _TELLS else ()
    return f"; then {listed(later, 1)}" if later else ""


def tell_loading(spec: str, texts: int) -> None:
    """Say that a model is loaded; large ones take minutes."""
    if texts >= FEW_TEXTS:
        _say(f"loading {spec} to score {texts:,} texts{_then()}")


def progress_of(spec: str, texts: int, tokens: int, stream: TextIO | None = None) -> Progress:
    """The progress of one model that scores."""
    opening = f"{texts:,} texts, {rounded(tokens)} tokens" if tokens >= FEW_TOKENS else ""
    return progress_in(f"scoring {spec}", opening, tokens, "tokens", stream)


def progress_in(
    title: str, opening: str, total: int, unit: str, stream: TextIO | None = None
) -> Progress:
    """The progress of long work.

    Args:
        title: What is done, and by what.
        opening: How much there is, said at the beginning; empty says nothing.
        total: Of the work.
        unit: That it is counted in, in the plural.
        stream: Where a bar is drawn; None means the terminal of the run, or standard error.

    Returns:
        A bar that shows itself after two seconds on a terminal outside CI, lines elsewhere.
    """
    screen = _TELLS[-1][1] if _TELLS else None
    stream = stream or screen or sys.stderr
    if not stream.isatty() or os.environ.get("CI"):
        return ProgressLines(title, opening, total, unit)
    if opening and stream is screen:  # which leaves the line that others have begun
        _say(f"{title}: {opening}{_then()}")
    from tqdm import tqdm

    return tqdm(
        postfix=_then().removeprefix("; ") or None,
        desc=printable(title),
        total=total,
        unit=f" {unit}",
        unit_scale=True,
        file=stream,
        delay=DELAY_SECONDS,
        leave=False,
        dynamic_ncols=True,
    )


class ProgressLines:
    """A line when the work begins, and then about one a minute, whenever a part is done."""

    def __init__(
        self,
        title: str,
        opening: str,
        total: int,
        unit: str,
        clock: Clock = time.monotonic,
    ) -> None:
        self._title = title
        self._total = total
        self._unit = unit
        self._done = 0
        self._clock = clock
        self._started = self._said = clock()
        if opening:
            _say(f"{title}: {opening}{_then()}")

    def update(self, done: int) -> None:
        """So many more are done."""
        self._done += done
        now = self._clock()
        if now - self._said < EVERY_SECONDS:
            return
        self._said = now
        rate = self._done / (now - self._started)
        share = self._done / max(self._total, self._done)
        left = duration(max(0, self._total - self._done) / rate)
        _say(
            f"{self._title}: {share:.0%} of {rounded(self._total)} {self._unit}, "
            f"{rounded(rate)} {self._unit}/s, about {left} left{_then()}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left to say: the report tells what was scored."""


def rounded(number: float) -> str:
    """Three digits with k, M or G: `449k`."""
    for unit in ("", "k", "M"):
        if number < 999.5:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g}G"


def duration(seconds: float) -> str:
    """Seconds in words that are as rough as the guess: `40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
