"""What `--rmcheck` switches on. Each hook hands over to the runner or to the reports."""

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rmcheck.errors import RmcheckError, bug_text
from rmcheck.metrics.registry import metric_names
from rmcheck.models.checkpoint.fingerprint import known_digests
from rmcheck.models.checkpoint.settings import has_gpu
from rmcheck.models.trust import trusting
from rmcheck.parsing import ParsingError, user_path
from rmcheck.probes.effect import ProbeEffect
from rmcheck.pytest_plugin import fixtures
from rmcheck.pytest_plugin.gathered import Gathered
from rmcheck.pytest_plugin.items import SuiteFile, runner_key
from rmcheck.pytest_plugin.opening import run_of, runner_of, screen, tell
from rmcheck.pytest_plugin.representation import end_in_the_test
from rmcheck.pytest_plugin.settings import ini_folder, setting
from rmcheck.pytest_plugin.workers import announce_worker, is_worker, session_folder, stop_workers
from rmcheck.reports.document import REPORT_NAME, report_text
from rmcheck.reports.github import add_step_summary, annotations
from rmcheck.reports.markdown import MARKDOWN_NAME, markdown
from rmcheck.reports.page import PAGE_NAME, page
from rmcheck.run.runner import Runner
from rmcheck.run.training import METRIC
from rmcheck.scoring.progress import telling
from rmcheck.scoring.stopping import EXIT_TERMINATED, Terminated, sigterm_stops
from rmcheck.store.folder import write_whole
from rmcheck.suite.detect import is_suite, is_yaml
from rmcheck.wording import printable

# Files of a report, and what writes each.
REPORTS = {REPORT_NAME: report_text, PAGE_NAME: page, MARKDOWN_NAME: markdown}


def install(config: pytest.Config) -> None:
    """Build the runner and register the gate.

    Raises:
        pytest.UsageError: No model was given, or a model cannot be opened.
    """
    if config.option.help or config.option.version:
        return
    for name in (*metric_names(), METRIC, ProbeEffect.name):
        config.addinivalue_line("markers", f"{name}: a check of this metric")
    _remove_old_report(config)
    trust = ExitStack()
    trust.enter_context(trusting(config.getoption("rmcheck_trust_suites")))
    config.add_cleanup(trust.close)
    config.stash[runner_key] = runner_of(config)
    config.pluginmanager.register(fixtures, "rmcheck-fixtures")
    config.pluginmanager.register(Gate(config), "rmcheck-gate")


def _report_folder(config: pytest.Config) -> Path | None:
    """Where a report of this run is written; None where none is asked for."""
    folder = setting(config, "report")
    if folder is None or config.option.collectonly or is_worker(config):
        return None
    try:
        return user_path(folder, ini_folder(config, "report") or config.invocation_params.dir)
    except ParsingError as error:
        raise pytest.UsageError(f"--rmcheck-report: {error}") from error


def _remove_old_report(config: pytest.Config) -> None:
    """A report never stays beside a newer run that failed before it could write one."""
    if folder := _report_folder(config):
        try:
            for name in REPORTS:
                (folder / name).unlink(missing_ok=True)
        except NotADirectoryError:
            raise pytest.UsageError(
                f"--rmcheck-report: {folder} is a file, or in one; a report is a folder"
            ) from None
        except OSError as error:
            raise pytest.UsageError(f"the old report cannot be removed: {error}") from error


class Gate:
    """Hooks of one run; in the controller they also gather what the workers found."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.gathered = Gathered()
        self.gathered.run = run_of(config, self.runner)
        self.session: pytest.Session | None = None
        self.terminated = False
        whole_run = ExitStack()
        whole_run.enter_context(telling(partial(tell, config), screen(config)))
        # pytest has no handler of its own, so that SIGTERM would leave models where they run.
        whole_run.enter_context(sigterm_stops())
        if is_worker(config):
            announce_worker(session_folder(config))
        config.add_cleanup(whole_run.close)

    @property
    def runner(self) -> Runner:
        """The runner of this process."""
        return self.config.stash[runner_key]

    def pytest_report_header(self) -> list[str]:
        """Which models are compared, and where scores are kept."""
        return [printable(line) for line in self.runner.header()]

    def pytest_collect_file(self, parent: pytest.Collector, file_path: Path) -> SuiteFile | None:
        """Collect suites, and any YAML file that was named; leave others alone."""
        named = is_yaml(file_path) and parent.session.isinitpath(file_path)
        if named or is_suite(file_path):
            return SuiteFile.from_parent(parent, path=file_path, **_named(parent, file_path))
        return None

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Skip what needs a GPU where there is none; look for one only when something asks."""
        marked = [item for item in items if item.get_closest_marker("gpu")]
        if marked and not has_gpu():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="needs a GPU; there is none here"))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Add the suites that marked tests name, so that one plan covers them all."""
        fixtures.add_marked_suites(session.items, self.runner)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        """End the traceback of a mistake in a test at the line of the test."""
        try:
            return (yield)
        except RmcheckError as error:
            end_in_the_test(error)
            raise error from None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put the record of a check on its report, which crosses to the controller."""
        report = yield
        if item.get_closest_marker("rmcheck"):
            record = getattr(item, "record", None)
            report.rmcheck = record.as_dict() if record else {}  # type: ignore[attr-defined]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather what was found, wherever it was run."""
        self.gathered.take(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Gather suites that could not be read; with them the report never says passed."""
        if report.failed:
            self.gathered.note(str(report.longrepr), report.nodeid)

    @pytest.hookimpl(optionalhook=True, wrapper=True)
    def pytest_xdist_make_scheduler(self, config: Any, log: Any) -> Generator[None, Any, Any]:
        """Keep the checks of a suite on one worker, however tests are spread."""
        from rmcheck.pytest_plugin.scheduling import by_suite  # xdist need not be installed

        return by_suite((yield), config, log)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Spare each worker from reading all weights again only to know which model it is."""
        node.workerinput["rmcheck"] = known_digests()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker knows about its suites."""
        output = getattr(node, "workeroutput", {})
        if complaint := output.get("rmcheck_complaint", ""):
            self.gathered.note_bug(complaint)
        self.gathered.take_suites(output.get("rmcheck", []))

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note SIGTERM, which has an exit code of its own, and let the workers stop too."""
        self.terminated = isinstance(excinfo.value, Terminated)
        if not is_worker(self.config):
            stop_workers(session_folder(self.config))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Release models; a run that judged nothing does not pass; write the report."""
        suites = self._closed()
        if is_worker(self.config):
            output = {"rmcheck": suites, "rmcheck_complaint": self.gathered.complaint}
            self.config.workeroutput.update(output)  # type: ignore[attr-defined]
        else:
            self.gathered.take_suites(suites)
            self._finish(session, exitstatus)

    def _closed(self) -> list[dict[str, Any]]:
        """What this process knows about its suites, with its models released."""
        suites: list[dict[str, Any]] = []
        with self._reported():
            drawn = setting(self.config, "report") is not None
            suites = self.runner.suite_data(drawn=drawn)
            self.runner.close()
        return suites

    def _finish(self, session: pytest.Session, exitstatus: int) -> None:
        gathered = self.gathered
        if exitstatus == pytest.ExitCode.INTERRUPTED and not gathered.errors:
            gathered.note("the run was interrupted")
        if self.terminated:
            session.exitstatus = EXIT_TERMINATED
        if self._gated_nothing() and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
        with self._reported():
            try:
                self._write_report()
            except OSError as error:
                gathered.complaint = f"the report cannot be written: {error}"
                session.exitstatus = pytest.ExitCode.USAGE_ERROR
        self.session = session

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The table of all checks, last, and what went wrong beside them."""
        if self.gathered.found:
            terminalreporter.section("reward-model checks")
            self._write_answer(terminalreporter)
        elif self._gated_nothing():
            said = f"no check was run, so nothing was gated ({self.gathered.taken()})"
            _complain(terminalreporter, said)
        _complain(terminalreporter, self.gathered.complaint)
        if self.gathered.bug and self.session is not None:
            self.session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def _write_answer(self, terminalreporter: Any) -> None:
        with self._reported():
            for line in self.gathered.answer():
                terminalreporter.write_line(printable(line))
            for line in annotations(self.gathered.data(), os.environ):
                terminalreporter.write_line(line)

    def _write_report(self) -> None:
        data = self.gathered.data()
        if self.gathered.judged or self.gathered.errors:
            add_step_summary(data, os.environ)
        if (folder := _report_folder(self.config)) is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for name, written in REPORTS.items():
                write_whole(folder / name, written(data).encode())

    def _gated_nothing(self) -> bool:
        """Whether a run that was to judge has judged nothing."""
        return not self.gathered.judged and not self.config.option.collectonly

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Let no exception of ours end pytest itself; it is said in the end, and the run fails."""
        try:
            yield
        except Exception as error:
            if self.config.option.fulltrace:
                raise
            self.gathered.note_bug(bug_text(error, "`pytest --full-trace`"))


def _named(parent: pytest.Collector, path: Path) -> dict[str, Any]:
    """The node id of a file whose name would do something to a terminal."""
    root = parent.config.rootpath
    shown = str(path.relative_to(root) if path.is_relative_to(root) else path)
    return {} if shown == printable(shown) else {"nodeid": printable(shown)}


def _complain(terminalreporter: Any, text: str) -> None:
    """Write a text that is no check's, red; nothing where it is empty."""
    for line in f"rmcheck: {text}".splitlines() if text else ():
        terminalreporter.write_line(printable(line), red=True)
