"""Every key of a suite file, with the kind of its value.

The loader reads by these tables and the JSON Schema is written from them. Defaults live in the
dataclasses of `rmcheck.suite.suite` only; what a key means is said in their docstrings.
"""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from rmcheck.config.kinds import (
    Boolean,
    Choice,
    Integer,
    Kind,
    Number,
    OneLine,
    one_of,
)
from rmcheck.config.mapping import ListOf
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.registry import metric_names
from rmcheck.models.sample import TooLong
from rmcheck.suite.columns import ColumnValues
from rmcheck.suite.faults import FaultActions
from rmcheck.suite.model_name import ModelName
from rmcheck.suite.suite import Lineage

# Commands that list what a suite can name.
METRIC_LIST, FORMAT_LIST = "rmcheck validate --metrics", "rmcheck validate --formats"
CRITERIA = ("at_least", "at_most", "max_drop", "max_decay")
CONFIDENCE = Number(0.5, 1, open=True)

# Sections (`pool`, `golden`, `serving`, `checks`) are read by the loader itself.
SUITE: Mapping[str, Kind | None] = {
    "rmcheck": None,
    "name": OneLine(),
    "description": OneLine(),
    "pool": None,
    "golden": None,
    "serving": None,
    "inconclusive": one_of("fail", "warn"),
    "confidence": CONFIDENCE,
    "too_long": one_of(*get_args(TooLong)),
    "adaptive": Boolean(),
    "directionless": Boolean(),
    "min_prompts": Integer(2),
    "resamples": Integer(100),
    "seed": Integer(),
    "history": OneLine(),
    "probes": OneLine(),
    "lineage": one_of(*get_args(Lineage)),
    "checks": None,
}
POOL: Mapping[str, Kind] = {
    "path": OneLine(),
    "format": Choice(lambda: reader_names(), "format", FORMAT_LIST),
    "slices": ListOf(OneLine(), "[category]", distinct=True, noun="column"),
    "cluster": OneLine(),
    "faults": FaultActions(),
}
GOLDEN: Mapping[str, Kind] = {
    "column": OneLine(),
    "model": ModelName(),
    "repeat": OneLine(),
    "judge": OneLine(),
}
SERVING: Mapping[str, Kind] = {"model": ModelName()}
CHECK: Mapping[str, Kind | None] = {
    "name": OneLine(forbidden="::"),
    "metric": Choice(lambda: tuple(sorted(metric_names())), "metric", METRIC_LIST),
    "at_least": Number(),
    "at_most": Number(),
    "max_drop": Number(0),
    "max_decay": Number(0),
    "component": OneLine(),
    "golden": OneLine(),
    "where": ColumnValues(),
    "over": OneLine(),
    "worst": Boolean(),
    "quantile": Number(0, 1, open=True),
    "holds_to": Number(0),
    "confidence": CONFIDENCE,
}
# What a probe says nothing of.
OF_METRIC = ("metric", "holds_to", "max_decay", "component", "golden")
# A check of a probe has these, and no metric; the loader knows which probes there are.
PROBE_CHECK: Mapping[str, Kind | None] = {
    "name": CHECK["name"],
    "probe": None,
    **{k: kind for k, kind in CHECK.items() if k not in OF_METRIC},
}
# What only checks on the pool use.
OF_POOL = ("pool", "golden", "serving", "probes", "history", "lineage", "adaptive")
# A check of the log of an RL run has these, and no metric.
TRAINING_CHECK: Mapping[str, Kind | None] = {"name": CHECK["name"], "training": None}
TRAINING: Mapping[str, Kind | None] = {
    "log": OneLine(),
    "transfer": None,
    "axis": one_of("step", "kl"),
    "unit": Number(0, open=True),
    "columns": ColumnValues(),
}
TRANSFER: Mapping[str, Kind] = {"at_least": Number(0, open=True)}
REQUIRED = {
    "suite": ("rmcheck", "checks"),
    "training_check": ("name", "training"),
    "training": ("log", "transfer"),
    "transfer": ("at_least",),
    "pool": ("path",),
    "serving": ("model",),
    "check": ("name", "metric"),
    "probe_check": ("name", "probe"),
}


def reader_names() -> tuple[str, ...]:
    """Every format that `pool.format` can name."""
    from rmcheck.pool.reading import reader_names

    return reader_names()


def settings_of(metric: type[Metric]) -> dict[str, Kind]:
    """The settings of a metric that a check can give, from the fields of its class.

    A field of another type than int, float, bool, text or a Literal of texts is not one.
    """
    hints = get_type_hints(metric)
    found = {f.name: _kind_of(hints[f.name]) for f in dataclasses.fields(metric) if f.init}
    return {name: kind for name, kind in found.items() if kind is not None}


def required_settings(metric: type[Metric]) -> tuple[str, ...]:
    """The settings without which the metric cannot be made."""
    return tuple(
        f.name
        for f in dataclasses.fields(metric)
        if f.init and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    )


def _kind_of(hint: Any) -> Kind | None:
    if get_origin(hint) in (Union, types.UnionType):
        inner = [arg for arg in get_args(hint) if arg is not types.NoneType]
        return _kind_of(inner[0]) if len(inner) == 1 else None
    if get_origin(hint) is Literal:
        options = get_args(hint)
        return one_of(*options) if all(isinstance(option, str) for option in options) else None
    by_type: dict[Any, Kind] = {
        bool: Boolean(),
        int: Integer(),
        float: Number(),
        str: OneLine(),
    }
    return by_type.get(hint)
