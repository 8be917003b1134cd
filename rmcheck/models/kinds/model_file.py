"""YAML files that describe a model: what every one of them is."""

from collections.abc import Sequence
from pathlib import Path

from rmcheck.config.document import MapNode
from rmcheck.config.file import read_mapping
from rmcheck.config.source import Source
from rmcheck.errors import FileError, Problem, UnknownModelError, UsageError
from rmcheck.pool.limits import special_file


def read_model_file(
    path: Path, kind: str, begin: str, keys: Sequence[str]
) -> tuple[Source, MapNode]:
    """The mapping that such a file is, and where its problems are noted.

    Args:
        path: The file.
        kind: What it describes, such as `judge`.
        begin: How such a file begins, for one that is something else.
        keys: See `Source.of`.

    Raises:
        UnknownModelError: There is no such file, or it cannot be read.
        UsageError: It is no YAML, no mapping, or another file.
    """
    if wrong := special_file(path):
        raise UnknownModelError(f"{kind} file {path} {wrong}")
    try:
        source = Source.of(path, _usage_error, keys)
    except OSError as error:
        raise UnknownModelError(f"{kind} file {path} cannot be read ({error.strerror})") from error
    noun = f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
    return source, read_mapping(source, noun, begin)


def _usage_error(problems: Sequence[Problem]) -> UsageError:
    return UsageError(str(FileError(problems)))
