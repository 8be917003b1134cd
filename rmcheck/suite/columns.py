"""Columns of a pool, as a suite names them."""

from dataclasses import dataclass
from typing import Any

from rmcheck.config.document import MapNode, Node, describe
from rmcheck.config.kinds import AsWritten, Kind, Wrong, refuse
from rmcheck.config.source import Source


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
