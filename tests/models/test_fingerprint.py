"""The fingerprint changes whenever a reward could, and not otherwise."""

import json
import os
import shutil

import pytest

from rmcheck.models.checkpoint.fingerprint import file_digest, known_digests, remember_digests
from rmcheck.models.registry import open_model


def fingerprint(folder, query=""):
    """Of a checkpoint with settings."""
    return open_model(f"hf:{folder}{query}").fingerprint


def test_every_setting_that_changes_rewards_counts(llama_folder, tmp_path):
    """No two of these settings share a fingerprint."""
    (tmp_path / "other.jinja").write_text("{{ messages[-1].content }}")
    queries = [
        "",
        "?dtype=bfloat16",
        "?dtype=float16",
        "?max_length=100",
        "?eos=append",
        "?eos=strip",
        "?position=last",
        "?position=transformers",
        "?attention=eager",
        "?template=pair",
        f"?template={tmp_path / 'other.jinja'}",
    ]

    found = {fingerprint(llama_folder, query) for query in queries}

    assert len(found) == len(queries)


def test_device_and_spelling_do_not_count(llama_folder):
    """Neither the device, nor stating a default, nor naming the only head makes another model."""
    queries = ["", "?device=cpu", "?dtype=float32", "?head=0", "?head=LABEL_0", "?max_length=256"]

    assert len({fingerprint(llama_folder, query) for query in queries}) == 1


def test_a_moved_folder_is_the_same_model(llama_folder, tmp_path):
    """The path does not count."""
    moved = shutil.copytree(llama_folder, tmp_path / "elsewhere")

    assert fingerprint(moved) == fingerprint(llama_folder)


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ],
)
def test_every_file_that_is_read_counts(llama_copy, name):
    """One more byte, or one other byte of the weights, makes another model."""
    before = fingerprint(llama_copy)
    content = bytearray((llama_copy / name).read_bytes())
    if name == "model.safetensors":
        content[-1] ^= 1
    else:
        content += b"\n"
    (llama_copy / name).write_bytes(content)

    assert fingerprint(llama_copy) != before


@pytest.mark.parametrize("name", ["README.md", "trainer_state.json", "optimizer.pt"])
def test_files_that_are_not_read_do_not_count(llama_copy, name):
    """A model card or a trainer's state changes no reward."""
    before = fingerprint(llama_copy)
    (llama_copy / name).write_text(json.dumps({"step": 1}))

    assert fingerprint(llama_copy) == before


def test_the_template_counts_by_content(llama_folder, tmp_path):
    """Editing a template file makes another model; copying it does not."""
    first, second = tmp_path / "a.jinja", tmp_path / "b.jinja"
    for path in (first, second):
        path.write_text("{{ messages[-1].content }}")
    same = fingerprint(llama_folder, f"?template={first}")

    assert fingerprint(llama_folder, f"?template={second}") == same

    first.write_text("{{ messages[0].content }}")

    assert fingerprint(llama_folder, f"?template={first}") != same


def test_a_file_digest_is_sha256(tmp_path):
    """Of the file's bytes; of nothing, the well-known e3b0…855."""
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "abc").write_bytes(b"abc")

    # FIPS 180-4 example, and `printf '' | sha256sum`.
    assert file_digest(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")
    assert file_digest(tmp_path / "empty").endswith("a495991b7852b855")


def test_a_worker_takes_over_what_is_known_and_reads_what_has_changed(tmp_path, monkeypatch):
    """Digests cross a process boundary as plain lists; a rewritten file has another digest."""
    weights = tmp_path / "weights"
    weights.write_bytes(b"one")
    monkeypatch.setattr("rmcheck.models.checkpoint.fingerprint._SETTLED_NS", -(10**12))
    first = file_digest(weights)
    known = known_digests()
    monkeypatch.setattr("rmcheck.models.checkpoint.fingerprint._known", {})

    remember_digests(known)
    with monkeypatch.context() as context:
        context.setattr("hashlib.sha256", None)  # a worker that hashed would fail here
        assert file_digest(weights) == first

    weights.write_bytes(b"other")
    assert file_digest(weights) != first


def test_a_file_rewritten_in_the_same_instant_is_another_file(tmp_path):
    """Of a file that was just written nothing is remembered: its times may not tell a change."""
    weights = tmp_path / "weights"
    weights.write_bytes(b"one")
    times = weights.stat()
    first = file_digest(weights)

    weights.write_bytes(b"two")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert file_digest(weights) != first
    assert not any(known[0] == str(weights.resolve()) for known in known_digests())


def test_a_file_whose_time_of_writing_was_set_back_is_read_again(tmp_path, monkeypatch):
    """Copying and unpacking keep the time of writing; the time of change tells."""
    weights = tmp_path / "weights"
    weights.write_bytes(b"one")
    monkeypatch.setattr("rmcheck.models.checkpoint.fingerprint._SETTLED_NS", -(10**12))
    times = weights.stat()
    first = file_digest(weights)

    while weights.stat().st_ctime_ns == times.st_ctime_ns:
        weights.write_bytes(b"two")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert file_digest(weights) != first
