"""Digests of weights outlive the session, and are never more than a saving of time."""

import pytest

from rmcheck.models.checkpoint.fingerprint import file_digest, known_digests
from rmcheck.store.digests import NAME, keep_digests, recall_digests


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A file that is large enough to be kept, and a process that knows no file yet."""
    monkeypatch.setattr("rmcheck.models.checkpoint.fingerprint._known", {})
    monkeypatch.setattr("rmcheck.models.checkpoint.fingerprint._SETTLED_NS", -(10**12))
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"w" * (1 << 20))
    return path


def as_new_process(monkeypatch):
    """Nothing is known, and hashing would fail."""
    monkeypatch.setattr("rmcheck.models.checkpoint.fingerprint._known", {})


def test_the_next_session_hashes_nothing(weights, tmp_path, monkeypatch):
    """What was hashed is read back from the store."""
    store = tmp_path / ".rmcheck"
    store.mkdir()
    first = file_digest(weights)
    keep_digests(store)
    as_new_process(monkeypatch)

    recall_digests(store)
    monkeypatch.setattr("hashlib.sha256", None)

    assert file_digest(weights) == first


def test_changed_weights_are_hashed_again(weights, tmp_path, monkeypatch):
    """One byte more or less, or one other byte, makes another model."""
    store = tmp_path / ".rmcheck"
    store.mkdir()
    first = file_digest(weights)
    keep_digests(store)
    as_new_process(monkeypatch)
    weights.write_bytes(b"v" * (1 << 20))

    recall_digests(store)

    assert file_digest(weights) != first


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "{}", "[" * 9999, '{"digests": [[1]]}', '{"digests": 3}']
)
def test_a_damaged_list_is_no_list(weights, tmp_path, content):
    """It costs the hashing, and is written anew."""
    store = tmp_path / ".rmcheck"
    store.mkdir()
    (store / NAME).write_text(content)

    recall_digests(store)
    found = file_digest(weights)
    keep_digests(store)

    assert found in (store / NAME).read_text()


def test_nothing_is_made_for_it(weights, tmp_path):
    """Without a store nothing is written, and small files are not listed."""
    small = tmp_path / "config.json"
    small.write_text("{}")
    file_digest(weights)
    file_digest(small)
    keep_digests(tmp_path / ".rmcheck")

    assert not (tmp_path / ".rmcheck").exists()

    (tmp_path / ".rmcheck").mkdir()
    keep_digests(tmp_path / ".rmcheck")

    assert len(known_digests()) == 2
    assert "config.json" not in (tmp_path / ".rmcheck" / NAME).read_text()
