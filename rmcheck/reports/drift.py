"""Responses whose reward differs between two engines, for people."""

from collections.abc import Sequence

from rmcheck.checks.record import DriftRecord
from rmcheck.wording import excerpt, printable

TEXT_WIDTH = 58


def drift_lines(drifts: Sequence[DriftRecord]) -> list[str]:
    """A headline and a line a response: difference, both rewards, and which text; may be empty."""
    if not drifts:
        return []
    return ["texts that differ most", *(f"  {_line(drift)}" for drift in drifts)]


def _line(drift: DriftRecord) -> str:
    return (
        f"{drift.second - drift.first:+.3g}  {drift.first:.6g} → {drift.second:.6g}  "
        f"{printable(drift.prompt_id)} response {drift.response}: "
        f"'{excerpt(drift.text, TEXT_WIDTH)}'"
    )
