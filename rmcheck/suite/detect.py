"""Tells a suite from any other YAML file without parsing it."""

import re
from collections.abc import Iterable
from pathlib import Path

from rmcheck.errors import UsageError

SUFFIXES = (".yaml", ".yml")
# The version key stands at the left margin, before the long part of any real file.
MARGIN_KEY = re.compile(rb"^(?:\xef\xbb\xbf)?rmcheck[ \t]*:", re.MULTILINE)
HEAD_BYTES = 64 * 1024


def is_suite(path: str | Path) -> bool:
    """Whether this is a YAML file with a `rmcheck:` key at the left margin.

    Cheap, for collection: a YAML file of somebody else is left alone, however it is written.
    A file that cannot be read is no suite.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        return False
    try:
        with path.open("rb") as file:
            return MARGIN_KEY.search(file.read(HEAD_BYTES)) is not None
    except OSError:
        return False


def suite_files(paths: Iterable[str | Path]) -> list[Path]:
    """Every suite file among these files and below these folders, each once.

    A file is taken at its word; of a folder, every YAML file below it that `is_suite`.

    Raises:
        UsageError: There is none, so that nothing would be checked.
    """
    given = [Path(path) for path in paths]
    files = list(dict.fromkeys(file for path in given for file in _below(path)))
    if not files:
        where = ", ".join(str(path) for path in given) or "nothing given"
        raise UsageError(f"no suite files: {where}. A suite is a YAML file with 'rmcheck: 1'.")
    return files


def _below(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = (file for file in path.rglob("*") if file.suffix in SUFFIXES)
    return sorted(file for file in found if is_suite(file))
