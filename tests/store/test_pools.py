"""Pools as they were read outlive the session, and are never more than a saving of time."""

import hashlib
import json
import os
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.errors import PoolError
from rmcheck.models.sample import Sample
from rmcheck.pool.columns import PoolColumns
from rmcheck.pool.pool import Fault, Message, Pool, Prompt, text_keys
from rmcheck.pool.reading import read_pool
from rmcheck.store import pools
from rmcheck.store.pools import FOLDER, KeptPools

ROWS = [
    {"prompt": "How?", "responses": ["So.", "So.", ""], "golden": [1, 0.5, None], "topic": "a"},
    {"prompt": [{"role": "user", "content": "Wo?"}], "responses": ["Da ü"], "other": [2.0]},
]


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store that keeps pools of any size."""
    monkeypatch.setattr(pools, "SMALL", 0)
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


@pytest.fixture
def path(tmp_path):
    """A pool with every kind of thing that is kept."""
    return written(tmp_path / "pool.jsonl", ROWS)


def written(path, rows):
    """The file, with a row a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def session(store, path, **how):
    """The pool as one session reads it."""
    kept = KeptPools(store)
    pool = kept.read(path, **how)
    kept.keep()
    return pool


def must_not_parse(monkeypatch):
    """Reading the file itself fails the test."""
    again = lambda *_, **__: pytest.fail("the file is read again")  # noqa: E731
    monkeypatch.setattr("rmcheck.pool.reading.read_pool", again)


def test_the_next_session_reads_no_row(store, path, monkeypatch):
    """Keys, labels, slices, lengths, faults and the fingerprint are those of the file."""
    first = session(store, path)
    must_not_parse(monkeypatch)

    again = session(store, path)

    assert same_columns(again, first)
    assert again.fingerprint() == first.fingerprint()
    assert again.faults == first.faults
    assert repr(again) == repr(first)


def test_texts_are_read_when_one_is_asked_for(store, path):
    """Prompts are then those of the file, with the keys that are known already."""
    first = session(store, path)

    again = session(store, path)

    assert again == first == read_pool(path)
    assert b"Wo?" not in b"".join(file.read_bytes() for file in (store / FOLDER).iterdir())


def test_texts_of_a_file_that_was_changed_meanwhile_are_refused(store, path):
    """Rewards of one text are never shown beside another."""
    session(store, path)
    again = session(store, path)
    path.write_text(path.read_text().replace("How?", "Who?"))

    with pytest.raises(PoolError, match=r"pool\.jsonl: was changed while its suite was judged"):
        again.prompts[0]


def same_columns(one: Pool, other: Pool) -> bool:
    """Whether all but the texts is the same."""
    pairs = [(one.keys.tolist(), other.keys.tolist())]
    for field in fields(PoolColumns):
        a, b = (getattr(pool.columns, field.name) for pool in (one, other))
        pairs += [(list(a), list(b))] if isinstance(a, dict) else []
        pairs += zip(a.values(), b.values(), strict=True) if isinstance(a, dict) else [(a, b)]
    return all(np.array_equal(a, b) or repr(a) == repr(b) for a, b in pairs)


def test_each_way_of_reading_is_kept_by_itself(store, path):
    """What a suite says about faults and clusters changes what is read."""
    session(store, path)
    dropped = session(store, path, faults={"empty_answer": "drop"})
    clustered = session(store, written(path.with_name("b.jsonl"), ROWS[:1]), cluster="topic")

    assert session(store, path, faults={"empty_answer": "drop"}) == dropped != session(store, path)
    assert clustered.prompts[0].cluster == "a"


def test_a_changed_file_is_read_again_whatever_its_times_say(store, path):
    """As many other bytes with the old times of writing make another pool."""
    session(store, path)
    times = path.stat()
    path.write_text(path.read_text().replace("How?", "Who?"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert session(store, path).prompts[0].messages[0].content == "Who?"


def test_a_further_file_in_a_folder_is_seen(store, tmp_path):
    """A folder is kept as the files that it has."""
    folder = tmp_path / "shards"
    folder.mkdir()
    written(folder / "0.jsonl", ROWS[:1])
    session(store, folder)
    written(folder / "1.jsonl", ROWS[1:])

    assert len(session(store, folder).prompts) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: content[:300] + bytes([content[300] ^ 1]) + content[301:],
        lambda content: content.replace(b"rmcheck pool 2", b"rmcheck pool 1"),
        lambda content: b"something else",
    ],
    ids=["empty", "cut", "longer", "one bit", "another format", "foreign"],
)
def test_a_damaged_file_is_no_pool(store, path, damage):
    """It costs the reading, and is written anew."""
    first = session(store, path)
    (file,) = (store / FOLDER).iterdir()
    sound = file.read_bytes()
    file.write_bytes(damage(sound))

    assert session(store, path) == first
    assert file.read_bytes() == sound


def test_a_sound_arrow_file_of_something_else_is_no_pool(store, path):
    """Neither columns that are missing nor other types are taken for a pool."""
    import pyarrow as pa

    first = session(store, path)
    (file,) = (store / FOLDER).iterdir()
    sink = pa.BufferOutputStream()
    batch = pa.record_batch({"pool": [[1, 2]], "prompt_id": [["a"]]})
    with pa.ipc.new_file(sink, batch.schema) as arrow:
        arrow.write_batch(batch)
    content = sink.getvalue().to_pybytes()
    file.write_bytes(pools._HEAD + hashlib.sha256(content).digest() + content)

    assert session(store, path) == first


def test_the_least_used_pools_go_first(store, path, monkeypatch):
    """All together never take more room than they may."""
    session(store, path)
    (first,) = (store / FOLDER).iterdir()
    os.utime(first, (1, 1))
    monkeypatch.setattr(pools, "MOST", first.stat().st_size + 100)

    session(store, written(path.with_name("b.jsonl"), ROWS[:1]))

    (left,) = (store / FOLDER).iterdir()
    assert left != first


def test_a_large_pool_makes_the_store(tmp_path, path, monkeypatch):
    """A gate on a bundle stores no score, and reads its pool's rows once all the same."""
    session(tmp_path / "none", path)
    assert not (tmp_path / "none").exists()
    monkeypatch.setattr(pools, "SMALL", 0)

    session(tmp_path / "none", path)

    assert (tmp_path / "none" / ".gitignore").exists()
    must_not_parse(monkeypatch)
    session(tmp_path / "none", path)


def test_a_store_that_cannot_be_made_keeps_nothing(tmp_path, path, monkeypatch):
    """The pool is read all the same."""
    monkeypatch.setattr(pools, "SMALL", 0)
    (tmp_path / "file").write_text("")

    assert session(tmp_path / "file", path).prompts
    assert session(tmp_path / "file" / "store", path).prompts


def test_a_changed_copy_has_a_key_of_its_own():
    """A key that was taken over never outlives its text."""
    prompt = Prompt("a", (Message("user", "How?"),), ("So.", "Thus."), {})
    prompt.set_text_keys([b"0" * 16, b"1" * 16])
    sample = Sample.all_of(prompt)[0]

    assert sample.text_key == b"0" * 16
    assert replace(sample, response="Not.").text_key == text_keys(prompt.messages, ["Not."])[0]
    assert replace(prompt, responses=("x", "y")).text_keys == tuple(
        text_keys(prompt.messages, ["x", "y"])
    )


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@st.composite
def any_pool(draw):
    """Pools with columns that only some prompts have."""
    prompts = []
    for number in range(draw(st.integers(1, 4))):
        responses = draw(st.lists(TEXTS, min_size=1, max_size=3))
        label = st.none() | st.floats(allow_nan=False)
        values = st.tuples(*[label] * len(responses))
        prompts.append(
            Prompt(
                str(number),
                tuple(draw(st.lists(st.builds(Message, st.just("user"), TEXTS), max_size=3))),
                tuple(responses),
                draw(st.dictionaries(TEXTS, values, max_size=2)),
                draw(st.dictionaries(TEXTS, TEXTS, max_size=2)),
                draw(TEXTS),
                number,
                draw(TEXTS),
                tuple(range(number, number + len(responses))),
            )
        )
    fault = st.builds(
        Fault, st.just("empty_answer"), st.integers(0, 9), TEXTS, TEXTS, st.just("keep"), TEXTS
    )
    faults = tuple(draw(st.lists(fault, max_size=2)))
    return Pool(Path("/p"), "native", tuple(prompts), faults, 7)


@given(pool=any_pool())
def test_what_is_kept_is_what_was_read(pool, tmp_path_factory):
    """No text, number, column or order of columns is lost."""
    file = tmp_path_factory.getbasetemp() / "one.pool"
    file.write_bytes(pools._packed(pool))

    again = pools._kept(file, lambda: pool.prompts)

    assert same_columns(again, pool)
    assert again == pool
    assert again.fingerprint() == pool.fingerprint()
