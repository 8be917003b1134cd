"""Whether a chat template writes the calls of tools and the tools on offer.

Many templates know nothing of either. A text without them would get a reward that does not depend
on what was called, and nobody would notice.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rmcheck.pool.tool_calls import CALLS

Turns = Sequence[Mapping[str, Any]]
# Turns, and the tools on offer.
Run = tuple[Turns, Any]


def left_out(run: Run, text: Callable[[Run], str]) -> str:
    """The first call or list of tools without which a conversation has the same text.

    Args:
        run: Turns, and the tools on offer.
        text: What the template writes; it may raise anything.

    Returns:
        What is left out, in words; empty where all is written, or the template refuses the turns
        for another reason.
    """
    written = _attempt(text, run)
    if written is None:
        return ""
    return next((what for what, less in _lesser(run) if _attempt(text, less) == written), "")


def _lesser(run: Run) -> Iterator[tuple[str, Run]]:
    """Each part that must be written, and the conversation without it."""
    turns, tools = run
    if tools:
        yield "the tools on offer", (turns, None)
    for i, turn in enumerate(turns):
        calls = turn.get(CALLS, ())
        for j, call in enumerate(calls):
            rest = [*calls[:j], *calls[j + 1 :]]
            less = {name: value for name, value in turn.items() if name != CALLS}
            less |= {CALLS: rest} if rest else {}
            what = f"the call of {call['function']['name']!r} in turn {i + 1}"
            yield what, ([*turns[:i], less, *turns[i + 1 :]], tools)


def _attempt(text: Callable[[Run], str], run: Run) -> str | None:
    try:
        return text(run)
    # A template is a program of its own: it may raise anything.
    except Exception:
        return None
