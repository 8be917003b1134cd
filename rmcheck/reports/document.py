"""`report.json`: everything a run found, for programs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rmcheck.checks.record import CheckRecord
from rmcheck.errors import UsageError
from rmcheck.wording import finite, json_text, printable

REPORT_VERSION = 1
REPORT_NAME = "report.json"


def report_data(
    checks: Sequence[CheckRecord],
    suites: Sequence[dict[str, Any]],
    errors: Sequence[dict[str, str]],
    version: str,
    run: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The report as plain data."""
    return {
        "report": REPORT_VERSION,
        "rmcheck": version,
        "passed": not errors and bool(checks) and all(c.gate == "passed" for c in checks),
        "checks": [check.as_dict() for check in checks],
        "errors": list(errors),
        "suites": list(suites),
        "run": dict(run or {}),
    }


def report_text(data: Mapping[str, Any]) -> str:
    """The content of `report.json`."""
    return json_text(finite(dict(data)))


def read_run(path: Path) -> dict[str, Any]:
    """What `report.json` says, as data.

    Raises:
        UsageError: There is no report of a version that is known.
    """
    path = path / REPORT_NAME if path.is_dir() else path
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}. A run writes it: pytest --rmcheck "
            "--rmcheck-report=FOLDER"
        ) from error
    except ValueError as error:
        raise UsageError(f"{path} is no report of rmcheck: {error}") from error
    found = data.get("report") if isinstance(data, dict) else None
    if found != REPORT_VERSION:
        raise UsageError(f"{path}: a report of version {REPORT_VERSION} is wanted, not {found!r}")
    return dict(data)


def junit_properties(check: CheckRecord) -> list[tuple[str, str]]:
    """What JUnit shows beside the test case of a check."""
    names = ("metric", "slice", "value", "lower", "upper", "confidence", "n", "verdict", "required")
    data = check.as_dict()
    properties = [(f"rmcheck.{name}", printable(str(data[name]))) for name in names]
    if check.baseline:
        properties.append(("rmcheck.baseline", str(check.baseline.value)))
    return properties
