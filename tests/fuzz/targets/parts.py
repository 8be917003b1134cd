"""Parts of the store."""

import tempfile
from pathlib import Path

import numpy as np

from rmcheck.pool.keys import as_keys
from rmcheck.store.parts import Provenance, ScoreRows
from rmcheck.store.scores import ScoreStore
from targets.target import Target

FINGERPRINT = "f" * 64


def store_part(path: Path) -> None:
    """A part of the store: whatever is left of it holds the scores that were written."""
    folder = path.parent / ".rmcheck"
    made = ScoreStore(folder).open(FINGERPRINT)
    made.check_writable()
    made.append(PART, Provenance(FINGERPRINT, "fake:x", {}, ()))
    (part,) = made.folder.glob("*.parquet")
    part.write_bytes(path.read_bytes())
    found = ScoreStore(folder).open(FINGERPRINT).lookup(PART.text_keys)
    known = np.asarray(found.scores)
    assert ((known == PART.scores) | np.isnan(known)).all()


PART = ScoreRows(
    as_keys([bytes([i]) * 16 for i in range(3)]),
    as_keys([bytes([i + 9]) * 16 for i in range(3)]),
    np.array([0.25, 0.5, 0.75]),
    np.array([1, 2, 3], dtype=np.int32),
    np.zeros(3, dtype=np.int32),
    ["", "", ""],
)


def part_bytes() -> bytes:
    """A part as the store writes it."""
    with tempfile.TemporaryDirectory() as folder:
        made = ScoreStore(Path(folder)).open(FINGERPRINT)
        made.check_writable()
        made.append(PART, Provenance(FINGERPRINT, "fake:x", {}, ()))
        (part,) = made.folder.glob("*.parquet")
        return part.read_bytes()


TARGETS = {
    "store": Target(store_part, ("part.parquet",), [part_bytes()], parquet=True),
}
