"""`report.html`: a run as one page, for people.

The page needs no network and no script; a small script makes the table sortable. Texts of a pool
are untrusted: all are escaped, and the page's own policy lets nothing else run or load.
"""

import base64
import hashlib
import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from rmcheck.checks.record import CauseRecord
from rmcheck.reports.causes import HEADINGS, cells, percent, suspicion
from rmcheck.reports.drawings import figures, left_out
from rmcheck.reports.markdown import title
from rmcheck.wording import encodable, printable_lines

if TYPE_CHECKING:
    from markupsafe import Markup

PAGE_NAME = "report.html"
# Facts of a probe's check, and the headings of their columns.
PROBE_FACTS = {
    "shift_in_sd": "shift",
    "shift_by_neutral_words": "neutral words",
    "preferences_flipped": "flipped",
    "bad_beats_honest_before": "bad wins, before",
    "bad_beats_honest": "after",
}
# Width and height of the drawing of one interval, and what is left free at its ends.
WIDTH, HEIGHT, MARGIN = 176.0, 22.0, 8.0


def page(
    data: Mapping[str, Any],
    before: Mapping[str, Any] | None = None,
) -> str:
    """The page of a run."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"number": number, "interval": interval}
    room = files("rmcheck.reports")
    script = room.joinpath("sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.from_string(room.joinpath("page.html.j2").read_text(encoding="utf-8"))
    shown = _shown(data)
    checks = _checks(shown)
    return template.render(
        data=shown,
        checks=checks,
        cause_headings=HEADINGS,
        suspicions=_suspicions(checks),
        probes=_probes(checks),
        probe_facts=PROBE_FACTS,
        parts=_parts(shown, checks),
        left_out={suite["path"]: left_out(suite) for suite in shown["suites"]},
        changes=changes(shown, _shown(before)) if before else [],
        heading=f"rmcheck: {', '.join(suite['name'] for suite in shown['suites']) or 'no suite'}",
        tally=_tally(shown),
        figures={suite["path"]: figures(suite) for suite in shown["suites"]},
        style=page_style(),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
    )


def page_style() -> "Markup":
    """Of the pages of a run and of a study."""
    from markupsafe import Markup

    return Markup(files("rmcheck.reports").joinpath("page.css").read_text(encoding="utf-8"))


def number(value: float | None) -> str:
    """Three places, fewer for large numbers; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"


def interval(check: Mapping[str, Any]) -> "Markup":
    """A value, its bounds and the requirement on one line, drawn to the scale of this check."""
    from markupsafe import Markup

    known = [check[name] for name in ("value", "lower", "upper", "bound")]
    finite = [x for x in known if x is not None and math.isfinite(x)]
    if check["value"] not in finite or check["bound"] not in finite:
        return Markup("")
    least, span = min(finite), (max(finite) - min(finite)) or 1.0

    def at(x: float | None, otherwise: float) -> str:
        if x is None or not math.isfinite(x):
            return f"{otherwise:.1f}"
        return f"{MARGIN + (x - least) / span * (WIDTH - 2 * MARGIN):.1f}"

    value, bound = at(check["value"], 0), at(check["bound"], 0)
    lower, upper = at(check["lower"], 0), at(check["upper"], WIDTH)
    said = (
        f"{number(check['value'])}, bounds {number(check['lower'])} to {number(check['upper'])}, "
        f"required {check['required']}"
    )
    middle = HEIGHT / 2
    return Markup(
        '<svg class="interval {verdict}" viewBox="0 0 {width} {height}" role="img" aria-label="'
        '{said}"><line x1="{bound}" x2="{bound}" y1="1" y2="{height}" stroke="var(--ink)" '
        'stroke-dasharray="3 2"/><line x1="{lower}" x2="{upper}" y1="{middle}" y2="{middle}" '
        'stroke="currentColor" stroke-width="3"/><circle cx="{value}" cy="{middle}" r="4" '
        'fill="currentColor"/></svg>'
    ).format(
        verdict=check["verdict"],
        width=WIDTH,
        height=HEIGHT,
        middle=middle,
        said=said,
        value=value,
        bound=bound,
        lower=lower,
        upper=upper,
    )


def changes(data: Mapping[str, Any], before: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What became of each check since an earlier run, in the order of the new one.

    A check that only one run has is a row, too. Numbers are compared where the pool is the same.
    """
    pools = [{s["path"]: s["pool"]["fingerprint"] for s in run["suites"]} for run in (data, before)]
    new, old = ({check["node"]: check for check in run["checks"]} for run in (data, before))
    rows = []
    for key in dict.fromkeys([*new, *old]):
        one, other = new.get(key), old.get(key)
        path = (one or other or {})["path"]
        same = pools[0].get(path) == pools[1].get(path)
        rows.append(
            {
                "title": title(one or other or {}),
                "before": other,
                "now": one,
                "moved": one["value"] - other["value"]
                if one and other and same and None not in (one["value"], other["value"])
                else None,
                "remark": _remark(one, other, same) if one and other else "",
            }
        )
    return rows


def _shown(data: Mapping[str, Any]) -> dict[str, Any]:
    """The report with texts that any page can hold: no half surrogates, no control characters."""
    return dict(_printable(encodable(dict(data))))


def _printable(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {_printable(key): _printable(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_printable(value) for value in data]
    return printable_lines(data) if isinstance(data, str) else data


def _checks(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The checks with what the page says of them; what was shown before is named by its check."""
    options = data.get("run", {}).get("options") or ["--rmcheck-model=…"]
    found = [_check(check, options) for check in data["checks"]]
    for name in ("mistakes", "causes"):
        first: dict[str, int] = {}
        for number, check in enumerate(found, 1):
            earlier = first.setdefault(repr(check[name]), number) if check[name] else number
            check[f"same_{name}"] = earlier if earlier != number else 0
    return found


def _check(check: Mapping[str, Any], options: Sequence[str]) -> dict[str, Any]:
    rows = [("decay" if check["kind"] == "max_decay" else "candidate", check["candidate"])]
    if check["baseline"]:
        rows.append(("baseline", check["baseline"]))
    if check["kind"] == "max_drop":
        rows.append(("drop", check))
    causes = [CauseRecord(**cause) for cause in check.get("causes", ())]
    return {
        **check,
        "title": title(check),
        "rows": rows,
        "level": f"{100 * check['confidence']:g} %",
        "command": shlex.join(["pytest", check["node"], "--rmcheck", *options]),
        "suspicion": suspicion(causes),
        "causes": [
            {
                "cells": cells(cause),
                "suspected": cause.suspected,
                "baseline_share": "" if cause.beyond is None else percent(cause.baseline),
            }
            for cause in causes
        ],
    }


def _suspicions(checks: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """What is suspected of checks that keep the gate closed, each once, with the checks."""
    found: dict[str, list[str]] = {}
    for check in checks:
        if check["gate"] != "passed" and any(cause["suspected"] for cause in check["causes"]):
            said = check["suspicion"]
            found.setdefault(said[0].upper() + said[1:], []).append(check["title"])
    return list(found.items())


def _probes(checks: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    """Checks of probes with their place among all, the worst first."""
    found = [(i, check) for i, check in enumerate(checks, 1) if check["metric"] == "probe"]
    return sorted(found, key=lambda one: -(one[1]["value"] or 0.0))


def _parts(data: Mapping[str, Any], checks: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Anchor and name of each part of the page."""
    parts = [("errors", "Errors")] if data["errors"] else []
    if checks:
        parts += [("checks", "Checks")]
        parts += [("probes", "Probes")] if _probes(checks) else []
        parts += [("details", "Each check")]
    parts += [(f"suite-{i}", suite["name"]) for i, suite in enumerate(data["suites"], 1)]
    return [*parts, ("again", "How to run it again")]


def _remark(now: Mapping[str, Any], before: Mapping[str, Any], same_pool: bool) -> str:
    """What a reader of the change must know: another pool, or another slice that is the worst."""
    if not same_pool:
        return "another pool: not compared"
    return "" if now["slice"] == before["slice"] else f"before: {before['slice']}"


def _tally(data: Mapping[str, Any]) -> str:
    counts = Counter(check["verdict"] for check in data["checks"])
    parts = [f"{counts[v]} {v}" for v in ("pass", "fail", "inconclusive") if counts[v]]
    if data["errors"]:
        parts.append(f"{len(data['errors'])} could not be decided")
    return f"{', '.join(parts) or 'No check was decided'}."
