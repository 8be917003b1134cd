"""Tells a suite, a misspelt one too, from any other YAML file without parsing it."""

import codecs
import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from pathlib import Path

from rmcheck.errors import UsageError

SUFFIXES = (".yaml", ".yml")
HEADER = "rmcheck"
# At the left margin, before the long part of any real file. A key without a value on its line is
# somebody's CI job of that name.
VERSION = re.compile(r"^(['\"]?)rmcheck\1[ \t]*:[ \t]*[^\s#]", re.MULTILINE)
CHECKS = re.compile(r"^(['\"]?)checks\1[ \t]*:", re.MULTILINE)
POOL = re.compile(r"^(['\"]?)pool\1[ \t]*:", re.MULTILINE)
# The first word that is no comment and no beginning of a document, and what follows on its line.
FIRST_WORD = re.compile(r"\A(?:[ \t]*(?:---|%.*|#.*)?[ \t]*[\r\n])*[-\s{'\"]*([\w-]+)(.*)")
# difflib's ratio: one slip of the fingers in seven letters is above, another word is below.
NEAR = 0.85
HEAD_BYTES = 64 * 1024
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # begins like UTF-16, so it is tried first
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def is_yaml(path: Path) -> bool:
    """Whether a file is YAML by its name."""
    return path.suffix.lower() in SUFFIXES


def is_suite(path: str | Path) -> bool:
    """Whether this YAML file is a suite, or was meant to be one.

    It is when a line at its left margin begins with `rmcheck:` and a value, when it has `checks:`
    and `pool:` there, or when its first word is `rmcheck` or nearly so. Whether it is right is for
    the loader to say: a suite that nobody takes for one would let every checkpoint pass.

    Cheap, for collection: a YAML file of somebody else is left alone, however it is written. One
    that cannot be read counts as a suite, since it may be one.
    """
    path = Path(path)
    if not is_yaml(path) or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = _decoded(file.read(HEAD_BYTES))
    except OSError:
        return True
    if VERSION.search(head) or (CHECKS.search(head) and POOL.search(head)):
        return True
    first = FIRST_WORD.match(head)
    return first is not None and first[2].strip() not in ("", ":") and _near(first[1])


def _decoded(head: bytes) -> str:
    """The text, whatever its encoding: ASCII letters are all that matters."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return head[len(mark) :].decode(encoding, "replace")
    return head.replace(b"\0", b"").decode("latin-1")  # UTF-16 without a mark loses its zeros


def _near(word: str) -> bool:
    return SequenceMatcher(None, word.lower(), HEADER).ratio() >= NEAR


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
    return sorted(file for file in path.rglob("*") if is_suite(file))
