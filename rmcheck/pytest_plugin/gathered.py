"""What the processes of a run have found, gathered in the one that answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rmcheck
from rmcheck.checks.record import CheckRecord
from rmcheck.reports.document import report_data
from rmcheck.reports.table import (
    model_lines,
    notes,
    scoring_lines,
    suite_lines,
    table,
    taken_line,
    tally,
    told_apart,
)
from rmcheck.suite.detect import is_yaml
from rmcheck.wording import listed

# Nodes that a line names.
SHOWN = 5


class Gathered:
    """Checks, suites and errors of a run; a worker's arrive with its reports and its end.

    Attributes:
        found: Records of checks by node, so that a rerun counts once.
        errors: What could not be judged, with its node.
        suites: What suites were judged with, by path.
        complaint: What went wrong outside of any item; empty if nothing.
        run: How to run it again, see `report_data`.
    """

    def __init__(self) -> None:
        self.found: dict[str, CheckRecord] = {}
        self.errors: list[dict[str, str]] = []
        self.suites: dict[str, dict[str, Any]] = {}
        self.judged = 0
        self.complaint = ""
        self.bug = False
        self.run: dict[str, Any] = {}

    def take(self, report: pytest.TestReport) -> None:
        """Take in the report of an item, wherever it was run."""
        data = getattr(report, "rmcheck", None)
        if data is None:
            return
        self.judged += report.when == "call" or report.failed
        if data and report.when == "call":
            self.found[report.nodeid] = CheckRecord.from_dict(data)
        elif report.failed:
            self.note(str(report.longrepr), report.nodeid)

    def note(self, message: str, node: str = "") -> None:
        """An error, of a node or of the run."""
        self.errors.append({"node": node, "message": message})

    def note_bug(self, text: str) -> None:
        """A bug of ours, with which the run fails."""
        self.bug, self.complaint = True, text
        self.note(text)

    @property
    def records(self) -> list[CheckRecord]:
        """All checks, in the order of their files: workers finish in any order."""
        return sorted(self.found.values(), key=lambda r: (r.path, r.line, r.slice))

    def answer(self) -> list[str]:
        """The table of all checks, and what must be known of it, line by line."""
        records, suites = told_apart(self.records, list(self.suites.values()))
        about = [line for suite in suites for line in (*suite_lines(suite), *model_lines(suite))]
        remarks = [self.taken(), *self._not_judged(), *notes(records), *about]
        remarks += scoring_lines(suites)
        return [*table(records), tally(records), *(f"  {line}" for line in remarks)]

    def _not_judged(self) -> Iterator[str]:
        """Which checks have no line in the table, for they ended in an error."""
        nodes = [error["node"] for error in self.errors]
        checks = [node for node in nodes if is_yaml(Path(node.partition("::")[0]))]
        if checks:
            yield f"not judged, see ERRORS: {listed(checks, SHOWN)}"

    def taken(self) -> str:
        """Which files were taken as suites; one that is not named here was not looked at."""
        wrong = [error["node"] for error in self.errors if is_yaml(Path(error["node"]))]
        # A suite of logs alone has no pool and no models to report.
        return taken_line([*self.suites, *wrong, *(record.path for record in self.records)])

    def take_suites(self, found: list[dict[str, Any]]) -> None:
        """Take in what a process knows about its suites."""
        for suite in found:
            known = self.suites.setdefault(suite["path"], suite)
            # Only a worker that judged a suite knows what was spared.
            known.update({key: suite[key] for key in suite.keys() - known.keys()})
            # One worker may have scored the candidate and another one the baseline.
            models = zip(known["models"], suite["models"], strict=True)
            known["models"] = [max(pair, key=_told) for pair in models]

    def data(self) -> dict[str, Any]:
        """What `report.json` says."""
        suites = list(self.suites.values())
        return report_data(self.records, suites, self.errors, rmcheck.__version__, self.run)


def _told(model: dict[str, Any]) -> tuple[int, int]:
    """How much one process has to tell of a model: texts scored (−1 for none), then facts."""
    return int(model["scoring"].get("scored", -1)), len(model["description"])
