"""Keys of texts: 16 bytes each, one array for all responses of a pool."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.void]
_KIND = "V16"
# Odd, so that no two positions below 2^64 give one product.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def as_keys(keys: Sequence[bytes] | Keys) -> Keys:
    """(n,) keys, copied only where they are no array yet.

    Raises:
        ValueError: One is not of 16 bytes.
    """
    if isinstance(keys, np.ndarray):
        return np.ascontiguousarray(keys, _KIND)
    wrong = next((key for key in keys if len(key) != 16), None)
    if wrong is not None:
        raise ValueError(f"a key is {wrong!r}; valid: 16 bytes")
    return np.frombuffer(b"".join(keys), _KIND)


@dataclass(frozen=True, eq=False)
class NamedResponses:
    """Responses as rows of a table, without their texts: columns of one length.

    Attributes:
        prompt_ids: (n,) name of the prompt of each.
        text_keys: (n,) `rmcheck.pool.pool.text_keys`; zeros where only the place is known.
    """

    prompt_ids: Sequence[str]
    indices: NDArray[np.int64]
    text_keys: Keys

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property
    def row_keys(self) -> Keys:
        """(n,) names of text and place: two rows of equal texts have two."""
        names = {
            name: hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            for name in set(self.prompt_ids)
        }
        places = as_keys([names[name] for name in self.prompt_ids]).view(np.uint64).reshape(-1, 2)
        mixed = places ^ self.text_keys.view(np.uint64).reshape(-1, 2)
        mixed[:, 0] += self.indices.astype(np.uint64) * _SPREAD
        return mixed.view(_KIND).ravel()

    def by_place(self) -> "NamedResponses":
        """The same with their texts forgotten."""
        return NamedResponses(self.prompt_ids, self.indices, np.zeros(len(self), _KIND))

    def part(self, chosen: NDArray[np.bool_]) -> "NamedResponses":
        """Some of the (n,) responses."""
        if chosen.all():
            return self
        ids = [self.prompt_ids[i] for i in np.flatnonzero(chosen).tolist()]
        return NamedResponses(ids, self.indices[chosen], self.text_keys[chosen])


class KeyRows:
    """Row numbers by key; of rows with one key the first that was added counts.

    Rows are kept in sorted runs, each more than twice as long as the next, so that adding a few
    never sorts all anew and looking up asks few runs.
    """

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def __len__(self) -> int:
        """Number of different keys."""
        return sum(len(run.rows) for run in self._runs)

    @property
    def rows(self) -> NDArray[np.int64]:
        """The first row of each key, ascending."""
        return np.sort(np.concatenate([np.empty(0, np.int64), *(run.rows for run in self._runs)]))

    def add(self, keys: Keys, rows: NDArray[np.int64]) -> None:
        """Take in (n,) keys with their rows; those that are known stay where they are."""
        new = self.find(keys) < 0
        if not new.any():
            return
        run = _Run.of(keys[new], rows[new])
        while self._runs and len(self._runs[-1].rows) <= 2 * len(run.rows):
            older = self._runs.pop()
            run = _Run.of(
                np.concatenate([older.keys, run.keys]), np.concatenate([older.rows, run.rows])
            )
        self._runs.append(run)

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """(n,) row of each key, −1 where it is not known."""
        found = np.full(len(keys), -1)
        for run in self._runs:
            left = np.flatnonzero(found < 0)
            found[left] = run.find(keys[left])
        return found


class _Run:
    """Different keys, sorted, and their rows.

    Sorted by their first half, which is fast, unless two of them share it.
    """

    def __init__(self, keys: Keys, rows: NDArray[np.int64], by_half: bool) -> None:
        self.keys = keys
        self.rows = rows
        self._by_half = by_half
        self._sorted = _halves(keys) if by_half else _bytes(keys)

    @classmethod
    def of(cls, keys: Keys, rows: NDArray[np.int64]) -> "_Run":
        """The first of each key."""
        for by_half in (True, False):
            order = np.argsort(_halves(keys) if by_half else _bytes(keys), kind="stable")
            ordered = keys[order]
            new = np.r_[True, _bytes(ordered[1:]) != _bytes(ordered[:-1])]
            run = cls(ordered[new], rows[order[new]], by_half)
            if not by_half or (run._sorted[1:] != run._sorted[:-1]).all():
                break
        return run

    def find(self, keys: Keys) -> NDArray[np.int64]:
        at = np.searchsorted(self._sorted, _halves(keys) if self._by_half else _bytes(keys))
        at[at == len(self.rows)] = 0
        return np.where(_bytes(self.keys[at]) == _bytes(keys), self.rows[at], -1)


def _halves(keys: Keys) -> NDArray[np.uint64]:
    return np.ascontiguousarray(keys.view(np.uint64)[::2])


def _bytes(keys: Keys) -> NDArray[np.bytes_]:
    # Zeros at the end do not count when such arrays compare, and all are equally long.
    return keys.view("S16")
