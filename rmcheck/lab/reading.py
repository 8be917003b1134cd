"""Reads the file of a laboratory: its top, and what its sections have in common."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rmcheck.config import section
from rmcheck.config.document import ListNode, MapNode, Node, ScalarNode, compose, describe
from rmcheck.config.kinds import Integer, Kind, Number, Wrong, refuse
from rmcheck.config.section import refuse_unknown, value_of
from rmcheck.config.source import Source, Span
from rmcheck.errors import Problem, SuiteError

VERSION = 1  # of the file format
DEVICES = ("auto", "cpu", "cuda")
TOP = (
    "lab",
    "preferences",
    "flips",
    "training",
    "reward_models",
    "ensembles",
    "golden",
    "policy",
    "optimizers",
    "diverged",
)
BEGIN = "A laboratory begins with `lab: 1`, then has `preferences:` and `reward_models:`."

T = TypeVar("T")


@dataclass(frozen=True)
class Many(Kind):
    """A list of numbers, each once.

    Attributes:
        item: What each is.
        example: A right value, for messages.
    """

    item: Integer | Number
    example: str

    def read(self, node: Node, what: str, source: Source) -> tuple[Any, ...]:
        """The numbers in file order."""
        if not isinstance(node, ListNode) or not node.items:
            told = f"{what} must be a list, such as {self.example}, not {_described(node)}"
            raise refuse(source, node, told)
        found: list[Any] = []
        for item in node.items:
            value = self.item.read(item, f"an item of {what}", source)
            if value in found:
                raise refuse(source, item, f"{what} has {value} twice")
            found.append(value)
        return tuple(found)

    def schema(self) -> dict[str, Any]:
        """An array of distinct numbers."""
        return {"type": "array", "items": self.item.schema(), "minItems": 1, "uniqueItems": True}


def _described(node: Node) -> str:
    return "an empty list" if isinstance(node, ListNode) else describe(node)


def read_top(path: Path) -> tuple[MapNode, Source]:
    """The mapping of a file, once it is clear that it is a laboratory of this format.

    Raises:
        SuiteError: It cannot be read, is no YAML, or is something else.
    """
    try:
        source = Source.of(path, SuiteError)
    except OSError as error:
        raise SuiteError([Problem(str(path), f"cannot be read: {error.strerror}")]) from error
    root = compose(source)
    if not isinstance(root, MapNode):
        source.add(
            Span(1, 1) if root is None else root.span,
            "the file holds nothing" if root is None else f"a mapping, not {describe(root)}",
            BEGIN,
        )
        raise source.error()
    version = root.entries.get("lab", (root.span, None))[1]
    if not (isinstance(version, ScalarNode) and version.text == str(VERSION)):
        told = "no 'lab: 1'" if version is None else f"'lab' must be 1, not {describe(version)}"
        source.add(root.span if version is None else version.span, told, BEGIN)
        raise source.error()
    refuse_unknown(root, TOP, "", source, f"A laboratory takes: {', '.join(TOP)}.")
    return root, source


def read_section(
    top: MapNode,
    key: str,
    table: Mapping[str, Kind | None],
    required: Iterable[str],
    source: Source,
) -> dict[str, Any]:
    """The right values of one section; what is wrong is noted.

    Args:
        top: The file.
        key: The section.
        table: Its keys with their kinds.
        required: Keys that must be there.
        source: Where problems are noted.
    """
    node = value_of(top, key, "", source)
    if node is None:
        return {}
    if not isinstance(node, MapNode):
        source.add(node.span, f"{key!r} must be a mapping, not {describe(node)}")
        return {}
    return section.read_section(node, table, required, key, source)


def read_rows(
    top: MapNode, key: str, read: Callable[[MapNode, str], T | None], source: Source
) -> list[tuple[T, int]]:
    """What stands in a list of named mappings, each with its line.

    Args:
        top: The file.
        key: The list.
        read: Reads a row; gets the row and its name in quotes, or its number where it has none.
        source: Where problems are noted; a second row of one name is one.
    """
    node = value_of(top, key, "", source)
    if node is None:
        return []
    if not isinstance(node, ListNode) or not node.items:
        source.add(node.span, f"{key!r} must be a list of mappings, not {_described(node)}")
        return []
    found: list[tuple[T, int]] = []
    lines: dict[str, int] = {}
    for number, item in enumerate(node.items, start=1):
        if not isinstance(item, MapNode):
            source.add(item.span, f"item {number} of {key} must be a mapping, not {describe(item)}")
            continue
        name = _name(item)
        if name in lines:
            source.add(item.span, f"a second {name!r} in {key}; the first is on line {lines[name]}")
        if name:
            lines.setdefault(name, item.span.line)
        row = read(item, repr(name) if name else f"item {number} of {key}")
        if row is not None:
            found.append((row, item.span.line))
    return found


def _name(item: MapNode) -> str:
    node = item.entries.get("name", (None, None))[1]
    return node.text.strip() if isinstance(node, ScalarNode) else ""


def key_span(node: MapNode, key: str) -> Span:
    """Where a value stands; the mapping itself where the key is absent."""
    return node.entries[key][1].span if key in node.entries else node.span


__all__ = [
    "DEVICES",
    "Many",
    "Wrong",
    "key_span",
    "read_rows",
    "read_section",
    "read_top",
]
