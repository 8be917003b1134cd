"""Opens a YAML file that a person writes: one mapping, which may begin with its format."""

from collections.abc import Sequence
from pathlib import Path

from rmcheck.config.document import MapNode, ScalarNode, compose, describe
from rmcheck.config.source import Source, Span
from rmcheck.errors import Problem, SuiteError, nearest

VERSION = 1  # of the format of every file that says which one it has


def open_file(path: Path, keys: Sequence[str] = (), shown: str = "") -> Source:
    """The text of a file.

    Args:
        path: The file.
        keys: See `Source.of`.
        shown: How messages name it; empty for its path.

    Raises:
        SuiteError: It cannot be read; or see `Source.of`.
    """
    try:
        source = Source.of(path, SuiteError, keys)
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise SuiteError([Problem(shown or str(path), message)]) from error
    source.path = shown or source.path
    return source


def read_mapping(source: Source, noun: str, begin: str) -> MapNode:
    """The mapping that a file is.

    Args:
        source: The file.
        noun: What it is, for messages: `a suite`.
        begin: How one begins.

    Raises:
        RmcheckError: It is no YAML, holds nothing, or something else.
    """
    root = compose(source)
    if isinstance(root, MapNode):
        return root
    span, told = Span(1, 1), "the file holds nothing"
    if root is not None:
        span, told = root.span, f"{noun} is a mapping, not {describe(root)}"
    source.add(span, told, begin)
    raise source.error()


def read_versioned(source: Source, key: str, noun: str, begin: str) -> MapNode:
    """The same, once it is clear that the file is of a format that can be read.

    Args:
        source: The file.
        key: Of the version of its format.
        noun: What it is, for messages.
        begin: How one begins.

    Raises:
        RmcheckError: It is something else.
    """
    root = read_mapping(source, noun, begin)
    if key not in root.entries:
        source.add(*_without_version(root, key), begin)
        raise source.error()
    _, version = root.entries[key]
    if isinstance(version, ScalarNode) and version.type == "integer":
        if version.text == str(VERSION):
            return root
        told = f"unknown format '{key}: {version.text}'"
    else:
        told = f"{key!r} must be {VERSION}, not {describe(version)}"
    source.add(version.span, told, f"This version of rmcheck reads format {VERSION}.")
    raise source.error()


def _without_version(root: MapNode, key: str) -> tuple[Span, str]:
    """Where the version should stand, and what stands there."""
    if root.entries:
        word, (span, _) = next(iter(root.entries.items()))
        if nearest(word.lower(), [key]):
            return span, f"unknown key {word!r}. Did you mean {key!r}?"
    return root.span, f"no '{key}: {VERSION}': what format is this?"
