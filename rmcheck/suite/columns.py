"""Columns of a pool, as a suite names them."""

from dataclasses import dataclass
from typing import Any

from rmcheck.config.document import ListNode, MapNode, Node, describe
from rmcheck.config.kinds import AsWritten, Kind, OneLine, Wrong, refuse
from rmcheck.config.source import Source


@dataclass(frozen=True)
class Columns(Kind):
    """A list of column names, each once."""

    def read(self, node: Node, what: str, source: Source) -> tuple[str, ...]:
        if not isinstance(node, ListNode):
            raise refuse(
                source,
                node,
                f"{what} must be a list, such as [category], not {describe(node)}",
            )
        found: dict[str, Node] = {}
        wrong = 0
        for item in node.items:
            try:
                name = OneLine().read(item, f"a column of {what}", source)
            except Wrong:
                wrong += 1
                continue
            if name in found:
                source.add(item.span, f"{what} names the column {name!r} twice")
                wrong += 1
            found[name] = item
        if wrong:
            raise Wrong(what)
        return tuple(found)

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": OneLine().schema(), "uniqueItems": True}


@dataclass(frozen=True)
class ColumnValues(Kind):
    """A mapping of column names to the value wanted, such as `{category: code}`.

    A value is taken as written: `no`, `010` and `2024` are these words.
    """

    def read(self, node: Node, what: str, source: Source) -> dict[str, str]:
        if not isinstance(node, MapNode) or not node.entries:
            raise refuse(
                source,
                node,
                f"{what} must name a column and its value, such as {{category: code}}, "
                f"not {'an empty mapping' if isinstance(node, MapNode) else describe(node)}",
            )
        out = {}
        for name, (_, value) in node.entries.items():
            try:
                out[name] = AsWritten().read(value, f"{name!r} in {what}", source)
            except Wrong:
                continue
        if len(out) < len(node.entries):
            raise Wrong(what)
        return out

    def schema(self) -> dict[str, Any]:
        value = AsWritten().schema()
        return {"type": "object", "minProperties": 1, "additionalProperties": value}
