"""A reader of what others wrote, what it is fed here, and what it must give."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rmcheck.errors import RmcheckError
from rmcheck.wording import encodable

TESTS = Path(__file__).parents[2]
SUITES_HERE = TESTS.parent / "suites"
DEEP = "[" * 1100
DIGITS = "9" * 5000
HUGE = 10**400


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        read: Reads a file that was written into a folder of its own; raises `RmcheckError` or
            returns what it read, whose claims it has checked with `assert`.
        names: File names, which tell some readers the format.
        seeds: Right files, and cases that once ended in another exception.
        parquet: Whether column types of Parquet files are varied too.
    """

    read: Callable[[Path], object]
    names: Sequence[str]
    seeds: Sequence[bytes] = field(repr=False)
    parquet: bool = False


def lines(rows: Sequence[Any]) -> bytes:
    """Rows as JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def outcome(target: Target, path: Path) -> str:
    """`accepted`, or `own` for an error of rmcheck; any other exception comes out."""
    try:
        target.read(path)
    except RmcheckError as error:
        said = str(error)
        assert said.strip()
        assert encodable(said) == said
        return "own"
    return "accepted"
