"""Which tests reach a line of the rooms, and how long each takes; remembered in build/mutants."""

import hashlib
import json
import math
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from coverage import Coverage
from mutants import ROOMS, Mutant
from processes import MEMORY, OPTIONS, OUTPUT, run_pytest

SLOW = 2.0  # CPU seconds under coverage, after which a test is not asked about mutants


class TooSlow(BaseException):
    """A test took longer than a mutant is worth."""


class Recorder:
    """A pytest plugin that tells coverage which test runs, and leaves out what cannot be asked.

    A test that runs long costs more than a mutant is worth, and one that fails as it is (on the few
    examples of the profile, say) tells nothing: both have endless seconds.
    """

    def __init__(self, coverage: Coverage):
        self.coverage = coverage
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Runs one test as coverage's context."""
        self.coverage.switch_context(item.nodeid)
        began = time.process_time()
        result = yield
        self.seconds.setdefault(item.nodeid, time.process_time() - began)
        self.coverage.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A failure without any mutant."""
        if report.failed:
            self.seconds[report.nodeid] = math.inf

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        """Stops a test after `SLOW` CPU seconds."""
        stopped = []

        def stop(number: int, frame: object) -> None:
            stopped.append(number)
            raise TooSlow

        signal.signal(signal.SIGVTALRM, stop)
        signal.setitimer(signal.ITIMER_VIRTUAL, SLOW)
        try:
            return (yield)
        except BaseException:
            if not stopped:
                raise
            pytest.fail("too slow")  # whatever Hypothesis made of it
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)


class Reached:
    """The tests of every line. A line is known by its text, so that it may move.

    A test file is run once, and again when it changes. Delete build/mutants to run all again.
    """

    def __init__(self, tests: list[Path]):
        self.seconds: dict[str, float] = {}
        self.lines: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for file in tests:
            known = remembered(file)
            self.seconds |= known["seconds"]
            for path, lines in known["lines"].items():
                for text, names in lines.items():
                    self.lines[path][text] |= set(names)

    def tests(self, mutant: Mutant, seconds: float) -> list[str]:
        """The tests of a line, the module's own first, then the fastest, in so many CPU seconds.

        What runs at import has no test of its own: all tests of the module are asked, and those of
        its file, which may read a constant and run no line.
        """
        module = self.lines[mutant.path]
        names = set() if mutant.at_import else module.get(mutant.before, set())
        own = f"test_{Path(mutant.path).stem}.py"
        if not names:
            names = {name for name in self.seconds if own in name}.union(*module.values())
        order = sorted(names, key=lambda name: (own not in name, self.seconds[name], name))
        chosen, left = [], seconds
        for name in order:
            if self.seconds[name] < left:
                chosen.append(name)
                left -= self.seconds[name]
        return chosen


def remembered(file: Path) -> dict:
    """What a test file reaches: run now, or when it was last as it is."""
    known = MEMORY / f"{file.stem}-{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}.json"
    if not known.exists():
        run_pytest(lambda: record(file, known), seconds=900)
        if not known.exists():
            raise SystemExit(f"{file} does not run; see {OUTPUT}")
    found = json.loads(known.read_text())
    left_out = [name for name, seconds in found["seconds"].items() if seconds == math.inf]
    print("".join(f"left out, slow or failing: {name}\n" for name in left_out), end="", flush=True)
    return found


def record(file: Path, known: Path) -> int:
    """Runs a test file under coverage and writes what it reaches; pytest's exit status."""
    coverage = Coverage(data_file=None, source=list(ROOMS), config_file=False)
    recorder = Recorder(coverage)
    coverage.start()
    status = pytest.main([*OPTIONS, str(file)], plugins=[recorder])
    coverage.stop()
    data = coverage.get_data()
    lines: dict[str, dict[str, list[str]]] = {}
    for measured in data.measured_files():
        path = str(Path(measured).relative_to(Path.cwd()))
        texts = Path(path).read_text().splitlines()
        for number, contexts in data.contexts_by_lineno(measured).items():
            names = [name for name in contexts if name]
            lines.setdefault(path, {}).setdefault(texts[number - 1].strip(), []).extend(names)
    if status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        known.write_text(json.dumps({"seconds": recorder.seconds, "lines": lines}))
    return status
