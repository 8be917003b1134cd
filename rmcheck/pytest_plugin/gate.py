"""What `--rmcheck` switches on. Each hook hands over to the runner or to the reports."""

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import rmcheck
from rmcheck.checks.record import CheckRecord
from rmcheck.errors import RmcheckError, UsageError, bug_text
from rmcheck.metrics.registry import metric_names
from rmcheck.models.checkpoint.fingerprint import known_digests, remember_digests
from rmcheck.models.trust import trusting
from rmcheck.parsing import ParsingError, user_path
from rmcheck.pytest_plugin import fixtures
from rmcheck.pytest_plugin.items import SuiteFile, runner_key
from rmcheck.pytest_plugin.representation import BUG_SHOWN_BY, end_in_the_test, hides_bugs
from rmcheck.pytest_plugin.settings import ini_folder, setting
from rmcheck.pytest_plugin.training_item import only_logs
from rmcheck.pytest_plugin.workers import announce_worker, stop_workers
from rmcheck.reports.document import REPORT_NAME, report_data, write_json
from rmcheck.reports.github import add_step_summary, annotations
from rmcheck.reports.markdown import MARKDOWN_NAME, write_markdown
from rmcheck.reports.page import PAGE_NAME, write_page
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
from rmcheck.run.plan import OPTIONS
from rmcheck.run.runner import Runner
from rmcheck.run.training import METRIC
from rmcheck.scoring.progress import telling
from rmcheck.scoring.stopping import EXIT_TERMINATED, Terminated, sigterm_stops
from rmcheck.store.lock import Waiting
from rmcheck.suite.detect import is_suite, is_yaml
from rmcheck.wording import printable


def install(config: pytest.Config) -> None:
    """Build the runner and register the gate.

    Raises:
        pytest.UsageError: No model was given, or a model cannot be opened.
    """
    if config.option.help or config.option.version:
        return
    for name in (*metric_names(), METRIC):
        config.addinivalue_line("markers", f"{name}: a check of this metric")
    _remove_old_report(config)
    trust = ExitStack()
    trust.enter_context(trusting(config.getoption("rmcheck_trust_suites")))
    config.add_cleanup(trust.close)
    config.stash[runner_key] = _runner(config)
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
    """A report never stays beside a newer run that failed before it could write one.

    Raises:
        pytest.UsageError: It cannot be removed.
    """
    if folder := _report_folder(config):
        try:
            for name in (REPORT_NAME, PAGE_NAME, MARKDOWN_NAME):
                (folder / name).unlink(missing_ok=True)
        except NotADirectoryError:
            return  # there is none; that none can be written is said in the end
        except OSError as error:
            raise pytest.UsageError(f"the old report cannot be removed: {error}") from error


def _runner(config: pytest.Config) -> Runner:
    spec = setting(config, "model")
    if spec is None and not only_logs(config):
        raise pytest.UsageError(
            "--rmcheck needs a reward model.\n"
            "  Give one with --rmcheck-model=SCHEME:LOCATION, or set rmcheck_model in the ini "
            "file.\n"
            "  To try the suites without a checkpoint: --rmcheck-model=fake:perfect"
        )
    if is_worker(config):
        remember_digests(config.workerinput["rmcheck"])  # type: ignore[attr-defined]
    from_ini = {role: ini_folder(config, OPTIONS[role]) for role in OPTIONS}
    try:
        return Runner(
            waiting=_waiting(config),
            candidate=spec,
            baseline=None if spec is None else setting(config, "baseline"),
            golden=None if spec is None else setting(config, "golden"),
            serving=None if spec is None else setting(config, "serving"),
            bases={role: folder for role, folder in from_ini.items() if folder},
            store=Path(config.rootpath, setting(config, "store") or ".rmcheck"),
            session_folder=_session_folder(config),
            shown_relative_to=config.rootpath,
            asks=not config.option.collectonly,
            shares=is_worker(config),
        )
    except RmcheckError as error:
        raise pytest.UsageError(str(error)) from error
    except Exception as error:
        if not hides_bugs(config):
            raise
        raise pytest.UsageError(bug_text(error, BUG_SHOWN_BY)) from None


def _waiting(config: pytest.Config) -> Waiting:
    """How to wait for another run.

    Raises:
        UsageError: The limit is no number of seconds.
    """
    given = setting(config, "lock_timeout")
    try:
        limit = None if given is None else float(given)
    except ValueError:
        raise UsageError(
            f"--rmcheck-lock-timeout is {given!r}; valid: seconds, 0 or more"
        ) from None
    if not is_worker(config):
        return Waiting(limit, tell=partial(tell, config))
    run: str = config.workerinput["testrunuid"]  # type: ignore[attr-defined]
    return Waiting(limit, run, partial(_tell_as_first, config))


def _tell_as_first(config: pytest.Config, line: str) -> None:
    """`tell` by the worker that has first something to say; the others of a run wait as it does."""
    claim, worker = _session_folder(config) / "tells", config.workerinput["workerid"]  # type: ignore[attr-defined]
    claim.parent.mkdir(parents=True, exist_ok=True)
    try:
        with claim.open("x", encoding="utf-8") as file:
            file.write(worker)
    except FileExistsError:
        if claim.read_text(encoding="utf-8") != worker:
            return
    tell(config, line)


def tell(config: pytest.Config, line: str) -> None:
    """Say a line at once, whatever pytest captures; a worker says it on standard error."""
    line = printable(f"rmcheck: {line}")
    reporter = config.pluginmanager.getplugin("terminalreporter")
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        if reporter is not None and not is_worker(config):  # a worker's writes to nowhere
            reporter.ensure_newline()
            reporter.write_line(line)
            reporter.flush()
            return
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def _session_folder(config: pytest.Config) -> Path:
    """A folder that the workers of one run share and the next run does not."""
    base: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    return (base.parent if is_worker(config) else base) / "rmcheck"


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is a worker of pytest-xdist."""
    return hasattr(config, "workerinput")


def has_gpu() -> bool:
    """Whether torch is installed and sees a GPU."""
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


class Gate:
    """Hooks of one run; in the controller they also gather what the workers found."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.found: dict[str, CheckRecord] = {}  # by node, so that a rerun counts once
        self.errors: list[dict[str, str]] = []
        self.suites: dict[str, dict[str, Any]] = {}
        self.judged = 0
        self.complaint = ""
        self.bug = False
        self.session: pytest.Session | None = None
        self.terminated = False
        whole_run = ExitStack()
        whole_run.enter_context(telling(partial(tell, config)))
        # pytest has no handler of its own, so that SIGTERM would leave models where they run.
        whole_run.enter_context(sigterm_stops())
        if is_worker(config):
            announce_worker(_session_folder(config))
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
        data = getattr(report, "rmcheck", None)
        if data is None:
            return
        self.judged += report.when == "call" or report.failed
        if data and report.when == "call":
            self.found[report.nodeid] = CheckRecord.from_dict(data)
        elif report.failed:
            self.errors.append({"node": report.nodeid, "message": str(report.longrepr)})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Gather suites that could not be read; with them the report never says passed."""
        if report.failed:
            self.errors.append({"node": report.nodeid, "message": str(report.longrepr)})

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
            self._note_bug(complaint)
        self._add_suites(output.get("rmcheck", []))

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note SIGTERM, which has an exit code of its own, and let the workers stop too."""
        self.terminated = isinstance(excinfo.value, Terminated)
        if not is_worker(self.config):
            stop_workers(_session_folder(self.config))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Release models; a run that judged nothing does not pass; write the report."""
        found: list[dict[str, Any]] = []
        with self._told():
            found = self.runner.suite_data()
            self.runner.close()
        if is_worker(self.config):
            output = {"rmcheck": found, "rmcheck_complaint": self.complaint}
            self.config.workeroutput.update(output)  # type: ignore[attr-defined]
            return
        self._add_suites(found)
        if exitstatus == pytest.ExitCode.INTERRUPTED and not self.errors:
            self.errors.append({"node": "", "message": "the run was interrupted"})
        if self.terminated:
            session.exitstatus = EXIT_TERMINATED
        if not self.judged and exitstatus == pytest.ExitCode.OK and not self._only_collects():
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
        with self._told():
            try:
                self._write_report()
            except OSError as error:
                self.complaint = f"the report cannot be written: {error}"
                session.exitstatus = pytest.ExitCode.USAGE_ERROR
        self.session = session

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The table of all checks, last."""
        if self.found:
            terminalreporter.section("reward-model checks")
            with self._told():
                for line in self._answer():
                    terminalreporter.write_line(printable(line))
                for line in annotations(self._data(), os.environ):
                    terminalreporter.write_line(line)
        elif not self.judged and not self._only_collects():
            said = f"rmcheck: no check was run, so nothing was gated ({self._taken()})"
            terminalreporter.write_line(printable(said), red=True)
        if self.complaint:
            for line in f"rmcheck: {self.complaint}".splitlines():
                terminalreporter.write_line(printable(line), red=True)
        if self.bug and self.session is not None:
            self.session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Let no exception of ours end pytest itself; it is told in the end, and the run fails."""
        try:
            yield
        except Exception as error:
            if self.config.option.fulltrace:
                raise
            self._note_bug(bug_text(error, "`pytest --full-trace`"))

    def _note_bug(self, text: str) -> None:
        self.bug, self.complaint = True, text
        self.errors.append({"node": "", "message": text})

    def _only_collects(self) -> bool:
        return bool(self.config.option.collectonly)

    @property
    def records(self) -> list[CheckRecord]:
        """All checks, in the order of their files: workers finish in any order."""
        return sorted(self.found.values(), key=lambda r: (r.path, r.line, r.slice))

    def _answer(self) -> list[str]:
        records, suites = told_apart(self.records, list(self.suites.values()))
        about = [line for suite in suites for line in (*suite_lines(suite), *model_lines(suite))]
        remarks = [self._taken(), *notes(records), *about, *scoring_lines(suites)]
        return [*table(records), tally(records), *(f"  {line}" for line in remarks)]

    def _taken(self) -> str:
        """Which files were taken as suites; one that is not named here was not looked at."""
        wrong = [error["node"] for error in self.errors if is_yaml(Path(error["node"]))]
        # A suite of logs alone has no pool and no models to report.
        return taken_line([*self.suites, *wrong, *(record.path for record in self.records)])

    def _add_suites(self, found: list[dict[str, Any]]) -> None:
        for suite in found:
            known = self.suites.setdefault(suite["path"], suite)
            # Only a worker that judged a suite knows what was spared.
            known.update({key: suite[key] for key in suite.keys() - known.keys()})
            # One worker may have scored the candidate and another one the baseline.
            models = zip(known["models"], suite["models"], strict=True)
            known["models"] = [max(pair, key=_told) for pair in models]

    def _write_report(self) -> None:
        data = self._data()
        if self.judged or self.errors:
            add_step_summary(data, os.environ)
        if (folder := _report_folder(self.config)) is not None:
            for write in (write_json, write_page, write_markdown):
                write(folder, data)

    def _data(self) -> dict[str, Any]:
        suites = list(self.suites.values())
        return report_data(self.records, suites, self.errors, rmcheck.__version__)


def _named(parent: pytest.Collector, path: Path) -> dict[str, Any]:
    """The node id of a file whose name would do something to a terminal."""
    root = parent.config.rootpath
    shown = str(path.relative_to(root) if path.is_relative_to(root) else path)
    return {} if shown == printable(shown) else {"nodeid": printable(shown)}


def _told(model: dict[str, Any]) -> tuple[int, int]:
    """How much one process has to tell of a model: texts scored (−1 for none), then facts."""
    return int(model["scoring"].get("scored", -1)), len(model["description"])
