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

# Modules that register the metrics of rmcheck, and which: each is imported for its own metrics, so
# that a gate starts without those that it does not ask for.
SHIPPED = {
    "rmcheck.metrics.pairwise": ("accuracy",),
    "rmcheck.metrics.ranking": ("pearson", "spearman", "kendall", "mrr", "ndcg"),
    "rmcheck.metrics.xi": ("xi",),
    "rmcheck.metrics.calibration": ("ece",),
    "rmcheck.metrics.best_of_n": ("ndr", "bon_drop_ratio", "bo_n"),
    "rmcheck.metrics.harm_aware": ("harm_aware_accuracy",),
    "rmcheck.metrics.one_vs_many": ("one_vs_many_accuracy",),
    "rmcheck.metrics.rank_bins": ("rank_bin_accuracy",),
    "rmcheck.metrics.tails": ("tail_excess",),
    "rmcheck.metrics.reliability": ("golden_reliability",),
    "rmcheck.metrics.length_bias": ("length_bias",),
    "rmcheck.metrics.teacher": ("reward_variance",),
    "rmcheck.metrics.overoptimization": ("gamma", "drop_from_peak"),
    "rmcheck.metrics.matched_kl": ("matched_kl_regret",),
    "rmcheck.metrics.ensemble": ("disagreement_ratio",),
    "rmcheck.metrics.position": ("position_consistency",),
    "rmcheck.metrics.verifier_errors": ("false_positive_rate", "false_negative_rate"),
    "rmcheck.metrics.flips": ("verdict_flips",),
    "rmcheck.metrics.serving": ("rank_flips", "score_drift"),
    "rmcheck.metrics.regret.predicted_regret": ("predicted_regret",),
}
HOMES = {name: module for module, names in SHIPPED.items() for name in names}


def metric_names() -> tuple[str, ...]:
    """Names of all metrics: those of rmcheck, then others in order of registration."""
    _load_others()
    return tuple(dict.fromkeys([*HOMES, *METRICS]))


def metric_class(name: str) -> type[Metric]:
    """The class of a metric.

    Raises:
        UsageError: No metric has this name; near misses are named.
    """
    known = metric_names()
    if name not in known:
        hint = near_miss(name, known)
        raise UsageError(f"unknown metric {name!r}.{hint} Metrics: {', '.join(sorted(known))}.")
    if name in HOMES:
        importlib.import_module(HOMES[name])
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
def _load_others() -> None:
    for entry in entry_points(group="rmcheck.metrics"):
        if entry.name not in HOMES and entry.name not in METRICS:
            register(entry.load())
