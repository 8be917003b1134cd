"""What would open the gate for a check, said of its record in a report."""

from collections.abc import Iterator, Mapping
from typing import Any

from rmcheck.checks.record import deciding


def opens(check: Mapping[str, Any]) -> list[str]:
    """Sentences: what was found, and what would have to be otherwise for the check to pass."""
    return [*_found(check), *_needed(check)]


def _found(check: Mapping[str, Any]) -> Iterator[str]:
    sort = "drop" if check["kind"] == "max_drop" else check["metric"]
    yield f"The {sort} is {_number(check['value'])}, between {_bounds(check)}: {check['verdict']}."
    if check["baseline"] and check["kind"] != "max_drop":
        yield f"The baseline has {_number(check['baseline']['value'])}."


def _needed(check: Mapping[str, Any]) -> Iterator[str]:
    end = "lower" if check["kind"] == "at_least" else "upper"
    if check["verdict"] == "pass":
        yield f"Its {end} bound meets {check['required']}: nothing is wanted."
        return
    if check["concerns"]:
        yield f"Nothing can be decided: {'; '.join(check['concerns'])}."
        yield "Take that away first; no checkpoint and no bound opens the gate before."
        return
    if check["verdict"] == "inconclusive":
        yield from _undecided(check, end)
    else:
        better = "upper" if end == "lower" else "lower"
        yield (
            f"Even its {better} bound misses {check['required']}. More prompts will not help: it "
            "takes another checkpoint, or a requirement that you can defend."
        )
    if check[end] is not None:
        yield (
            f"This checkpoint would pass {check['kind']}: {_number(check[end])} on this pool, "
            "which is what its evidence supports."
        )


def _undecided(check: Mapping[str, Any], end: str) -> Iterator[str]:
    yield f"Its {end} bound misses {check['required']} and its value does not settle it."
    if (found := deciding(check)) is not None:
        what, have, needed = found
        yield (
            f"With about {needed:,} {what} like these {have:,} it would be decided, one way or the "
            "other."
        )


def _bounds(check: Mapping[str, Any]) -> str:
    return f"{_number(check['lower'])} and {_number(check['upper'])}"


def _number(value: float | None) -> str:
    return "unbounded" if value is None else f"{value:.3f}"
