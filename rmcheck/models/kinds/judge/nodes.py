"""YAML nodes as values: what is wrong with them is gathered, with line and column."""

import math
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rmcheck.errors import Problem, near_miss

if TYPE_CHECKING:
    import yaml

_NULL = "tag:yaml.org,2002:null"
_T = TypeVar("_T")
Nodes = Mapping[str, "yaml.Node"]


class NodeReader:
    """Reads values out of the nodes of one file.

    Every reading method notes what is wrong and goes on, with None or the default.

    Args:
        path: The file, for messages.

    Attributes:
        problems: What was wrong so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []

    def note(self, node: "yaml.Node", message: str) -> None:
        """Gather a problem at a node."""
        mark = node.start_mark
        self.problems.append(Problem(str(self.path), message, mark.line + 1, mark.column + 1))

    def mapping(
        self, node: "yaml.Node", keys: tuple[str, ...], name: str, valid: str = ""
    ) -> dict[str, "yaml.Node"]:
        """Values by key; unknown and repeated keys are problems."""
        import yaml

        found: dict[str, yaml.Node] = {}
        if not isinstance(node, yaml.MappingNode):
            self.note(node, f"{name} is a mapping with {valid or ', '.join(keys)}")
            return found
        for key, value in node.value:
            # The words themselves: YAML would take a bare `yes` for true.
            word = str(key.value)
            if word in found:
                self.note(key, f"{word!r} is given twice")
            elif word not in keys:
                near = near_miss(word, keys)
                self.note(key, f"no key {word!r} in {name}.{near} Keys: {', '.join(keys)}.")
            else:
                found[word] = value
        return found

    def needed(
        self, nodes: Nodes, name: str, parent: "yaml.Node", read: Callable[..., _T | None]
    ) -> _T | None:
        """A value that must be there."""
        if name in nodes:
            return read(name, nodes[name])
        self.note(parent, f"{name!r} is missing")
        return None

    def text(self, name: str, node: "yaml.Node") -> str | None:
        """A text, as it is written."""
        import yaml

        if isinstance(node, yaml.ScalarNode) and node.tag != _NULL:
            return str(node.value)
        self.note(node, f"{name} is one text; put it in quotes")
        return None

    def words(self, name: str, node: "yaml.Node") -> tuple[str, ...] | None:
        """A list of different words."""
        import yaml

        items = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found = [self.text(name, item) for item in items]
        words = tuple(word for word in found if word)
        if len(set(words)) != len(found) or not words:
            self.note(node, f"{name} is a list of different words, such as [{name.capitalize()}]")
            return None
        return words

    def pattern(self, name: str, node: "yaml.Node") -> str | None:
        """A regular expression with one group."""
        source = self.text(name, node)
        if source is None:
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what a later Python may read otherwise
                groups = re.compile(source).groups
        except (re.error, OverflowError, RecursionError) as error:
            self.note(node, f"{name} is {source!r}, no regular expression: {error}")
            return None
        if groups != 1:
            self.note(
                node,
                f"{name} is {source!r} and has {groups} groups; it has one, which is the number "
                r"('Score:\s*(\d+)'; a group that is no number is written (?:…))",
            )
            return None
        return source

    def range(self, name: str, node: "yaml.Node") -> tuple[float, float] | None:
        """Least and greatest number."""
        import yaml

        items = node.value if isinstance(node, yaml.SequenceNode) else []
        bounds = [self.number(name, item) for item in items]
        if len(bounds) == 2 and None not in bounds:
            lowest, highest = (float(bound or 0) for bound in bounds)
            if lowest < highest:
                return lowest, highest
        self.note(node, f"{name} is [LEAST, GREATEST], such as [1, 10]")
        return None

    def number(self, name: str, node: "yaml.Node") -> float | None:
        """A finite number."""
        text = self.text(name, node)
        try:
            value = float(text) if text is not None else math.nan
        except ValueError:
            value = math.nan
        if math.isfinite(value):
            return value
        if text is not None:
            self.note(node, f"{name} is {text!r}; it is a number")
        return None

    def share(self, nodes: Nodes, name: str, default: float) -> float:
        """A share from 0 to 1."""
        value = self.number(name, nodes[name]) if name in nodes else default
        if value is not None and not 0 <= value <= 1:
            self.note(nodes[name], f"{name} is {value:g}; it is a share from 0 to 1")
        return default if value is None else value

    def whole(self, nodes: Nodes, name: str, default: int, *, least: int) -> int:
        """A whole number."""
        text = self.text(name, nodes[name]) if name in nodes else str(default)
        counts = text is not None and text.isascii() and text.isdigit() and len(text) <= 18
        if text is None or (counts and int(text) >= least):
            return default if text is None else int(text)
        self.note(nodes[name], f"{name} is {text!r}; it is a whole number from {least} up")
        return default

    def truth(self, name: str, node: "yaml.Node") -> bool:
        """True or false."""
        text = self.text(name, node)
        if text not in (None, "true", "false"):
            self.note(node, f"{name} is {text!r}; it is true or false")
        return text != "false"
