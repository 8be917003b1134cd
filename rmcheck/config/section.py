"""Reads the keys of one mapping by its table."""

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from rmcheck.config.document import MapNode, Node, ScalarNode
from rmcheck.config.kinds import Kind, Wrong
from rmcheck.config.source import MOST_PROBLEMS, Source, did_you_mean
from rmcheck.errors import nearest


def refuse_unknown(
    node: MapNode, valid: Iterable[str], place: str, source: Source, *takes: str
) -> None:
    """Note every key that is not valid.

    Args:
        node: The mapping.
        valid: The keys it may have.
        place: How the message goes on after the key, such as ` in check 'accuracy'`.
        source: Where problems are noted.
        takes: Paragraphs with the valid keys.
    """
    valid = list(valid)
    for name, (span, _) in node.entries.items():
        if name not in valid:
            source.add(span, f"unknown key {name!r}{place}{did_you_mean(name, valid)}", *takes)


def require_keys(
    node: MapNode, names: Iterable[str], valid: Iterable[str], owner: str, source: Source
) -> None:
    """Note every key that is missing, and is not just misspelt: `check 2 has no 'name'`."""
    valid = list(valid)
    for name in names:
        if name not in node.entries and not misspelt(node, [name], valid):
            source.add(node.span, f"{owner} has no {name!r}")


def misspelt(node: MapNode, names: Collection[str], valid: Collection[str]) -> bool:
    """Whether an unknown key was probably meant for one of these names.

    The message about that key says enough; the name is not missing on top of it.
    """
    unknown = islice((key for key in node.entries if key not in valid), MOST_PROBLEMS)
    return any(nearest(key, valid) in names for key in unknown)


def value_of(node: MapNode, key: str, place: str, source: Source) -> Node | None:
    """The value of a key; None where the key is absent, or has no value, which is noted."""
    if key not in node.entries:
        return None
    span, value = node.entries[key]
    if isinstance(value, ScalarNode) and value.type == "null":
        source.add(span, f"{key!r}{place} has no value")
        return None
    return value


def read_keys(
    node: MapNode, table: Mapping[str, Kind | None], place: str, source: Source
) -> dict[str, Any]:
    """The values that are present and right, of the keys in the table that have a kind."""
    out = {}
    for name, kind in table.items():
        value = value_of(node, name, place, source) if kind else None
        if kind is None or value is None:
            continue
        try:
            out[name] = kind.read(value, f"{name!r}{place}", source)
        except Wrong:
            continue
    return out


def read_section(
    node: MapNode,
    table: Mapping[str, Kind | None],
    required: Iterable[str],
    owner: str,
    source: Source,
    noun: str = "",
) -> dict[str, Any]:
    """The values of a mapping that has these keys and no others; every problem is noted.

    Args:
        node: The mapping.
        table: The keys it may have; those without a kind are read by the caller.
        required: The keys it must have.
        owner: What has them, such as `transfer of check 'run'`.
        source: Where problems are noted.
        noun: What every such mapping is called, such as `transfer`; empty where that is the owner.
    """
    place = f" in {owner}"
    refuse_unknown(node, table, place, source, f"{noun or owner} takes: {', '.join(table)}.")
    require_keys(node, required, table, owner, source)
    return read_keys(node, table, place, source)


def beside(suite: Path, written: str) -> Path:
    """A path in a suite: relative to its file, `~` expanded."""
    try:
        expanded = Path(written).expanduser()
    except RuntimeError:  # nobody has this name, and a file may
        expanded = Path(written)
    return suite.parent.absolute() / expanded
