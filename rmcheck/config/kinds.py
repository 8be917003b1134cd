"""What the value of a key may be: each kind reads it from YAML and describes it in JSON Schema.

One class does both, so that the loader and the schema cannot disagree.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rmcheck.config.document import ListNode, Node, ScalarNode, describe
from rmcheck.config.source import Source, did_you_mean
from rmcheck.wording import excerpt

# Decimal only: YAML 1.1 reads 010 as eight and 12:30 as 750. `1e-3` is a number to everybody else.
DECIMAL = re.compile(r"[-+]?((0|[1-9][0-9_]*)(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?")
# Line breaks and other control characters, and halves of a surrogate pair, are in no name or path.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]*)")


class Wrong(Exception):
    """The value was refused and the problem noted; its key is left out."""


class Kind(ABC):
    """One kind of value."""

    @abstractmethod
    def read(self, node: Node, what: str, source: Source) -> Any:
        """The value.

        Args:
            node: The value in the file.
            what: The key in words, such as `'at_least' in check 'accuracy'`.
            source: Where problems are noted.

        Raises:
            Wrong: It is none; the problem is in `source.problems`.
        """

    def schema(self) -> dict[str, Any]:
        """The kind in JSON Schema; by default any value, and only the reader refuses some."""
        return {}


def refuse(source: Source, node: Node, message: str, *valid: str) -> Wrong:
    """What to raise about a value, after noting the problem."""
    source.add(node.span, message, *valid)
    return Wrong(message)


def percent_hint(value: float) -> str:
    """For a share that was written in percent, the share."""
    return f". Did you mean {value / 100:g}?" if 2 <= value <= 100 else ""


@dataclass(frozen=True)
class OneLine(Kind):
    """Text that is not blank, in one line.

    Attributes:
        forbidden: Something that the text must not contain, because it could not be typed on a
            command line: the separator of a test's name.
        example: How a right value looks, for messages.
    """

    forbidden: str = ""
    example: str = ""

    def read(self, node: Node, what: str, source: Source) -> str:
        """The text without white space around it."""
        example = f", such as {self.example}" if self.example else ""
        if not isinstance(node, ScalarNode) or node.type != "text":
            scalar = isinstance(node, ScalarNode) and node.type not in ("null", "tagged")
            hint = ". Quote it to make it text" if scalar else ""
            raise refuse(source, node, f"{what} must be text{example}, not {describe(node)}{hint}")
        if not node.text.strip():
            raise refuse(source, node, f"{what} is blank")
        if self.forbidden and self.forbidden in node.text:
            raise refuse(source, node, f"{what} must not contain {self.forbidden!r}: {node.text!r}")
        if found := CONTROL.search(node.text.strip()):
            raise refuse(source, node, f"{what} must not contain the character {found.group()!a}")
        return node.text.strip()

    def schema(self) -> dict[str, Any]:
        """A string with something in it."""
        out: dict[str, Any] = {"type": "string", "pattern": r"\S"}
        if self.forbidden:
            out["not"] = {"pattern": re.escape(self.forbidden)}
        return out


@dataclass(frozen=True)
class Boolean(Kind):
    """true or false."""

    def read(self, node: Node, what: str, source: Source) -> bool:
        if not isinstance(node, ScalarNode) or node.type != "boolean":
            raise refuse(source, node, f"{what} must be true or false, not {describe(node)}")
        return node.text.lower() in ("true", "yes", "on")

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Number(Kind):
    """A finite number.

    Attributes:
        open: Whether low and high themselves are refused.
    """

    low: float = -math.inf
    high: float = math.inf
    open: bool = False

    def read(self, node: Node, what: str, source: Source) -> float:
        value = float(_number(node, what, source, "a number", DECIMAL))
        inside = self.low < value < self.high if self.open else self.low <= value <= self.high
        if not inside:
            hint = percent_hint(value) if self.high == 1 else ""
            raise refuse(source, node, f"{what} must be {self._limits()}, not {value:g}{hint}")
        return value

    def _limits(self) -> str:
        low, high = ("above", "below") if self.open else ("at least", "at most")
        parts = [f"{low} {self.low:g}"] if math.isfinite(self.low) else []
        parts += [f"{high} {self.high:g}"] if math.isfinite(self.high) else []
        return " and ".join(parts)

    def schema(self) -> dict[str, Any]:
        words = ("exclusiveMinimum", "exclusiveMaximum") if self.open else ("minimum", "maximum")
        limits = zip(words, (self.low, self.high), strict=True)
        return {"type": "number", **{word: at for word, at in limits if math.isfinite(at)}}


@dataclass(frozen=True)
class Integer(Kind):
    """A whole number."""

    low: int | None = None

    def read(self, node: Node, what: str, source: Source) -> int:
        value = int(_number(node, what, source, "a whole number", WHOLE))
        if self.low is not None and value < self.low:
            raise refuse(source, node, f"{what} must be at least {self.low}, not {value}")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "integer"} | ({} if self.low is None else {"minimum": self.low})


@dataclass(frozen=True)
class Choice(Kind):
    """One of some words, known when the file is read.

    Attributes:
        words: Returns the words.
        noun: What they name (`metric`), where that is also the key.
        listing: Command that lists the words, where they are too many for a message.
    """

    words: Callable[[], tuple[str, ...]]
    noun: str = ""
    listing: str = ""

    def read(self, node: Node, what: str, source: Source) -> str:
        words = self.words()
        title = f"{self.noun}s".capitalize() if self.noun else "Valid words"
        valid = f"{title}: {self.listing or ', '.join(words)}."
        if not isinstance(node, ScalarNode) or node.type != "text":
            raise refuse(source, node, f"{what} must be a word, not {describe(node)}", valid)
        if node.text not in words:
            unknown = f"unknown word {node.text!r} for {what}"
            if self.noun:
                unknown = f"unknown {self.noun} {node.text!r}{what.removeprefix(repr(self.noun))}"
            raise refuse(source, node, unknown + did_you_mean(node.text, words), valid)
        return node.text

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words())}


def one_of(*words: str) -> Choice:
    """One of these words."""
    return Choice(lambda: words)


@dataclass(frozen=True)
class AsWritten(Kind):
    """A value whose text counts as it stands in the file: `no`, `010`, `2024` are these words."""

    example: str = ""

    def read(self, node: Node, what: str, source: Source) -> str:
        """The text, of one line or many, with the white space around it."""
        if isinstance(node, ScalarNode) and node.type not in ("null", "tagged"):
            return node.text
        example = f", such as {self.example}" if self.example else ""
        raise refuse(source, node, f"{what} must have one value{example}, not {describe(node)}")

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "number", "boolean"]}


@dataclass(frozen=True)
class Words(Kind):
    """A word or a list of different words, each as it is written."""

    def read(self, node: Node, what: str, source: Source) -> tuple[str, ...]:
        items = node.items if isinstance(node, ListNode) else (node,)
        words = tuple(AsWritten().read(item, f"a word of {what}", source) for item in items)
        if "" in words or len(set(words)) < max(len(words), 1):
            example = "such as [Yes, yes]"
            raise refuse(source, node, f"{what} must be a list of different words, {example}")
        return words


def _number(
    node: Node, what: str, source: Source, kind: str, pattern: re.Pattern[str]
) -> int | float:
    """The number as `int` or `float` reads it, with a message for each way to get it wrong."""
    if not isinstance(node, ScalarNode) or node.type not in ("integer", "number", "text"):
        raise refuse(source, node, f"{what} must be {kind}, not {describe(node)}")
    looks_right = pattern.fullmatch(node.text) is not None
    if node.type == "text" and not (node.plain and looks_right):
        hint = f". Leave out the quotes: {node.text}" if looks_right else ""
        if DECIMAL.fullmatch(percent := node.text.removesuffix("%")) and percent != node.text:
            hint = f". Did you mean {float(percent) / 100:g}?"
        raise refuse(source, node, f"{what} must be {kind}, not {describe(node)}{hint}")
    if looks_right:
        digits = node.text.replace("_", "")
        value = float(digits)
        if math.isinf(value):
            shown = excerpt(node.text, 60)
            raise refuse(source, node, f"{what} is too large to compute with: {shown}")
        return int(digits) if pattern is WHOLE else value
    if node.text.lower().lstrip("+-") in (".inf", ".nan"):
        raise refuse(source, node, f"{what} must be {kind}, and {node.text} is none")
    if pattern is WHOLE and DECIMAL.fullmatch(node.text):
        raise refuse(source, node, f"{what} must be {kind}, not {node.text}")
    raise refuse(source, node, f"{what} must be written in plain decimal digits, not {node.text}")
