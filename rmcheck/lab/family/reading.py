"""The part of a laboratory's file that says how reward models are trained."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from rmcheck.config.document import MapNode
from rmcheck.config.kinds import Choice, Integer, Kind, Number, OneLine, one_of
from rmcheck.config.section import beside, read_keys, refuse_unknown, require_keys
from rmcheck.config.source import Source
from rmcheck.errors import UsageError
from rmcheck.lab.family.flips import Overlap, flipped_labels
from rmcheck.lab.family.recipe import Family, Recipe
from rmcheck.lab.reading import DEVICES, key_span, read_rows, read_section

POSITIVE = Number(0, open=True)
PREFERENCES: Mapping[str, Kind] = {
    "path": OneLine(),
    "format": Choice(lambda: _reader_names(), noun="format"),
    "golden": OneLine(),
    "pairs": Integer(1),
    "seed": Integer(0),
}
FLIPS: Mapping[str, Kind] = {"overlap": one_of(*get_args(Overlap)), "seed": Integer(0)}
TRAINING: Mapping[str, Kind] = {
    "base": OneLine(),
    "learning_rate": POSITIVE,
    "warmup": Number(0, 1),
    "batch": Integer(1),
    "at_once": Integer(1),
    "epochs": POSITIVE,
    "regularization": Number(0),
    "weight_decay": Number(0),
    "max_length": Integer(2),
    "lora": Integer(0),
    "template": OneLine(),
    "device": one_of(*DEVICES),
}
OWN: Mapping[str, Kind] = {
    "name": OneLine(forbidden="/"),
    "seed": Integer(0),
    "flip": Number(0, 1),
    "shard": OneLine(example="1/3"),
    "preferences": OneLine(),
    "golden": OneLine(),
}
ROW: Mapping[str, Kind] = {**OWN, **TRAINING}


def _reader_names() -> tuple[str, ...]:
    from rmcheck.pool.reading import reader_names

    return reader_names()


def read_family(top: MapNode, path: Path, source: Source) -> Family | None:
    """The family; None where something is wrong with it, which is noted."""
    before = len(source.problems)
    require_keys(top, ("preferences", "reward_models"), top.entries, "the laboratory", source)
    data = read_section(top, "preferences", PREFERENCES, ("path",), source)
    flips = read_section(top, "flips", FLIPS, (), source)
    shared = read_section(top, "training", TRAINING, (), source)

    def row(node: MapNode, named: str) -> Recipe | None:
        return _recipe(node, named, shared, path, source)

    rows = read_rows(top, "reward_models", row, source)
    if len(source.problems) > before or not rows:
        return None
    recipes = tuple(recipe for recipe, _ in rows)
    total = sum(recipe.flip for recipe in recipes)
    family = Family(
        path=beside(path, data["path"]),
        recipes=recipes,
        overlap=flips.get("overlap", "disjoint" if total <= 1 else "independent"),
        flip_seed=flips.get("seed", 0),
        format=data.get("format"),
        column=data.get("golden", "golden"),
        pairs=data.get("pairs"),
        pair_seed=data.get("seed", 0),
        lines={recipe.name: line for recipe, line in rows},
    )
    _refuse_impossible(family, top, source)
    _refuse_identical(family, top, source)
    return family if len(source.problems) == before else None


def _recipe(
    node: MapNode, named: str, shared: Mapping[str, Any], path: Path, source: Source
) -> Recipe | None:
    place = f" in {named}"
    refuse_unknown(node, ROW, place, source, f"A reward model takes: {', '.join(ROW)}.")
    require_keys(node, ("name", "seed"), ROW, named, source)
    found = {**shared, **read_keys(node, ROW, place, source)}
    if "base" not in found:
        source.add(node.span, f"{named} has no 'base', and 'training' has none")
        return None
    if "name" not in found or "seed" not in found:
        return None
    for key in ("base", "template", "preferences"):
        if key in found:
            found[key] = beside(path, found[key])
    if not (found["base"] / "config.json").is_file():
        source.add(key_span(node, "base"), f"{named}: no config.json in the folder {found['base']}")
        return None
    if "shard" in found:
        found["shard"] = _shard(found["shard"], node, named, source)
    return Recipe(**found)


def _shard(text: str, node: MapNode, named: str, source: Source) -> tuple[int, int] | None:
    number, _, of = text.partition("/")
    if number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of):
        return int(number), int(of)
    source.add(key_span(node, "shard"), f"shard {text!r} of {named} is no part such as 1/3")
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
