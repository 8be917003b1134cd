"""Suites as pytest collects them: a file, and one item a check."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

import pytest

from rmcheck.checks.record import CheckRecord
from rmcheck.errors import FileError, RmcheckError, bug_text
from rmcheck.pytest_plugin.representation import (
    BUG_SHOWN_BY,
    CheckDidNotPass,
    bug_failure,
    hides_bugs,
    plain_failure,
    without_traceback,
)
from rmcheck.pytest_plugin.training_item import TrainingItem
from rmcheck.reports.document import junit_properties
from rmcheck.reports.failure import FailureView, failure_text, shows_picks
from rmcheck.run.loaded import PlannedCheck
from rmcheck.run.runner import Runner
from rmcheck.run.training import suite_of_logs
from rmcheck.wording import excerpt, printable

runner_key = pytest.StashKey[Runner]()
# Message to the check that had it first.
first_key = pytest.StashKey[dict[str, str]]()
# Characters of a message that is repeated.
REPEATED = 72


class SuiteFile(pytest.File):
    """A suite file."""

    def collect(self) -> Iterator[pytest.Item]:
        """One item a check, and one a slice value where a check asks for all of them."""
        alone = suite_of_logs(self.path)
        runner = self.config.stash[runner_key]
        suite, checks = (alone, ()) if alone else runner.planned(self.path)
        for check in suite.training:
            yield TrainingItem.from_parent(self, name=check.name, check=check, suite=suite)
        for planned in checks:
            # As text: pytest takes it apart as it does the keys that `--lf` looks for.
            nodeid = f"{self.nodeid}::{planned.name}"
            yield CheckItem.from_parent(self, name=planned.name, nodeid=nodeid, planned=planned)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: Any) -> Any:
        """Problems of the file as a person reads them, without a traceback."""
        if isinstance(excinfo.value, RmcheckError):
            text = _relative(str(excinfo.value), self.config)
            return without_traceback(text, self.path, _first_line(excinfo.value))
        return bug_failure(self, excinfo.value) or super().repr_failure(excinfo)


class CheckItem(pytest.Item):
    """One check of a suite."""

    def __init__(self, *, planned: PlannedCheck, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.planned = planned
        self.record: CheckRecord | None = None
        self.add_marker(pytest.mark.rmcheck)
        self.add_marker(planned.check.metric.name)

    def setup(self) -> None:
        """Score and judge; what keeps a check from being judged is an error, not a failure."""
        runner = self.config.stash[runner_key]
        try:
            self.record = runner.record(self.planned, node=self.nodeid)
        except RmcheckError as error:
            text = _relative(str(error), self.config)
            first = self._first_with(text)
            short = f"as {first}: {excerpt(text, REPEATED)}"
            raise plain_failure(short if first else text) from None
        except Exception as error:
            if not hides_bugs(self.config):
                raise
            raise plain_failure(bug_text(error, BUG_SHOWN_BY)) from None

    def _first_with(self, text: str) -> str:
        """The earlier check with this message, empty if there is none: one message a cause."""
        first = self.config.stash.setdefault(first_key, {}).setdefault(text, self.nodeid)
        return "" if first == self.nodeid else first

    def runtest(self) -> None:
        """Fail where the verdict keeps the gate closed."""
        assert self.record is not None  # made by `setup`
        self.user_properties += junit_properties(self.record)
        if self.record.gate == "failed":
            raise CheckDidNotPass(failure_text(self.record, self._look(self.record)))

    def _look(self, record: CheckRecord) -> FailureView:
        runner = self.config.stash[runner_key]
        look = FailureView(
            runner.model_names(self.planned),
            runner.options(),
            {role: model.spec for role, model in runner.plan.models.items()},
            width=get_terminal_size((100, 24)).columns,
            verbose=self.config.get_verbosity() > 0,
        )
        if not shows_picks(record, look):
            return look
        picks = "\n".join(f"{m.prompt_id}: {m.picked}" for m in record.mistakes)
        return replace(look, same_picks=self._first_with(picks))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: Any) -> Any:
        """The verdict as a person reads it, without a traceback."""
        if isinstance(excinfo.value, CheckDidNotPass):
            return without_traceback(str(excinfo.value), self.path, self.planned.check.line)
        return bug_failure(self, excinfo.value) or super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the check stands in its file, and its title."""
        return (
            self.path,
            self.planned.check.line - 1,
            printable(f"{self.planned.suite.name}: {self.name}"),
        )


def _first_line(error: BaseException) -> int:
    return error.problems[0].line if isinstance(error, FileError) else 1


def _relative(text: str, config: pytest.Config) -> str:
    """Paths below the rootdir as pytest shows them."""
    return text.replace(f"{config.rootpath}{os.sep}", "")
