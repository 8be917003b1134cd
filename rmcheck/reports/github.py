"""What GitHub Actions shows of a run: a summary of the job, and a mark on each line that failed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rmcheck.reports.markdown import markdown, title
from rmcheck.wording import printable


def add_step_summary(data: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Append the answer to the summary of the step, where this is one.

    Raises:
        OSError: It cannot be written.
    """
    if path := environment.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(markdown(data))


def annotations(data: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[str]:
    """Lines that mark a check in its suite file: an error where it closes the gate, else a warning.

    Nothing outside of GitHub Actions.
    """
    if environment.get("GITHUB_ACTIONS") != "true":
        return
    for check in data["checks"]:
        if check["verdict"] != "pass":
            level = "error" if check["gate"] != "passed" else "warning"
            where = f"file={_property(check['path'])},line={check['line']}"
            named = _property(f"rmcheck {title(check)}")
            yield f"::{level} {where},title={named}::{_message(check['reason'])}"


def _message(text: str) -> str:
    """A text in which no character ends the line or begins another command."""
    text = printable(text)
    for sign, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        text = text.replace(sign, code)
    return text


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
