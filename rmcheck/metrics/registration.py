"""The table that metrics enter as they are defined; it is read through `metrics.registry`."""

from typing import TypeVar

from rmcheck.errors import UsageError
from rmcheck.metrics.metric import Metric

METRICS: dict[str, type[Metric]] = {}
M = TypeVar("M", bound=type[Metric])


def register(cls: M) -> M:
    """Class decorator that makes a metric known by its `name`."""
    known = METRICS.get(cls.name, cls)
    # A module that is imported anew makes the same class once more.
    if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise UsageError(f"two metrics are named {cls.name!r}: {known} and {cls}")
    METRICS[cls.name] = cls
    return cls
