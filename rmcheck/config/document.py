"""YAML as values that know where they stand. The only file of this room that knows PyYAML.

Aliases and merge keys (`<<`) are resolved here. Scalars keep their text as written, because YAML
1.1 makes numbers of `010` and `12:30` and a truth value of `no`; the kinds in
`rmcheck.config.kinds` decide what each key accepts.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rmcheck.config.source import Source, Span

if TYPE_CHECKING:
    import yaml

# Far deeper than what people write; without a limit libyaml's composer overflows the C stack.
MAX_DEPTH = 32
UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
STANDARD = "tag:yaml.org,2002:"
MERGE = f"{STANDARD}merge"

ScalarType = Literal["text", "integer", "number", "boolean", "null", "date", "tagged"]
SCALAR_TYPES: dict[str, ScalarType] = {
    f"{STANDARD}str": "text",
    f"{STANDARD}int": "integer",
    f"{STANDARD}float": "number",
    f"{STANDARD}bool": "boolean",
    f"{STANDARD}null": "null",
    f"{STANDARD}timestamp": "date",
    f"{STANDARD}value": "text",  # a lone `=`
    MERGE: "text",
}


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """One word, number or text.

    Attributes:
        type: What YAML takes it for.
        text: As written, without quotes.
        plain: Whether it was written without quotes.
    """

    span: Span
    type: ScalarType
    text: str
    plain: bool


@dataclass(frozen=True, slots=True)
class ListNode:
    """A list."""

    span: Span
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class MapNode:
    """A mapping, merge keys resolved.

    Attributes:
        entries: Key text to (span of the key, value), in file order.
    """

    span: Span
    entries: dict[str, tuple[Span, "Node"]]


Node = ScalarNode | ListNode | MapNode


def compose(source: Source) -> Node | None:
    """The document of a file, or None when the file holds nothing.

    Duplicate keys are noted in `source.problems` and the first one counts.

    Raises:
        RmcheckError: The text is not YAML: nothing else can be said about the file.
    """
    import yaml

    _refuse_unprintable(source)
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _refuse_deep(source, yaml.parse(source.text, Loader=loader))
        root = yaml.compose(source.text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        _note_malformed(source, error)
        raise source.error() from error
    return None if root is None else _Reader(source).node(root)


def describe(node: Node) -> str:
    """The value as a message shows it: `the text '0.8'`, `a list`, `nothing`."""
    if isinstance(node, ListNode):
        return "a list"
    if isinstance(node, MapNode):
        return "a mapping"
    words = {
        "text": f"the text {_short(node.text)!r}",
        "integer": f"the number {node.text}",
        "number": f"the number {node.text}",
        "boolean": f"the boolean {node.text}",
        "null": "nothing",
        "date": f"the date {node.text}",
        "tagged": f"the tagged value {_short(node.text)!r}",
    }
    return words[node.type]


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _refuse_unprintable(source: Source) -> None:
    for number, line in enumerate(source.lines, start=1):
        if found := UNPRINTABLE.search(line):
            source.add(
                Span(number, found.start() + 1),
                f"not valid YAML: the character {found.group()!a} is not allowed",
            )
    if source.problems:
        raise source.error()


def _refuse_deep(source: Source, events: Any) -> None:
    import yaml

    depth = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            source.add(_start(event), f"nested more than {MAX_DEPTH} levels deep")
            raise source.error()


def _note_malformed(source: Source, error: "yaml.MarkedYAMLError") -> None:
    mark = error.problem_mark or error.context_mark
    span = Span(mark.line + 1, mark.column + 1) if mark else Span(1, 1)
    context = error.context or ""
    begin = error.context_mark
    if context and begin and mark and (begin.line, begin.column) != (mark.line, mark.column):
        context += f" that begins at {begin.line + 1}:{begin.column + 1}"
    message = f"not valid YAML: {f'{context}, ' if context else ''}{error.problem}"
    hint = ""
    if 1 <= span.line <= len(source.lines):
        line = source.lines[span.line - 1]
        if "\t" in line[: len(line) - len(line.lstrip())]:
            hint = "YAML does not indent with tabs; use spaces."
    if re.match(r"rmcheck\s*[^\s:]", source.text):
        hint = "The first line lacks its colon: rmcheck: 1"
    source.add(span, message, hint)


def _start(thing: Any, width: int = 1) -> Span:
    return Span(thing.start_mark.line + 1, thing.start_mark.column + 1, width)


class _Reader:
    """PyYAML's nodes as ours. An aliased node is read once."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.known: dict[int, Node] = {}
        self.open: set[int] = set()

    def node(self, raw: Any) -> Node:
        """The node, with everything below it."""
        if id(raw) in self.open:
            self.source.add(self.span(raw), "an alias inside the value that it stands for")
            return ListNode(self.span(raw), ())
        if id(raw) not in self.known:
            self.open.add(id(raw))
            self.known[id(raw)] = self.read(raw)
            self.open.remove(id(raw))
        return self.known[id(raw)]

    def read(self, raw: Any) -> Node:
        import yaml

        if isinstance(raw, yaml.MappingNode):
            return MapNode(self.span(raw), self.entries(raw))
        if isinstance(raw, yaml.SequenceNode):
            return ListNode(self.span(raw), tuple(self.node(item) for item in raw.value))
        kind = SCALAR_TYPES.get(raw.tag, "tagged")
        return ScalarNode(self.span(raw), kind, raw.value, plain=not raw.style)

    def entries(self, raw: "yaml.MappingNode") -> dict[str, tuple[Span, Node]]:
        """Own keys over merged ones; of several merged ones the first counts, as YAML says."""
        own: dict[str, tuple[Span, Node]] = {}
        merged: dict[str, tuple[Span, Node]] = {}
        for key, value in raw.value:
            span = self.span(key)
            if not isinstance(key.value, str):
                self.source.add(span, "a key must be one word, not a list or a mapping")
            elif key.tag == MERGE:
                for name, entry in self.merged(value).items():
                    merged.setdefault(name, entry)
            elif key.value in own:
                first = own[key.value][0].line
                self.source.add(span, f"duplicate key {key.value!r}; it is on line {first} already")
            else:
                own[key.value] = (span, self.node(value))
        return {**own, **{name: entry for name, entry in merged.items() if name not in own}}

    def merged(self, raw: Any) -> dict[str, tuple[Span, Node]]:
        node = self.node(raw)
        parts = node.items if isinstance(node, ListNode) else (node,)
        out: dict[str, tuple[Span, Node]] = {}
        for part in parts:
            if not isinstance(part, MapNode):
                self.source.add(part.span, f"'<<' merges mappings, not {describe(part)}")
                continue
            for name, entry in part.entries.items():
                out.setdefault(name, entry)
        return out

    def span(self, raw: Any) -> Span:
        """The first line of what was written; of a block mapping, its first key."""
        import yaml

        if isinstance(raw, yaml.MappingNode) and not raw.flow_style and raw.value:
            return self.span(raw.value[0][0])
        start, end = raw.start_mark, raw.end_mark
        if start.line == end.line:
            return _start(raw, end.column - start.column)
        line = self.source.lines[start.line]
        return _start(raw, len(line.rstrip()) - start.column)
