"""The table that metrics enter as they are defined; it is read through `metrics.registry`."""

from typing import TypeVar

from rmcheck.errors import UsageError
from rmcheck.metrics.metric import Metric

METRICS: dict[str, type[Metric]] = {}
M = TypeVar("M", bound=type[Metric])


def register(cls: M) -> M:
    """Class decorator that makes a metric known by its `name`."""
    if cls.name in METRICS and METRICS[cls.name] is not cls:
        raise UsageError(f"two metrics are named {cls.name!r}: {METRICS[cls.name]} and {cls}")
    METRICS[cls.name] = cls
    return cls
