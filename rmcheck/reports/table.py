"""The table of all checks, printed last so that a CI log ends with the answer."""

from collections import Counter
from collections.abc import Sequence

from rmcheck.checks.record import CheckRecord

HEADINGS = ("check", "n", "measured", "bounds", "required", "verdict")


def table(records: Sequence[CheckRecord]) -> list[str]:
    """Aligned lines, in the order given; no colour or symbol is needed to understand them."""
    levels = sorted({record.confidence for record in records})
    bounds = "/".join(f"{100 * level:g}%" for level in levels) + " bounds"
    headings = [bounds if heading == "bounds" else heading for heading in HEADINGS]
    rows = [headings, *(_cells(record) for record in records)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    return [_line(row, widths) for row in rows]


def _cells(record: CheckRecord) -> list[str]:
    return [
        check_name(record),
        str(record.n),
        f"{record.value:.3f}",
        f"[{record.lower:.3f}, {record.upper:.3f}]",
        record.required,
        record.verdict if record.verdict != "inconclusive" else _inconclusive(record),
    ]


def check_name(record: CheckRecord) -> str:
    """Suite, check and slice in one word."""
    where = f"[{record.slice}]" if record.slice else ""
    return f"{record.suite}::{record.name}{where}"


def _inconclusive(record: CheckRecord) -> str:
    return "inconclusive" if record.gate == "failed" else "inconclusive (warn)"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    right = {1, 2}
    cells = (
        cell.rjust(width) if i in right else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()


def tally(records: Sequence[CheckRecord]) -> str:
    """How many checks came out which way, in one line."""
    counts = Counter(record.verdict for record in records)
    parts = [f"{counts[v]} {v}" for v in ("pass", "fail", "inconclusive") if counts[v]]
    plural = "" if len(records) == 1 else "s"
    return f"{len(records)} check{plural}: {', '.join(parts)}."
