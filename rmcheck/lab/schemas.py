"""The files of a study and of a laboratory in JSON Schema, for editors.

They are written from the tables that the files are read by, so both name the same keys.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from rmcheck.config.kinds import Kind
from rmcheck.suite.keys import attribute_texts

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}


class PrintSchema(argparse.Action):
    """An option that prints a schema and ends the command, whatever else it lacks."""

    def __init__(self, option_strings: list[str], dest: str, schema: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)
        self.schema = schema

    def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> None:
        """Print it; exit code 0."""
        sys.stdout.write(json.dumps(SCHEMAS[self.schema](), indent=2, ensure_ascii=False) + "\n")
        parser.exit()


def study_schema() -> Schema:
    """JSON Schema (draft 2020-12) of the file of a study."""
    from rmcheck.lab.study import study_file as of
    from rmcheck.metrics.registry import metric_names

    pool = _section(of.POOL, of.StudyPool, ("path",))
    member = _section(of.MODEL, of.FamilyMember)
    either = [{"required": ["model"]}, {"required": ["column"]}]
    metrics = {"type": "array", "items": {"enum": sorted(metric_names())}}
    below = {
        "study": {"const": of.VERSION, "description": "Format of the file."},
        "pool": pool,
        "models": _by_name({"oneOf": [TEXT, {**member, "oneOf": either}]}),
        "metrics": metrics,
        "other_pools": _by_name(pool),
        "rewrites": _section(of.REWRITES, of.Rewrites),
    }
    found = _section(of.STUDY, of.StudyFile, ("study", "pool", "models"), below)
    return _file("rmcheck study", "Which metric foretells regret.", found)


def laboratory_schema() -> Schema:
    """JSON Schema (draft 2020-12) of the file of a laboratory."""
    from rmcheck.lab import reading
    from rmcheck.lab.family import reading as family
    from rmcheck.lab.family.recipe import Family, Recipe
    from rmcheck.lab.rl import reading as rl
    from rmcheck.lab.rl.settings import Ensemble, FromPool, Optimization, PolicySource, Rl

    optimizers = [
        _section(table, FromPool if kind in rl.NEEDED else Rl, ("name", "kind"), {}, kind)
        | {"required": ["name", "kind", *rl.NEEDED.get(kind, ("seeds", "steps"))]}
        for kind, table in rl.TABLES.items()
    ]
    sections = {
        "lab": {"const": reading.VERSION, "description": "Format of the file."},
        "preferences": _section(family.PREFERENCES, Family, ("path",)),
        "flips": _section(family.FLIPS, Family),
        "training": _section(family.TRAINING, Recipe),
        "reward_models": _list(_section(family.ROW, Recipe, ("name", "seed"))),
        "ensembles": _list(_section(rl.ENSEMBLE, Ensemble, ("name", "members"))),
        "golden": _section(rl.GOLDEN_KEYS, Optimization, ("model",)),
        "policy": _section(rl.POLICY, PolicySource, ("model", "prompts", "test_prompts")),
        "optimizers": _list({"oneOf": optimizers}),
        "diverged": {"enum": ["fail", "leave_out"]},
    }
    found: Schema = {
        "type": "object",
        "properties": {key: sections[key] for key in reading.TOP},
        "additionalProperties": False,
        "required": ["lab", "preferences", "reward_models"],
    }
    return _file("rmcheck laboratory", "Reward models and policies for a study.", found)


def _file(title: str, about: str, found: Schema) -> Schema:
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return {**head, "description": about, **found}


def _section(
    table: Mapping[str, Kind | None],
    cls: type,
    required: tuple[str, ...] = (),
    below: Mapping[str, Schema] | None = None,
    kind: str = "",
) -> Schema:
    """An object with the keys of a table, described by the docstring of its dataclass."""
    texts = attribute_texts(cls)
    properties = {
        name: (of.schema() if of else (below or {})[name])
        | ({"description": texts[name]} if name in texts else {})
        for name, of in table.items()
    }
    if kind:
        properties["kind"] = {"const": kind}
    out: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return out | ({"required": list(required)} if required else {})


def _by_name(of: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of}


def _list(of: Schema) -> Schema:
    return {"type": "array", "minItems": 1, "items": of}


SCHEMAS = {"study": study_schema, "laboratory": laboratory_schema}
