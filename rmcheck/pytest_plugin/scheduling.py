"""Under pytest-xdist the checks of a suite stay on one worker: it measures the suite once."""

from pathlib import Path
from typing import Any

from xdist.scheduler import LoadGroupScheduling, LoadScheduling, WorkStealingScheduling

from rmcheck.suite.detect import is_yaml

# Schedulers that would give the checks of one suite to several workers.
SPREADING = (LoadScheduling, WorkStealingScheduling, LoadGroupScheduling)


class SuiteScheduling(LoadGroupScheduling):  # type: ignore[misc]
    """One unit of work a suite, one a group of `xdist_group`, and one for each other test."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        scope: str = path if is_yaml(Path(path)) else super()._split_scope(nodeid)
        return scope


def by_suite(chosen: Any, config: Any, log: Any) -> Any:
    """What schedules in the place of xdist's own choice; the user's own scheduler stays."""
    return SuiteScheduling(config, log) if type(chosen) in SPREADING else chosen
