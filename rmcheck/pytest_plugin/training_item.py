"""Checks of the logs of RL runs as pytest items."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from rmcheck.checks.record import CheckRecord
from rmcheck.errors import RmcheckError
from rmcheck.pytest_plugin.representation import CheckDidNotPass, plain_failure, without_traceback
from rmcheck.reports.document import junit_properties
from rmcheck.reports.failure import training_text
from rmcheck.run.training import METRIC, suite_of_logs, training_record
from rmcheck.suite.detect import suite_files
from rmcheck.suite.suite import Suite, TrainingCheck
from rmcheck.wording import printable


class TrainingItem(pytest.Item):
    """One check of a log."""

    def __init__(self, *, check: TrainingCheck, suite: Suite, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check, self.suite = check, suite
        self.record: CheckRecord | None = None
        self.add_marker(pytest.mark.rmcheck)
        self.add_marker(METRIC)

    def setup(self) -> None:
        """Read the log and judge; a log that is wrong is an error, not a failure."""
        root = self.config.rootpath
        try:
            self.record = training_record(self.suite, self.check, node=self.nodeid, root=root)
        except RmcheckError as error:
            raise plain_failure(str(error)) from None

    def runtest(self) -> None:
        """Fail where the verdict keeps the gate closed."""
        assert self.record is not None  # made by `setup`
        self.user_properties += junit_properties(self.record)
        if self.record.gate == "failed":
            command = shlex.join(["pytest", self.record.node, "--rmcheck"])
            raise CheckDidNotPass(training_text(self.record, command))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: Any) -> Any:
        """The verdict as a person reads it, without a traceback."""
        if isinstance(excinfo.value, CheckDidNotPass):
            return without_traceback(str(excinfo.value), self.path, self.check.line)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the check stands in its file, and its title."""
        return self.path, self.check.line - 1, printable(f"{self.suite.name}: {self.name}")


def only_logs(config: pytest.Config) -> bool:
    """Whether every suite that this run names has checks of logs only, so that no model is needed.

    False where none is found: then the model is missing too.
    """
    named = [Path(config.invocation_params.dir, arg.partition("::")[0]) for arg in config.args]
    try:
        files = suite_files(path for path in named if path.is_dir() or path.suffix != ".py")
        return all(suite_of_logs(file) for file in files)
    except RmcheckError:
        return False
