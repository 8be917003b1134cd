"""For users' own tests: fakes with known faults, Hypothesis strategies, laws of a metric.

Nothing is imported before it is asked for; the strategies and laws need `rmcheck[test]`.
"""

import importlib
from typing import Any

from rmcheck.errors import MissingDependencyError

_HOME = {
    "FakeRewardModel": "rmcheck.models.kinds.fake",
    "LAWS": "rmcheck.testing.laws",
    "check_metric_laws": "rmcheck.testing.laws",
    "distinct_scores": "rmcheck.testing.strategies",
    "increasing_maps": "rmcheck.testing.strategies",
    "rewards": "rmcheck.testing.strategies",
    "rewards_for": "rmcheck.testing.strategies",
    "scores": "rmcheck.testing.strategies",
    "tied_scores": "rmcheck.testing.strategies",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(_HOME[name])
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        raise MissingDependencyError(
            f"rmcheck.testing.{name} needs Hypothesis: pip install 'rmcheck[test]'"
        ) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return list(__all__)
