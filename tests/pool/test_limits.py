"""A small file fills neither the memory nor the day, and a pipe or a device is no file."""

import gzip
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rmcheck.errors import ModelError, PoolError, RmcheckError, UnknownModelError
from rmcheck.models.registry import open_model
from rmcheck.pool import limits
from rmcheck.pool.reading import read_pool, read_prompts

ROW = {"prompt": "q", "responses": ["a", "b"], "golden": [0, 1]}


@pytest.fixture
def small(monkeypatch):
    """Limits that a test reaches soon."""
    monkeypatch.setattr(limits, "TAKEN_OF_ANY", 1 << 20)
    monkeypatch.setattr(limits, "LONGEST_LINE", 2 << 20)


def score(path):
    """Load the scores of a file."""
    open_model(f"scores:{path}").load()


@pytest.mark.parametrize("read", [read_pool, read_prompts, score])
@pytest.mark.parametrize(
    "content",
    [
        b" " * 3_000_000,
        b"\n" * 100_000,
        b'{"prompt": "' + b"a" * 3_000_000,
        b"[" + b" " * 3_000_000,
    ],
)
def test_a_gzip_bomb_is_refused(small, tmp_path, read, content):
    """One long line, very many lines, a string or a list without end."""
    path = tmp_path / "bomb.jsonl.gz"
    path.write_bytes(gzip.compress(content))

    with pytest.raises((PoolError, ModelError), match=r"unpacks to more than 200 times"):
        read(path)


@pytest.mark.parametrize("name", ["bomb.txt.gz", "bomb.csv.gz"])
def test_a_bomb_of_prompts_is_refused(small, tmp_path, name):
    """Tables and texts alike."""
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"prompt\n" * 1_000_000))

    with pytest.raises(PoolError, match="unpacks to more than 200 times"):
        read_prompts(path)


@pytest.mark.parametrize(
    ("read", "row"),
    [
        (read_pool, {"prompt_id": "p", "prompt": "long prompt", "response": "r", "golden": 0.5}),
        (score, {"prompt_id": "p", "response": 0, "score": 0.5}),
    ],
)
def test_a_parquet_bomb_is_refused(small, tmp_path, read, row):
    """A column of one value is a few bytes, however long it is."""
    path = tmp_path / "bomb.parquet"
    columns = {name: [value] * 300_000 for name, value in row.items()}
    pq.write_table(pa.table(columns), path, compression="zstd")
    assert path.stat().st_size < 20_000

    with pytest.raises((PoolError, ModelError), match="unpacks to more than 200 times"):
        read(path)


@pytest.mark.parametrize("read", [read_pool, score])
def test_a_line_has_a_limit(small, tmp_path, read):
    """Also where nothing is packed."""
    path = tmp_path / "long.jsonl"
    path.write_bytes(json.dumps({**ROW, "prompt": "a" * 3_000_000}).encode())

    with pytest.raises((PoolError, ModelError), match="a line is longer than 2 MB"):
        read(path)


def test_what_is_packed_well_is_read(tmp_path):
    """Below 64 MB the ratio is nobody's concern: short pools of one text pack as well as a bomb."""
    path = tmp_path / "pool.jsonl.gz"
    path.write_bytes(
        gzip.compress((json.dumps({**ROW, "prompt": "a" * 100_000}) + "\n").encode() * 9)
    )

    assert len(read_pool(path).prompts) == 9


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_a_device_is_no_file(tmp_path, kind):
    """It would be waited for, or read, without end."""
    path = tmp_path / "x.yaml"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    judge = tmp_path / "judge.yaml"
    judge.write_text(f"engine: hf:x\ntemplate: {path}\nread: {{yes: [a], no: [b]}}\n")

    for read in (read_pool, read_prompts):
        with pytest.raises(PoolError, match="is a pipe or a device"):
            read(path)
    for spec in (f"scores:{path}", f"judge:{path}", f"ensemble:{path}"):
        with pytest.raises(UnknownModelError, match="is a pipe or a device"):
            open_model(spec)
    with pytest.raises(RmcheckError, match=r"template: .* is a pipe or a device"):
        open_model(f"judge:{judge}")
