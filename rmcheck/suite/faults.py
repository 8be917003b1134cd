"""`pool.faults`: what to do about rows that are not as they should be."""

from dataclasses import dataclass
from typing import Any, cast, get_args

from rmcheck.config.document import MapNode, Node
from rmcheck.config.kinds import Kind, Wrong, one_of
from rmcheck.config.source import Source, did_you_mean
from rmcheck.pool.faults import FAULT_RULES
from rmcheck.pool.pool import FaultAction, FaultKind

ACTIONS: tuple[FaultAction, ...] = get_args(FaultAction)


@dataclass(frozen=True)
class FaultActions(Kind):
    """A mapping of fault kinds to actions, or one action for all kinds that allow it."""

    def read(self, node: Node, what: str, source: Source) -> dict[FaultKind, FaultAction]:
        """Action by kind, without the kinds that keep their default."""
        if not isinstance(node, MapNode):
            action = cast(FaultAction, one_of(*ACTIONS).read(node, what, source))
            return {kind: action for kind, rule in FAULT_RULES.items() if action in rule.allowed}
        out: dict[FaultKind, FaultAction] = {}
        for name, (span, value) in node.entries.items():
            kind = next((kind for kind in FAULT_RULES if kind == name), None)
            if kind is None:
                source.add(
                    span,
                    f"unknown kind of fault {name!r}{did_you_mean(name, FAULT_RULES)}",
                    f"Kinds of fault: {', '.join(FAULT_RULES)}.",
                )
                continue
            try:
                word = one_of(*FAULT_RULES[kind].allowed).read(value, f"{name!r} in {what}", source)
            except Wrong:
                continue
            out[kind] = cast(FaultAction, word)
        if len(out) < len(node.entries):
            raise Wrong(what)
        return out

    def schema(self) -> dict[str, Any]:
        by_kind = {k: one_of(*rule.allowed).schema() for k, rule in FAULT_RULES.items()}
        return {
            "anyOf": [
                one_of(*ACTIONS).schema(),
                {"type": "object", "properties": by_kind, "additionalProperties": False},
            ]
        }
