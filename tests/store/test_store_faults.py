"""A store that cannot be trusted or written says so, names the file and what to do."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmcheck.errors import StoreError
from rmcheck.pool.keys import as_keys
from rmcheck.store import parts
from rmcheck.store.parts import Provenance, ScoreRows, read_part, write_part
from rmcheck.store.scores import ScoreStore

FINGERPRINT = "ab" * 32
PROVENANCE = Provenance(FINGERPRINT, "hf:rm")


def rows_of(texts: range) -> ScoreRows:
    """One whole text a number."""
    keys = as_keys([number.to_bytes(16, "big") for number in texts])
    count = len(keys)
    sizes = np.ones(count, dtype=np.int32)
    return ScoreRows(keys, keys, np.arange(count) / 4, sizes, 0 * sizes, [""] * count)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A store with two parts of three texts each."""
    scores = ScoreStore(tmp_path / ".rmcheck").open(FINGERPRINT)
    scores.check_writable()
    scores.append(rows_of(range(3)), PROVENANCE)
    scores.append(rows_of(range(3, 6)), PROVENANCE)
    return tmp_path / ".rmcheck"


def part_files(folder: Path) -> list[Path]:
    """The parts of the model."""
    return sorted(folder.glob("scores/*/*.parquet"))


@pytest.fixture(scope="module")
def whole_part(tmp_path_factory) -> tuple[Path, bytes]:
    """A part, and its bytes before anything happened to it."""
    path = tmp_path_factory.mktemp("part") / "part-1-a.parquet"
    write_part(path, rows_of(range(20)), PROVENANCE)
    return path, path.read_bytes()


@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(deadline=None, max_examples=150)
def test_a_flipped_byte_never_changes_a_score(whole_part, where, flip):
    """Whatever byte is hit, the part is refused or reads as it was written."""
    path, content = whole_part
    damaged = bytearray(content)
    damaged[int(where * len(content))] ^= flip
    path.write_bytes(damaged)
    expected = rows_of(range(20))

    # Any other exception, and any other row, is a failure.
    with contextlib.suppress(StoreError):
        rows, _ = read_part(path, FINGERPRINT)

        assert list(expected.text_keys) == list(rows.text_keys)
        assert expected.scores.tolist() == rows.scores.tolist()
        assert expected.cuts.tolist() == rows.cuts.tolist()


def test_no_flipped_bit_of_the_footer_changes_what_a_part_says(tmp_path):
    """Parquet sums up its pages only: one bit of the footer may name another codec or no rows."""
    path, expected = tmp_path / "part-1-a.parquet", rows_of(range(20))
    write_part(path, expected, PROVENANCE)
    content = path.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    refused = 0

    # All of them take minutes; a stride of 7 meets every bit of a byte.
    for place in range(footer * 8, len(content) * 8, 7):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            rows, provenance = read_part(path, FINGERPRINT)
        except StoreError:
            refused += 1
            continue
        assert rows.digest({}) == expected.digest({}), place
        assert provenance.metadata() == PROVENANCE.metadata(), place

    assert refused > 200


def test_a_part_without_a_digest_is_read(folder):
    """Parts that were written before there was one hold good scores."""
    path = part_files(folder)[0]
    table = pq.read_table(path)
    metadata = {k: v for k, v in table.schema.metadata.items() if k != parts.DIGEST}
    pq.write_table(table.replace_schema_metadata(metadata), path)

    rows, _ = read_part(path, FINGERPRINT)

    assert rows.digest({}) == rows_of(range(3)).digest({})


@given(keep=st.floats(0, 1, exclude_max=True))
@settings(deadline=None, max_examples=40)
def test_a_part_cut_short_is_refused(whole_part, keep):
    """Half a file is never read as a file with fewer rows."""
    path, content = whole_part
    path.write_bytes(content[: int(keep * len(content))])

    with pytest.raises(StoreError, match="is damaged"):
        read_part(path, FINGERPRINT)


def test_all_damaged_parts_are_named_with_what_to_do(folder):
    """Both files are named at once, and deleting one keeps the scores of the others."""
    first, second = part_files(folder)
    content = first.read_bytes()
    first.write_bytes(content[:100])
    second.write_bytes(b"not Parquet at all")

    with pytest.raises(StoreError) as caught:
        ScoreStore(folder).open(FINGERPRINT)

    for path in (first, second):
        assert f"{path}: is damaged" in str(caught.value)
    assert "Delete this file: the scores in the other files are kept" in str(caught.value)

    second.unlink()
    first.write_bytes(content)

    assert len(ScoreStore(folder).open(FINGERPRINT)) == 3


def test_a_newer_format_is_refused(folder, monkeypatch):
    """An old rmcheck does not guess what a new one wrote."""
    monkeypatch.setattr(parts, "FORMAT", 2)
    writing = ScoreStore(folder).open(FINGERPRINT)
    writing.append(rows_of(range(9, 10)), PROVENANCE)
    monkeypatch.setattr(parts, "FORMAT", 1)

    with pytest.raises(StoreError, match=r"has format 2; this rmcheck reads formats up to 1"):
        ScoreStore(folder).open(FINGERPRINT)


def rewritten(path: Path, *, metadata=None, **columns) -> None:
    """Write a part again with other columns or metadata."""
    table = pq.read_table(path)
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, [values])
    if metadata is not None:
        table = table.replace_schema_metadata({**table.schema.metadata, **metadata})
    pq.write_table(table, path)


@pytest.mark.parametrize(
    ("metadata", "columns", "says"),
    [
        ({}, {"score": np.array([0.0, np.nan, 1.0])}, "a score is nan"),
        ({}, {"score": np.array([0.0, np.inf, 1.0])}, "a score is inf"),
        ({}, {"score": np.array([0, 1, 2])}, "no column 'score' of type double"),
        ({}, {"too_long": np.array(["", "middle", ""])}, "too_long is 'middle'"),
        ({b"rmcheck.format": b""}, {}, "is no part of a score store"),
        ({b"rmcheck.fingerprint": b"cd" * 32}, {}, "with fingerprint cdcdcdcdcdcdcdcd"),
        ({b"rmcheck.conformance": b"[1]"}, {}, "metadata"),
        ({b"rmcheck.description": b"{"}, {}, "metadata"),
    ],
)
def test_what_no_rmcheck_wrote_is_refused(folder, metadata, columns, says):
    """NaN, other types and other models' scores are found out when the part is read."""
    path = part_files(folder)[0]
    rewritten(path, metadata=metadata, **columns)

    with pytest.raises(StoreError) as caught:
        ScoreStore(folder).open(FINGERPRINT)

    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def test_a_missing_value_is_refused(folder):
    """A null is not a score."""
    import pyarrow as pa

    rewritten(part_files(folder)[0], score=pa.array([0.0, None, 1.0]))

    with pytest.raises(StoreError, match="a value is missing"):
        ScoreStore(folder).open(FINGERPRINT)


@pytest.mark.parametrize("in_place_of", [".rmcheck", ".rmcheck/scores"])
def test_a_file_in_place_of_the_folder(tmp_path, in_place_of):
    """A file where a folder should be is an error when reading and when about to write."""
    (tmp_path / in_place_of).parent.mkdir(exist_ok=True)
    (tmp_path / in_place_of).write_text("a file")
    store = ScoreStore(tmp_path / ".rmcheck")

    with pytest.raises(StoreError, match="a file stands where the folder"):
        store.open(FINGERPRINT)


def test_a_full_disk_keeps_what_was_written(folder, monkeypatch):
    """The message counts the scores that are safe; no half part and no temporary file stays."""
    scores = ScoreStore(folder).open(FINGERPRINT)
    before = sorted(path.name for path in scores.folder.iterdir())

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(StoreError, match=r"No space left on device\). 6 scores of this model"):
        scores.append(rows_of(range(9, 12)), PROVENANCE)
    scores.compact()
    monkeypatch.undo()

    assert sorted(path.name for path in scores.folder.iterdir()) == before
    assert len(ScoreStore(folder).open(FINGERPRINT)) == 6


AS_NOBODY = """
import json, os, sys
from pathlib import Path
import pyarrow.parquet
from rmcheck.errors import StoreError
from rmcheck.store.scores import ScoreStore

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
said = []
for folder in sys.argv[1:]:
    try:
        scores = ScoreStore(Path(folder)).open("ab" * 32)
        said.append(len(scores))
        scores.check_writable()
    except StoreError as error:
        said.append(str(error))
print(json.dumps(said))
"""


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_read_only_and_unreadable_folders(folder):
    """Reading works on a read-only store, writing is refused; an unreadable one is an error.

    Root is stopped by no permission, so when root runs the tests the child becomes `nobody`.
    """
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        readable, secret = Path(place) / "readable", Path(place) / "secret"
        for copy in (readable, secret):
            shutil.copytree(folder, copy)
        for path in readable.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        model = next((secret / "scores").iterdir())
        model.chmod(0o000)

        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(readable), str(secret)],
            capture_output=True,
            text=True,
            check=True,
        )
        model.chmod(0o755)
        for path in (readable, *readable.rglob("*")):
            path.chmod(0o755)

    count, not_writable, not_readable = json.loads(done.stdout)
    assert count == 6
    assert "scores cannot be written here (Permission denied)" in not_writable
    assert "stored scores cannot be read (Permission denied)" in not_readable
