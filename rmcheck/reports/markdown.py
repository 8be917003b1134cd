"""`report.md`: the answer of a run for a pull request or a job's summary."""

import html
import re
from collections.abc import Mapping
from typing import Any

from rmcheck.wording import encodable, printable

MARKDOWN_NAME = "report.md"
HEADINGS = ("verdict", "check", "measured", "bounds", "required", "prompts")
# What Markdown would read as its own in the middle of a line, and a mention or a link of GitHub.
_MEANT = re.compile(r"([\\`*_{}\[\]#|~@])")


def markdown(data: Mapping[str, Any]) -> str:
    """A table of all checks, then why the gate is closed; no texts of the pool."""
    data = encodable(dict(data))
    answer = "The gate is open." if data["passed"] else "The gate is closed."
    lines = [f"### rmcheck: {answer}", ""]
    if data["checks"]:
        lines += [f"| {' | '.join(HEADINGS)} |", "|---|---|--:|--:|---|--:|"]
        lines += [f"| {' | '.join(_row(check))} |" for check in data["checks"]]
        lines.append("")
    closed = [check for check in data["checks"] if check["gate"] != "passed"]
    lines += [f"- {escaped(title(check))}: {escaped(check['reason'])}" for check in closed]
    lines += [
        f"- {escaped(error['node'] or 'the run')}: {escaped(_first_line(error['message']))}"
        for error in data["errors"]
    ]
    return "\n".join(lines).rstrip() + "\n"


def escaped(text: str) -> str:
    """A text that Markdown shows as it is, in one line."""
    return html.escape(_MEANT.sub(r"\\\1", printable(" ".join(text.split()))), quote=False)


def title(check: Mapping[str, Any]) -> str:
    """Suite, check and slice."""
    where = f" [{check['slice']}]" if check["slice"] else ""
    return f"{check['suite']}: {check['name']}{where}"


def _row(check: Mapping[str, Any]) -> tuple[str, ...]:
    verdict = check["verdict"]
    if verdict == "inconclusive" and check["gate"] == "passed":
        verdict += " (warning)"
    ends = f"{_number(check['lower'])} to {_number(check['upper'])}"
    bounds = "exact" if check["exact"] else ends
    shown = verdict if check["gate"] == "passed" else f"**{verdict}**"
    value, required = _number(check["value"]), escaped(check["required"])
    return shown, escaped(title(check)), value, bounds, required, str(check["n"])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "")
