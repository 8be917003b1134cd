"""The text of a YAML file: where a problem stands in it, and how that is drawn."""

import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from rmcheck.errors import Problem, RmcheckError, near_miss

# What YAML counts as the end of a line.
LINE_END = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
# Reading stops behind so many.
MOST_PROBLEMS = 200
# Characters of a line that are shown.
WIDEST_LINE = 300
# Width of the wrapped list of valid words under an excerpt.
WIDTH = 88


@dataclass(frozen=True, slots=True)
class Span:
    """Some characters of one line.

    Attributes:
        line: 1-based line.
        column: 1-based column of the first character, counted in characters.
        width: Number of characters; 0 points between two.
    """

    line: int
    column: int
    width: int = 1


@dataclass
class Source:
    """A file's text and everything found wrong with it.

    Attributes:
        path: The file as the user named it.
        wrong: Makes what is raised about a wrong file of its problems.
    """

    path: str
    text: str
    wrong: Callable[[Sequence[Problem]], RmcheckError]
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.text = self.text.removeprefix("\ufeff")
        self.lines = LINE_END.split(self.text)

    @classmethod
    def of(
        cls,
        path: Path,
        wrong: Callable[[Sequence[Problem]], RmcheckError],
        keys: Sequence[str] = (),
    ) -> Self:
        """The text of a file.

        Args:
            path: The file.
            wrong: See the attributes.
            keys: Of which such a file has one at the beginning of a line. A stranger's suite can
                name any file; of one without them nothing is shown.

        Raises:
            OSError: The file cannot be read.
            RmcheckError: `wrong`, as it is not UTF-8 text, or has none of the keys.
        """
        data = path.read_bytes()
        try:
            found = cls(str(path), data.decode("utf-8"), wrong)
        except UnicodeDecodeError as error:
            before = data[: error.start].decode("utf-8")
            line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
            message = f"not UTF-8 text: the byte 0x{data[error.start]:02x}"
            if b"\0" in data[:4]:
                message += " (it looks like UTF-16; save the file as UTF-8)"
            raise wrong([Problem(str(path), message, line, column)]) from error
        begins = rf"(?m)^[-\s{{\"']*({'|'.join(keys)})\b"
        if keys and found.text.strip() and not re.search(begins, found.text):
            named = ", ".join(f"`{key}:`" for key in keys)
            message = f"has none of {named}, so it is another file; nothing of it is shown"
            raise wrong([Problem(str(path), message)])
        return found

    def problem(self, span: Span, message: str, *valid: str) -> Problem:
        """A problem at these characters."""
        parts = [self.excerpt(span), *(_paragraph(text) for text in valid if text)]
        return Problem(self.path, message, span.line, span.column, "\n\n".join(filter(None, parts)))

    def add(self, span: Span, message: str, *valid: str) -> None:
        """Note a problem and go on.

        Raises:
            RmcheckError: There are so many that nobody reads more.
        """
        self.problems.append(self.problem(span, message, *valid))
        if len(self.problems) > MOST_PROBLEMS:
            raise self.error()

    @property
    def in_order(self) -> list[Problem]:
        """All problems in file order; one that an alias repeats is there once."""
        unique = dict.fromkeys(self.problems)
        return sorted(unique, key=lambda problem: (problem.line, problem.column))

    def error(self) -> RmcheckError:
        """What to raise about the file: all its problems."""
        return self.wrong(self.in_order)

    def excerpt(self, span: Span) -> str:
        """The line with the line before it, and carets under the characters."""
        if not 1 <= span.line <= len(self.lines):
            return ""
        line, column = _window(self.lines[span.line - 1], span.column)
        width = max(3, len(str(span.line)))
        drawn = []
        if span.line > 1 and self.lines[span.line - 2].strip():
            drawn.append(
                f"    {span.line - 1:>{width}} | {_window(self.lines[span.line - 2], 1)[0]}"
            )
        drawn.append(f"  > {span.line:>{width}} | {line}")
        carets = "^" * max(1, _columns(line[column - 1 :][: span.width]))
        drawn.append(f"    {'':>{width}} | {_blank(line[: column - 1])}{carets}")
        return "\n".join(text.rstrip() for text in drawn)


def _window(line: str, column: int) -> tuple[str, int]:
    """The part of a line around a column, and the column in it; the whole of nearly all lines."""
    if len(line) <= WIDEST_LINE:
        return line, column
    start = max(0, column - 1 - WIDEST_LINE // 2)
    mark = "…" if start else ""
    return f"{mark}{line[start : start + WIDEST_LINE]}…", column - start + len(mark)


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """`. Did you mean 'at_least'?`, or nothing: the end of a sentence that may be the last."""
    near = near_miss(word, valid)
    return f".{near}" if near else ""


def _paragraph(text: str) -> str:
    return textwrap.fill(
        text,
        width=WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _blank(text: str) -> str:
    """White space as wide as the text; a tab stays a tab."""
    return "".join("\t" if char == "\t" else " " * _columns(char) for char in text)


def _columns(text: str) -> int:
    """Terminal columns that the text takes: two for a wide character, none for a combining one."""
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )
