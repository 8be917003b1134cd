"""What a data file may unpack to: a small file must fill neither the memory nor the day."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

# Bytes of one line.
LONGEST_LINE = 256 << 20
# Bytes that are unpacked from a byte of a packed file, beyond those that are taken of any file.
RATIO = 200
TAKEN_OF_ANY = 64 << 20
# What a row costs beside its bytes: a billion empty lines are work too.
_ROW_COSTS = 64


class TooLargeError(ValueError):
    """A file unpacks to more than it may."""


class Unpacked:
    """Counts what was unpacked from a file."""

    def __init__(self, path: Path) -> None:
        size = path.stat().st_size
        self._most = max(TAKEN_OF_ANY, RATIO * size)
        self._said = f"it unpacks to more than {RATIO} times its {size:,} bytes"
        self._count = 0

    @property
    def left(self) -> int:
        """Bytes that may still come."""
        return self._most - self._count

    def add(self, count: int, rows: int = 1) -> None:
        """Count bytes.

        Raises:
            TooLargeError: They are too many.
        """
        self._count += count + rows * _ROW_COSTS
        if self._count > self._most:
            raise TooLargeError(f"{self._said}; unpack it, and look what it holds")


class LimitedLines:
    """The lines of a file, with a limit of their length, and of their number where it is packed.

    Raises:
        TooLargeError: While reading, at a limit.
    """

    def __init__(self, file: "IO[bytes] | Any", unpacked: Unpacked | None) -> None:
        self._file = file
        self._unpacked = unpacked

    def __iter__(self) -> Iterator[bytes]:
        while line := self._file.readline(self._most(LONGEST_LINE) + 1):
            self._count(line)
            if len(line) > LONGEST_LINE:
                raise TooLargeError(f"a line is longer than {LONGEST_LINE >> 20} MB")
            yield line

    def read(self) -> bytes:
        """All that was not read as lines."""
        if self._unpacked is None:
            return bytes(self._file.read())
        rest = bytes(self._file.read(self._most(1 << 62) + 1))
        self._count(rest)
        return rest

    def _most(self, most: int) -> int:
        return most if self._unpacked is None else min(most, max(0, self._unpacked.left))

    def _count(self, data: bytes) -> None:
        if self._unpacked is not None:
            self._unpacked.add(len(data))


def special_file(path: Path) -> str:
    """What is wrong with a path that is no file on a disk; empty where nothing is.

    A pipe or a device would be read without end.
    """
    if not path.exists() or path.is_file() or path.is_dir():
        return ""
    return "is a pipe or a device; only files on a disk are read"
