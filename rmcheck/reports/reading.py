"""The report of an earlier run, read back."""

import json
from pathlib import Path
from typing import Any

from rmcheck.errors import UsageError
from rmcheck.reports.document import REPORT_NAME, REPORT_VERSION


def read_run(path: Path) -> dict[str, Any]:
    """What `report.json` says, as data.

    Raises:
        UsageError: There is no report of a version that is known.
    """
    path = path / REPORT_NAME if path.is_dir() else path
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is no report of rmcheck: {error}") from error
    found = data.get("report") if isinstance(data, dict) else None
    if found != REPORT_VERSION:
        raise UsageError(f"{path}: a report of version {REPORT_VERSION} is wanted, not {found!r}")
    return dict(data)
