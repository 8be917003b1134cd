"""The suite file in JSON Schema, for editors: completion, and red lines while typing.

It is written from the tables that the loader reads by, so the two name the same keys.
`python -m rmcheck.suite.schema` writes `suite.schema.json` anew after a key, a metric
or a pool format changed.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rmcheck.config.kinds import Kind
from rmcheck.config.mapping import Version
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.registry import metric_class, metric_names
from rmcheck.probes.effect import ProbeEffect
from rmcheck.probes.probe_file import shipped_probes
from rmcheck.suite import keys
from rmcheck.suite.requirement import USES_OVER
from rmcheck.suite.suite import (
    Check,
    GoldenSource,
    PoolSource,
    ServingSource,
    Suite,
    TrainingCheck,
)
from rmcheck.wording import attribute_texts, first_line

SCHEMA_FILE = Path(__file__).with_name("suite.schema.json")
Schema = dict[str, Any]


def suite_schema() -> Schema:
    """JSON Schema (draft 2020-12) of a suite file, with the metrics that are registered now."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "rmcheck suite",
        "description": "What a reward-model checkpoint must meet before it is used.",
        **_section(keys.SUITE, Suite, keys.REQUIRED["suite"]),
        # Only a suite whose checks are all of logs has no pool, and it uses none.
        "if": {"properties": {"checks": {"items": {"required": ["training"]}}}},
        "then": {"properties": dict.fromkeys(keys.OF_POOL, False)},
        "else": {"required": ["pool"]},
    }


def _section(table: Mapping[str, Kind | None], cls: type, required: tuple[str, ...] = ()) -> Schema:
    """An object with the keys of a table, described by the docstring of its dataclass."""
    texts = attribute_texts(cls)
    properties = {
        name: _described(kind.schema() if kind else _below(name), texts.get(name, ""))
        for name, kind in table.items()
    }
    out: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return out | ({"required": list(required)} if required else {})


def _below(name: str) -> Schema:
    """The keys of a suite that the loader reads itself."""
    match name:
        case "pool":
            return _section(keys.POOL, PoolSource, keys.REQUIRED["pool"])
        case "golden":
            return _section(keys.GOLDEN, GoldenSource) | {
                "oneOf": [{"required": ["column"]}, {"required": ["model"]}],
                "not": {
                    "anyOf": [
                        {"required": ["model", "repeat"]},
                        {"required": ["model", "judge"]},
                        {"required": ["repeat", "judge"]},
                    ]
                },
            }
        case "serving":
            return _section(keys.SERVING, ServingSource, keys.REQUIRED["serving"])
        case "rmcheck":
            return Version().schema()
        case "checks":
            kinds = {
                "if": {"required": ["training"]},
                "then": _training_check(),
                "else": {"if": {"required": ["probe"]}, "then": _probe_check(), "else": _check()},
            }
            return {"type": "array", "minItems": 1, "items": {"type": "object", **kinds}}
        case "training" | "probe":
            return {}  # `_training_check` and `_probe_check` fill it in
    raise AssertionError(f"no schema for {name!r}")


def _check() -> Schema:
    """One check: exactly one criterion, and by its metric the settings and their limits."""
    out = _section(keys.CHECK, Check, keys.REQUIRED["check"])
    # The settings of the metric are in `allOf`, out of sight for `additionalProperties`.
    del out["additionalProperties"]
    metrics = [metric_class(name) for name in sorted(metric_names())]
    out["properties"]["metric"] = {
        "description": out["properties"]["metric"]["description"],
        "oneOf": [{"const": cls.name, "description": first_line(cls)} for cls in metrics],
    }
    return out | {
        "oneOf": [{"required": [criterion]} for criterion in keys.CRITERIA],
        "allOf": [
            *map(_uses_over, USES_OVER),
            *(_metric(cls) for cls in metrics),
        ],
        "unevaluatedProperties": False,
    }


def _uses_over(key: str) -> Schema:
    """A key that needs the column of the slices, and its use of them beside no other."""
    given = {"worst": {"const": True}}.get(key, {"type": "number"})
    others: Schema = {
        other: {"const": False} if other == "worst" else False
        for other in USES_OVER
        if other != key
    }
    return {
        "if": {"properties": {key: given}, "required": [key]},
        "then": {"required": ["over"], "properties": others},
    }


def _probe_check() -> Schema:
    """A check of a probe; a team has its own beside those of rmcheck."""
    out = _section(keys.PROBE_CHECK, Check, keys.REQUIRED["probe_check"])
    known = [{"const": p.name, "description": p.about} for p in shipped_probes().values()]
    texts = attribute_texts(ProbeEffect)
    settings = {
        name: _described(kind.schema(), texts.get(name, ""))
        for name, kind in keys.settings_of(ProbeEffect).items()
    }
    out["properties"] |= settings
    out["properties"]["probe"] = {"anyOf": [*known, {"type": "string"}]}
    out["properties"].pop("at_least")
    return out | {
        "oneOf": [{"required": [criterion]} for criterion in ("at_most", "max_drop")],
        "allOf": [*map(_uses_over, ("worst", "quantile"))],
    }


def _training_check() -> Schema:
    """A check of the log of an RL run."""
    out = _section(keys.TRAINING_CHECK, TrainingCheck, keys.REQUIRED["training_check"])
    texts = attribute_texts(TrainingCheck)
    texts["transfer"] = texts["at_least"]
    transfer = _section(keys.TRANSFER, TrainingCheck, keys.REQUIRED["transfer"])
    properties = {
        name: _described(kind.schema() if kind else transfer, texts.get(name, ""))
        for name, kind in keys.TRAINING.items()
    }
    out["properties"]["training"] = {
        "description": first_line(TrainingCheck),
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "required": list(keys.REQUIRED["training"]),
    }
    return out


def _metric(cls: type[Metric]) -> Schema:
    """What a check with this metric may and must say."""
    texts = attribute_texts(cls)
    properties: Schema = {
        name: _described(kind.schema(), texts.get(name, ""))
        for name, kind in keys.settings_of(cls).items()
    }
    allowed, refused = {"higher": ("at_least", "at_most"), "lower": ("at_most", "at_least")}[
        cls.direction
    ]
    limits = _limits(cls)
    properties |= {allowed: limits} if limits else {}
    properties[refused] = False
    then: Schema = {"properties": properties}
    if required := keys.required_settings(cls):
        then["required"] = list(required)
    if cls.alternatives:
        then["oneOf"] = [{"required": [name]} for name in cls.alternatives]
    return {
        "if": {"properties": {"metric": {"const": cls.name}}, "required": ["metric"]},
        "then": then,
    }


def _limits(cls: type[Metric]) -> Schema:
    """The metric's range, where it does not depend on its settings; its bad end binds nothing."""
    limits: Any = cls.range
    if not isinstance(limits, tuple):  # a property
        return {}
    words = {"higher": ("exclusiveMinimum", "maximum"), "lower": ("minimum", "exclusiveMaximum")}
    ends = zip(words[cls.direction], limits, strict=True)
    return {word: end for word, end in ends if math.isfinite(end)}


def _described(schema: Schema, text: str) -> Schema:
    return {"description": text, **schema} if text else schema


def schema_text() -> str:
    """The schema as its file holds it."""
    return json.dumps(suite_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
