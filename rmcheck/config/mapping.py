"""Mappings of a file, and lists of them: read by their tables, and described by the same tables."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rmcheck.config.document import ListNode, MapNode, Node, ScalarNode, describe
from rmcheck.config.file import VERSION
from rmcheck.config.kinds import Kind, OneLine, Wrong, one_of, refuse
from rmcheck.config.section import beside, read_keys, read_section, require_keys
from rmcheck.config.source import Source, Span
from rmcheck.wording import attribute_texts


class FileName(OneLine):
    """A path, relative to the file that it stands in."""

    def read(self, node: Node, what: str, source: Source) -> Path:  # type: ignore[override]
        return beside(Path(source.path), super().read(node, what, source))


@dataclass(frozen=True)
class Version(Kind):
    """The number of a file's format; `read_versioned` has refused every other one."""

    def read(self, node: Node, what: str, source: Source) -> int:
        return VERSION

    def schema(self) -> dict[str, Any]:
        return {"const": VERSION, "description": "Format of the file."}


@dataclass(frozen=True)
class ListOf(Kind):
    """A list of values of one kind.

    Attributes:
        kind: Of each.
        example: How a right list looks.
        distinct: Whether each is there once.
        least: Fewest values, 0 or 1.
        noun: What each is, for messages, such as `column`; may be empty.
    """

    kind: Kind
    example: str
    distinct: bool = False
    least: int = 0
    noun: str = ""

    def read(self, node: Node, what: str, source: Source) -> tuple[Any, ...]:
        """The values in file order."""
        if not isinstance(node, ListNode) or len(node.items) < self.least:
            message = f"{what} must be a list, such as {self.example}, not {_described(node)}"
            raise refuse(source, node, message)
        each = f"a {self.noun}" if self.noun else "an item"
        has = f"names the {self.noun}" if self.noun else "has"
        found: list[Any] = []
        wrong = 0
        for item in node.items:
            try:
                value = self.kind.read(item, f"{each} of {what}", source)
                if self.distinct and value in found:
                    raise refuse(source, item, f"{what} {has} {value!r} twice")
                found.append(value)
            except Wrong:
                wrong += 1
        if wrong:
            raise Wrong(what)
        return tuple(found)

    def schema(self) -> dict[str, Any]:
        """An array."""
        least = {"minItems": self.least} if self.least else {}
        once = {"uniqueItems": True} if self.distinct else {}
        return {"type": "array", "items": self.kind.schema(), **least, **once}


@dataclass(frozen=True)
class Section(Kind):
    """A mapping that has these keys and no others.

    Attributes:
        about: The class whose docstring says what the keys mean, for the schema.
        table: Keys with their kinds.
        required: Keys that must be there.
        noun: What every such mapping is called; empty where it is called by its key.
        example: How a right one looks, for messages.
    """

    about: type
    table: Mapping[str, Kind]
    required: tuple[str, ...] = ()
    noun: str = ""
    example: str = ""

    def read(self, node: Node, what: str, source: Source) -> dict[str, Any]:
        """The right ones of its values.

        Raises:
            Wrong: One that must be there is not.
        """
        key = what.strip("'")
        if not isinstance(node, MapNode):
            hint = f"Write {key}: {self.example}." if self.example else ""
            raise refuse(source, node, f"{what} must be a mapping, not {describe(node)}", hint)
        return self.values(node, key, source)

    def values(self, node: MapNode, owner: str, source: Source) -> dict[str, Any]:
        """The same of a mapping that messages call `owner`."""
        found = read_section(node, self.table, self.required, owner, source, self.noun)
        if not found.keys() >= set(self.required):
            raise Wrong(owner)
        return found

    def schema(self) -> dict[str, Any]:
        """An object."""
        texts = attribute_texts(self.about)
        properties = {
            name: kind.schema() | ({"description": texts[name]} if name in texts else {})
            for name, kind in self.table.items()
        }
        out = {"type": "object", "properties": properties, "additionalProperties": False}
        return out | ({"required": list(self.required)} if self.required else {})

    def file_schema(self, title: str, about: str) -> str:
        """JSON Schema (draft 2020-12) of a file that is such a mapping, as text."""
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
        found = {**head, "description": about, **self.schema()}
        return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class ByName(Kind):
    """A mapping from names to values of one kind.

    Attributes:
        kind: Of each.
        noun: What each is, for messages, such as `model `; may be empty.
        example: How a right mapping looks.
    """

    kind: Kind
    noun: str
    example: str

    def read(self, node: Node, what: str, source: Source) -> dict[str, Any]:
        """The right ones, in file order."""
        if not isinstance(node, MapNode):
            hint = f"Write {what.strip(chr(39))}: {self.example}."
            raise refuse(source, node, f"{what} must be a mapping, not {describe(node)}", hint)
        found = {}
        for name, (_, value) in node.entries.items():
            try:
                found[name] = self.kind.read(value, f"{self.noun}{name!r}", source)
            except Wrong:
                continue
        return found

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self.kind.schema()}


class NamedRow(NamedTuple):
    """One of several mappings in a list.

    Attributes:
        values: The right ones of its values.
        node: Where it stands.
        named: Its name in quotes, or its number where it has none, for messages.
    """

    values: dict[str, Any]
    node: MapNode
    named: str

    def span(self, key: str) -> Span:
        """Where a value stands; the row itself where the key is absent."""
        return key_span(self.node, key)


@dataclass(frozen=True)
class Rows(Kind):
    """A list of mappings, of which each has a name of its own.

    Attributes:
        cases: What a row may be, by its `kind`; a single one, by the empty text, has no kinds.
    """

    cases: Mapping[str, Section]

    def read(self, node: Node, what: str, source: Source) -> list[NamedRow]:
        """The right ones in file order."""
        key = what.strip("'")
        if not isinstance(node, ListNode) or not node.items:
            message = f"{what} must be a list of mappings, not {_described(node)}"
            raise refuse(source, node, message)
        found: list[NamedRow] = []
        lines: dict[str, int] = {}
        for number, item in enumerate(node.items, start=1):
            if not isinstance(item, MapNode):
                message = f"item {number} of {key} must be a mapping, not {describe(item)}"
                source.add(item.span, message)
                continue
            name = _text(item, "name").strip()
            if name in lines:
                message = f"a second {name!r} in {key}; the first is on line {lines[name]}"
                source.add(item.span, message)
            if name:
                lines.setdefault(name, item.span.line)
            named = repr(name) if name else f"item {number} of {key}"
            try:
                values = self._case(item, named, source).values(item, named, source)
                found.append(NamedRow(values, item, named))
            except Wrong:
                continue
        return found

    def _case(self, item: MapNode, named: str, source: Source) -> Section:
        kind = "" if "" in self.cases else _text(item, "kind")
        if kind not in self.cases:
            table = {"name": OneLine(), "kind": one_of(*self.cases)}
            require_keys(item, table, table, named, source)
            read_keys(item, table, f" in {named}", source)
            raise Wrong(named)
        return self.cases[kind]

    def schema(self) -> dict[str, Any]:
        """An array of objects."""
        each = [case.schema() for case in self.cases.values()]
        return {
            "type": "array",
            "minItems": 1,
            "items": each[0] if len(each) == 1 else {"oneOf": each},
        }


def key_span(node: MapNode, key: str) -> Span:
    """Where a value stands; the mapping itself where the key is absent."""
    return node.entries[key][1].span if key in node.entries else node.span


def _text(node: MapNode, key: str) -> str:
    """What stands at a key as it is written; empty where that is no single value."""
    _, value = node.entries.get(key, (None, None))
    return value.text if isinstance(value, ScalarNode) else ""


def _described(node: Node) -> str:
    return "an empty list" if isinstance(node, ListNode) and not node.items else describe(node)
