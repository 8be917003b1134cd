"""How text that others wrote (responses, ids, names, answers of servers) stands in our messages."""

import inspect
import io
import json
import math
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

# Control characters, what turns the direction of text, what cannot be seen, halves of a pair of
# surrogates. The joiners U+200C and U+200D stay: Persian, Indic scripts and emoji need them.
_UNSEEN = (
    "\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
_UNPRINTABLE = re.compile(f"[{_UNSEEN}]")
_UNPRINTABLE_IN_LINES = re.compile(f"(?![\n\t])[{_UNSEEN}]")
# Commands to a runner: `::error::` begins a line, `##[group]` and `##vso[…]` stand anywhere.
_COMMAND = re.compile(r"^(\s*:)(?=:)|(#)(?=#\w*\[)", re.MULTILINE)

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_DATA_FILE = re.compile(r"\.(jsonl?|ndjson|parquet|csv|txt)(\.gz)?$")

_JSON_COMMAND = re.compile(r"##(?=\w*\[)")


def printable(text: str) -> str:
    r"""A text as one line that can do nothing to a terminal or to the runner of a build.

    Line breaks, control and invisible characters and lone surrogates become escapes such as `\n`,
    `\x1b` and `\u202e`; a backslash breaks what would be a command: `:\:error::`, `#\#[group]`.
    Applied twice it changes nothing more.
    """
    return _COMMAND.sub(r"\1\2\\", _UNPRINTABLE.sub(_escape, text))


def printable_lines(text: str) -> str:
    """`printable` for a text of ours that has lines: line breaks and tabs stay."""
    return _COMMAND.sub(r"\1\2\\", _UNPRINTABLE_IN_LINES.sub(_escape, text))


def encodable(data: Any) -> Any:
    r"""Plain data with lone surrogates as `\ud800`: what UTF-8, a pipe or a file can hold."""
    if isinstance(data, str):
        return data.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(data, dict):
        return {encodable(key): encodable(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(encodable(value) for value in data)
    return data


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")


def json_text(data: Any) -> str:
    """JSON for a file that people look at: the same data, and `printable_lines` as text.

    Raises:
        ValueError: A number is not finite.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    escaped = _UNPRINTABLE_IN_LINES.sub(lambda match: json.dumps(match.group())[1:-1], text)
    return _JSON_COMMAND.sub(r"#\\u0023", escaped) + "\n"


def finite(data: Any) -> Any:
    """The same data with null for a number that is not finite, which JSON has no word for."""
    if isinstance(data, Mapping):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def excerpt(text: str, most: int) -> str:
    """The beginning of a text in one printable line of at most `most` characters."""
    # Cut before escaping too, so that a text of gigabytes costs nothing.
    line = printable(" ".join(text[: 8 * most].split()))
    return line if len(line) <= most and len(text) <= 8 * most else f"{line[: most - 1]}…"


def apart(first: str, second: str, before: int) -> tuple[str, str]:
    """Two texts from shortly before they differ, where they begin alike for long."""
    pairs = enumerate(zip(first, second, strict=False))
    differ = next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))
    start = differ - before
    return (first, second) if start < before else (f"…{first[start:]}", f"…{second[start:]}")


def listed(items: Iterable[object], most: int, between: str = ", ") -> str:
    """`a, b, c and 4 more`; `nothing` where there are none."""
    words = [printable(str(item)) for item in items]
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return f"{between.join(words[:most]) or 'nothing'}{more}"


def first_lines(lines: Sequence[str], most: int, what: str = "", indent: str = "  ") -> list[str]:
    """The first of many lines, and a last one with how many more there are of what."""
    more = f"{indent}and {len(lines) - most:,} more{f' {what}' if what else ''}"
    return [*lines[:most], *([more] if len(lines) > most else [])]


def aligned(rows: Sequence[Sequence[str]], right: Container[int] = ()) -> list[str]:
    """A table as lines, each column as wide as its widest cell.

    Args:
        rows: Cells, as many in each row.
        right: Numbers of the columns whose cells stand at the right; all others at the left.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def first_line(documented: object) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(documented) or "").partition("\n")[0]


def attribute_texts(cls: type) -> dict[str, str]:
    """Name to text of the `Attributes:` and `Args:` in a Google-style docstring."""
    out: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        doc = inspect.cleandoc(base.__doc__ or "")
        for section in re.findall(r"^(?:Attributes|Args):\n((?:(?: .*)?\n?)*)", doc, re.MULTILINE):
            entries = re.findall(r"^ {4}(\w+): ((?:.+\n?)(?:^ {8}.*\n?)*)", section, re.MULTILINE)
            out |= {name: " ".join(text.split()) for name, text in entries}
    return out


def hub_advice(path: Path, kind: str = "") -> str:
    """How to download what may have been meant, where a path looks like `owner/name` on a hub."""
    name = f"{path.parent.name}/{path.name}"
    if path.parent.exists() or not _HUB_NAME.fullmatch(name) or _DATA_FILE.search(name):
        return ""
    download = f"hf download{kind} {name} --local-dir {name}"
    named = "" if kind else f"write {name}@main, or "
    return f". If it is a name on a hub, {named}download it first: {download}"


class PrintableStream(io.TextIOBase):
    """A text stream behind which nothing but `printable_lines` comes out."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, made printable."""
        self._stream.write(printable_lines(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream behind."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream behind is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Of the stream behind."""
        return self._stream.fileno()


def shown(path: Path, root: Path) -> str:
    """A path as people see it: relative to the root where it lies below it."""
    absolute = path.absolute()
    return str(absolute.relative_to(root)) if absolute.is_relative_to(root) else str(path)
