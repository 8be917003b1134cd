"""Why a check may have failed, for people: what is suspected, and the numbers of all suspects."""

from collections.abc import Sequence

from rmcheck.checks.record import CauseRecord
from rmcheck.wording import aligned, printable

HEADINGS = (
    "suspect",
    "golden loss that follows",
    "pick less best",
    "reward alone",
    "beyond others",
)


def suspicion(causes: Sequence[CauseRecord]) -> str:
    """What is suspected, in one sentence with its numbers; empty where nothing was looked at."""
    if not causes:
        return ""
    first = causes[0]
    name = printable(first.name)
    if not first.suspected:
        return f"no cause stands out among {len(causes)} suspects, such as {name}"
    if first.beyond is not None:
        than = "more" if first.share > 0 else "less"
        share = max(first.more or 0.0, first.less or 0.0)
        other = "" if first.baseline is None else f" (baseline: {percent(first.baseline)})"
        return (
            f"suspected: {name}. {percent(share)} of the golden loss is where the pick has {than} "
            f"of it than the better answer; {percent(first.beyond)} of the reward's variance "
            f"follows it alone{other}"
        )
    bounds = f"{percent(first.share)} [{percent(first.lower)}, {percent(first.upper)}]"
    if name == "ties":
        return f"suspected: ties. {bounds} of the golden loss goes with the best choice among them"
    return (
        f"suspected: {name}. {bounds} of the golden loss is what more is lost there than elsewhere"
    )


def cause_lines(causes: Sequence[CauseRecord]) -> list[str]:
    """A table of all suspects; none where there are none."""
    if not causes:
        return []
    return aligned([HEADINGS, *map(cells, causes)], right={1, 2, 3, 4})


def cells(cause: CauseRecord) -> list[str]:
    """A suspect as a row under `HEADINGS`; shares in percent, differences in sd inside prompts."""
    share = f"{percent(cause.share)} [{percent(cause.lower)}, {percent(cause.upper)}]"
    if cause.beyond is None or cause.gap is None:
        return [printable(cause.name), share, "", "", ""]
    ends = f"[{cause.gap_lower:+.2f}, {cause.gap_upper:+.2f}]"
    beyond = (
        f"{percent(cause.beyond)} [{percent(cause.beyond_lower)}, {percent(cause.beyond_upper)}]"
    )
    return [
        printable(cause.name),
        share,
        f"{cause.gap:+.2f} sd {ends}",
        percent(cause.alone),
        beyond,
    ]


def percent(share: float | None) -> str:
    """A share in whole percent; never a minus before 0."""
    return "–" if share is None else f"{round(100 * share) + 0}%"
