"""`report.json`: everything a run found, for programs."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rmcheck.checks.record import CheckRecord
from rmcheck.store.folder import write_whole
from rmcheck.wording import json_text, printable

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


def write_json(folder: Path, data: dict[str, Any]) -> Path:
    """Write `report.json`, whole or not at all.

    Raises:
        OSError: It cannot be written; nothing is left behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / REPORT_NAME
    write_whole(target, json_text(_finite(data)).encode())
    return target


def _finite(data: Any) -> Any:
    """The same data with null for a number that is not finite: a bound that there is none of."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def junit_properties(check: CheckRecord) -> list[tuple[str, str]]:
    """What JUnit shows beside the test case of a check."""
    names = ("metric", "slice", "value", "lower", "upper", "confidence", "n", "verdict", "required")
    data = check.as_dict()
    properties = [(f"rmcheck.{name}", printable(str(data[name]))) for name in names]
    if check.baseline:
        properties.append(("rmcheck.baseline", str(check.baseline.value)))
    return properties
