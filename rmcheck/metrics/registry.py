"""Every metric by name.

A metric is registered with its class (`register`); suites, fixtures, markers, the JSON Schema, the
documentation test and the law battery all read this one table, so a metric cannot be half there.
Other packages add theirs through the entry point group `rmcheck.metrics`.
"""

import functools
import importlib
from dataclasses import MISSING, fields
from importlib.metadata import entry_points
from typing import Any

from rmcheck.errors import UsageError, near_miss
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.registration import METRICS, register

# Modules that register the metrics of rmcheck. They are named, not imported, because some stand in
# rooms below this one.
SHIPPED = (
    "rmcheck.metrics.pairwise",
    "rmcheck.metrics.ranking",
    "rmcheck.metrics.xi",
    "rmcheck.metrics.calibration",
    "rmcheck.metrics.best_of_n",
    "rmcheck.metrics.harm_aware",
    "rmcheck.metrics.one_vs_many",
    "rmcheck.metrics.rank_bins",
    "rmcheck.metrics.tails",
    "rmcheck.metrics.reliability",
    "rmcheck.metrics.length_bias",
    "rmcheck.metrics.teacher",
    "rmcheck.metrics.overoptimization",
    "rmcheck.metrics.matched_kl",
    "rmcheck.metrics.ensemble",
    "rmcheck.metrics.serving",
    "rmcheck.metrics.regret.predicted_regret",
)


def metric_names() -> tuple[str, ...]:
    """Names of all metrics, in order of registration."""
    _load_all()
    return tuple(METRICS)


def metric_class(name: str) -> type[Metric]:
    """The class of a metric.

    Raises:
        UsageError: No metric has this name; near misses are named.
    """
    _load_all()
    if name not in METRICS:
        hint = near_miss(name, METRICS)
        raise UsageError(f"unknown metric {name!r}.{hint} Metrics: {', '.join(sorted(METRICS))}.")
    return METRICS[name]


def make_metric(name: str, **settings: Any) -> Metric:
    """The metric with these settings, as in `make_metric("bon_drop_ratio", n=16)`.

    Raises:
        UsageError: Unknown name or setting, or a setting out of its range.
    """
    cls = metric_class(name)
    known = [f.name for f in fields(cls) if f.init]
    for key in settings:
        if key not in known:
            hint = near_miss(key, known)
            raise UsageError(
                f"metric {name!r} has no setting {key!r}.{hint} "
                f"Settings: {', '.join(known) or 'none'}."
            )
    required = [f.name for f in fields(cls) if f.init and f.default is MISSING]
    missing = [key for key in required if key not in settings]
    if missing:
        raise UsageError(f"metric {name!r} needs the setting {', '.join(missing)}")
    try:
        return cls(**settings)
    except (TypeError, ValueError) as error:
        raise UsageError(f"metric {name!r}: {error}") from error


@functools.cache
def _load_all() -> None:
    for module in SHIPPED:
        importlib.import_module(module)
    for entry in entry_points(group="rmcheck.metrics"):
        if entry.name not in METRICS:
            register(entry.load())
