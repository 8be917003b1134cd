"""The part of a laboratory's file that says how reward models are trained."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

from rmcheck.config.document import MapNode
from rmcheck.config.kinds import Choice, Integer, Number, OneLine, one_of
from rmcheck.config.mapping import FileName, NamedRow, Rows, Section, key_span
from rmcheck.config.section import read_keys, require_keys
from rmcheck.config.source import Source
from rmcheck.errors import UsageError
from rmcheck.lab.family.flips import Overlap, flipped_labels
from rmcheck.lab.family.recipe import DEVICES, Family, Recipe

POSITIVE = Number(0, open=True)
PREFERENCES = Section(
    Family,
    {
        "path": FileName(),
        "format": Choice(lambda: _reader_names(), noun="format"),
        "golden": OneLine(),
        "pairs": Integer(1),
        "seed": Integer(0),
    },
    ("path",),
)
FLIPS = Section(Family, {"overlap": one_of(*get_args(Overlap)), "seed": Integer(0)})
TRAINING = Section(
    Recipe,
    {
        "base": FileName(),
        "learning_rate": POSITIVE,
        "warmup": Number(0, 1),
        "batch": Integer(1),
        "at_once": Integer(1),
        "epochs": POSITIVE,
        "regularization": Number(0),
        "weight_decay": Number(0),
        "max_length": Integer(2),
        "lora": Integer(0),
        "template": FileName(),
        "device": one_of(*DEVICES),
    },
)
RECIPE = Section(
    Recipe,
    {
        "name": OneLine(forbidden="/"),
        "seed": Integer(0),
        "flip": Number(0, 1),
        "shard": OneLine(example="1/3"),
        "preferences": FileName(),
        "golden": OneLine(),
        **TRAINING.table,
    },
    ("name", "seed"),
    noun="A reward model",
)
# What the file of a laboratory says of them.
KEYS = {
    "preferences": PREFERENCES,
    "flips": FLIPS,
    "training": TRAINING,
    "reward_models": Rows({"": RECIPE}),
}


def _reader_names() -> tuple[str, ...]:
    from rmcheck.pool.reading import reader_names

    return reader_names()


def read_family(top: MapNode, source: Source) -> Family | None:
    """The family; None where something is wrong with it, which is noted."""
    before = len(source.problems)
    require_keys(top, ("preferences", "reward_models"), top.entries, "the laboratory", source)
    found = read_keys(top, KEYS, "", source)
    rows: Sequence[NamedRow] = found.get("reward_models", ())
    recipes = tuple(filter(None, (_recipe(row, found, source) for row in rows)))
    if len(source.problems) > before:
        return None
    data, flips = found["preferences"], found.get("flips", {})
    total = sum(recipe.flip for recipe in recipes)
    family = Family(
        path=data["path"],
        recipes=recipes,
        overlap=flips.get("overlap", "disjoint" if total <= 1 else "independent"),
        flip_seed=flips.get("seed", 0),
        format=data.get("format"),
        column=data.get("golden", "golden"),
        pairs=data.get("pairs"),
        pair_seed=data.get("seed", 0),
        lines={row.values["name"]: row.node.span.line for row in rows},
    )
    _refuse_impossible(family, top, source)
    _refuse_identical(family, top, source)
    return family if len(source.problems) == before else None


def _recipe(row: NamedRow, found: dict[str, Any], source: Source) -> Recipe | None:
    values = {**found.get("training", {}), **row.values}
    if "base" not in values:
        source.add(row.node.span, f"{row.named} has no 'base', and 'training' has none")
        return None
    if not (values["base"] / "config.json").is_file():
        message = f"{row.named}: no config.json in the folder {values['base']}"
        source.add(row.span("base"), message)
        return None
    if "shard" in values:
        values["shard"] = _shard(values["shard"], row, source)
    return Recipe(**values)


def _shard(text: str, row: NamedRow, source: Source) -> tuple[int, int] | None:
    number, _, of = text.partition("/")
    if number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of):
        return int(number), int(of)
    source.add(row.span("shard"), f"shard {text!r} of {row.named} is no part such as 1/3")
    return None


def _refuse_impossible(family: Family, top: MapNode, source: Source) -> None:
    names = [recipe.name for recipe in family.recipes]
    rates = [recipe.flip for recipe in family.recipes]
    try:
        flipped_labels(names, rates, 0, family.overlap, family.flip_seed)
    except UsageError as error:
        source.add(key_span(top, "flips"), str(error))


def _refuse_identical(family: Family, top: MapNode, source: Source) -> None:
    """Two equal recipes are one reward model that counts twice."""
    nested = family.overlap == "nested"
    seen: dict[Recipe, str] = {}
    for recipe in family.recipes:
        if recipe.flip and not nested:
            continue
        other = seen.setdefault(replace(recipe, name=""), recipe.name)
        if other != recipe.name:
            line = family.lines[other]
            source.add(
                key_span(top, "reward_models"),
                f"{recipe.name!r} and {other!r} (line {line}) are the same reward model: "
                "same base, data, flips and seed. Give one of them another seed, or leave it out",
            )
