"""Tells a suite from any other YAML file without parsing it."""

import re
from pathlib import Path

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
