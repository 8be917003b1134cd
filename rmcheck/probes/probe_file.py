"""Reads files of probes: those of rmcheck, and a team's own (`probes:` in a suite)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rmcheck.config.document import ListNode, MapNode, Node, ScalarNode, compose, describe
from rmcheck.config.file import open_file
from rmcheck.config.kinds import AsWritten, Kind, OneLine, one_of, refuse
from rmcheck.config.section import read_section, value_of
from rmcheck.config.source import Source, Span
from rmcheck.errors import UsageError, near_miss
from rmcheck.probes.probe import Probe
from rmcheck.probes.templates import faults

SHIPPED = Path(__file__).with_name("shipped")
BEGIN = "A file of probes is `probes:`, and below it a name and what it does for each."
# Placeholders of an edit; those of a question are the fields of its items.
OF_A_POOL = ("response", "prompt")


@dataclass(frozen=True)
class TextList(Kind):
    """A text or a list of them."""

    def read(self, node: Node, what: str, source: Source) -> tuple[str, ...]:
        """The texts in file order."""
        items = node.items if isinstance(node, ListNode) else (node,)
        if not items:
            raise refuse(source, node, f"{what} is an empty list")
        return tuple(AsWritten().read(item, f"a text of {what}", source) for item in items)


@dataclass(frozen=True)
class ItemList(Kind):
    """A list of mappings from names of fields to text, all with the same fields."""

    def read(self, node: Node, what: str, source: Source) -> tuple[dict[str, str], ...]:
        """The items in file order."""
        rows = node.items if isinstance(node, ListNode) else ()
        if not rows:
            raise refuse(source, node, f"{what} must be a list, not {describe(node)}")
        found: list[dict[str, str]] = []
        for row in rows:
            if not isinstance(row, MapNode) or not row.entries:
                message = f"an item of {what} must be a mapping, not {describe(row)}"
                raise refuse(source, row, message, "Write - {wrong: …, right: …}.")
            fields = {
                name: AsWritten().read(value, f"{name!r} of an item", source)
                for name, (_, value) in row.entries.items()
            }
            if found and fields.keys() != found[0].keys():
                message = f"an item with {', '.join(fields)}; the first has {', '.join(found[0])}"
                raise refuse(source, row, message)
            found.append(fields)
        return tuple(found)


EDIT: Mapping[str, Kind | None] = {
    "about": OneLine(),
    "must": one_of("not_raise", "not_lower"),
    "doubt": OneLine(),
    "edits": TextList(),
}
QUESTION: Mapping[str, Kind | None] = {
    "about": OneLine(),
    "doubt": OneLine(),
    "prompt": TextList(),
    "honest": TextList(),
    "bad": TextList(),
    "items": ItemList(),
}


@lru_cache(maxsize=1)
def shipped_probes() -> Mapping[str, Probe]:
    """The probes of rmcheck by name."""
    files = sorted(SHIPPED.glob("*.yaml"))
    return {name: probe for path in files for name, probe in read_probes(path).items()}


def known_probes(own: Path | None) -> Mapping[str, Probe]:
    """The probes of rmcheck, and a team's own in the place of those of the same name.

    Raises:
        SuiteError: The team's file is wrong.
    """
    return {**shipped_probes(), **(read_probes(own) if own else {})}


def probe_named(name: str, own: Path | None) -> Probe:
    """The probe of this name: a team's own, or one of rmcheck.

    Args:
        name: In suites and reports.
        own: The team's file of probes, where it has one.

    Raises:
        UsageError: There is none of this name.
        SuiteError: The file is wrong.
    """
    known = known_probes(own)
    if name not in known:
        hint = near_miss(name, known)
        raise UsageError(f"unknown probe {name!r}.{hint} Probes: {', '.join(known)}.")
    return known[name]


def read_probes(path: Path, shown: str = "") -> dict[str, Probe]:
    """The probes in a file, by name.

    Args:
        path: The file.
        shown: How messages name it.

    Raises:
        SuiteError: All problems of the file, each with line, column and excerpt.
    """
    source = open_file(path, ("probes",), shown)
    root = compose(source)
    top = root if isinstance(root, MapNode) else None
    node = value_of(top, "probes", "", source) if top else None
    if top is None or not isinstance(node, MapNode) or len(top.entries) > 1:
        source.add(root.span if root else Span(1, 1), "this is no file of probes", BEGIN)
        raise source.error()
    found = {
        name: _probe(name, span, value, source) for name, (span, value) in node.entries.items()
    }
    if source.problems:
        raise source.error()
    return {name: probe for name, probe in found.items() if probe}


def _probe(name: str, span: Span, node: Node, source: Source) -> Probe | None:
    if not isinstance(node, MapNode):
        source.add(span, f"probe {name!r} must be a mapping, not {describe(node)}")
        return None
    owner = f"probe {name!r}"
    asks = "items" in node.entries
    table = QUESTION if asks else EDIT
    required = ("about", "prompt", "honest", "bad") if asks else ("about", "must", "edits")
    found = read_section(node, table, required, owner, source, "A probe")
    if "items" in found or not asks:
        _refuse_faults(node, found.get("items", ()), source)
    if not all(key in found for key in required):
        return None
    return Probe(name, **{"must": "not_raise", **found})


def _refuse_faults(node: MapNode, items: tuple[Mapping[str, str], ...], source: Source) -> None:
    """Note placeholders that nothing fills, where they stand."""
    for key in ("edits", "prompt", "honest", "bad"):
        _, value = node.entries.get(key, (None, None))
        texts = value.items if isinstance(value, ListNode) else (value,)
        names = OF_A_POOL if key == "edits" else tuple(items[0]) if items else ()
        for text in texts:
            if isinstance(text, ScalarNode):
                for message, valid in faults(text.text, names):
                    source.add(text.span, message, valid)
