"""Which checks the suites of a run have: found out by one of its processes, read by the others.

A check over a slice column is one item a value, and only the pool knows the values. Under xdist
every worker must collect every item; so that not each of them reads every pool, the first one
writes down what the checks are.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rmcheck.run.loaded import PlannedCheck
from rmcheck.store.folder import write_whole
from rmcheck.suite.loader import load_suite
from rmcheck.suite.suite import Suite

Collected = tuple[Suite, tuple[PlannedCheck, ...]]


class SharedChecks:
    """Checks of suites, by the path of the suite."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "plans"

    def of(self, suite: Path, plan: Callable[[], Collected]) -> Collected:
        """A suite and its checks; `plan` finds them out where no other process has.

        Raises:
            RmcheckError: What `plan` raises, in every process.
        """
        name = hashlib.sha256(str(suite).encode("utf-8", "surrogateescape")).hexdigest()[:32]
        file = self._folder / f"{name}.json"
        with self._alone(name):
            if file.exists():
                known = load_suite(suite)
                return known, tuple(_read(file, known))
            found, planned = plan()
            write_whole(file, json.dumps([_described(check) for check in planned]).encode())
            return found, planned

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        from filelock import FileLock

        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / f"{name}.lock"):
            yield


def _described(planned: PlannedCheck) -> tuple[int, dict[str, str]]:
    position = next(i for i, c in enumerate(planned.suite.checks) if c is planned.check)
    return position, dict(planned.conditions)


def _read(file: Path, suite: Suite) -> Iterator[PlannedCheck]:
    for position, conditions in json.loads(file.read_bytes()):
        yield PlannedCheck(suite, suite.checks[position], conditions)
