"""What a failing run has scored is kept, and the next one finishes it."""

import json
import random
import sys

import nursery
import pytest
from served import KEY, many, truth
from stored_scores import fill, scores_of

from rmcheck.errors import (
    ScoringError,
)
from rmcheck.models.engines.http.address import KEY_VARIABLE
from rmcheck.store.scores import MemoryStore, ScoreStore


def test_what_a_failing_call_scored_is_stored(server, opened, tmp_path):
    """The server dies in the middle: its answers until then are kept, and never asked again."""
    samples, store = many(60), ScoreStore(tmp_path)
    model = opened(server, "version=1&batch=4&concurrency=2&tries=2")
    encoded = model.encode(samples)
    # More than the page takes: up to 8 requests of one text, and 8 texts twice.
    server.faults = [""] * 18 + ["503"] * 1000
    with pytest.raises(ScoringError, match="503"):
        fill(model, samples, store)
    found = store.open(model.model.fingerprint).lookup([sample.text_key for sample in samples])
    kept = {tuple(e.ids) for e, m in zip(encoded, found.missing, strict=True) if not m}
    before = len(server.asked)
    server.faults = []

    report = fill(opened(server, "version=1&batch=4", load=False), samples, store)

    assert 0 < len(kept) < 60
    assert (report.from_store, report.scored) == (len(kept), 60 - len(kept))
    assert kept.isdisjoint(server.asked[before:])
    check_scores(model, samples, store)


def check_scores(model, samples, store):
    """No score lost, none double, none wrong."""
    scores = scores_of(model, samples, store).scores
    assert scores.tolist() == truth(model, samples)
    assert len(store.open(model.model.fingerprint)) == len(samples)


def test_a_bad_text_does_not_keep_the_later_batches_back(server, opened):
    """All others are scored and stored in the same run, and a repaired text alone in the next."""
    samples, store = many(30), MemoryStore()
    model = opened(server, "batch=4")
    encoded = model.encode(samples)
    longest = max(range(30), key=lambda i: encoded[i].length)
    server.poison = {encoded[longest].ids}
    with pytest.raises(ScoringError, match="bad token in a text"):
        fill(model, samples, store, budget=200)
    assert len(store.open(model.model.fingerprint)) == 29
    server.poison = set()

    report = fill(model, samples, store, budget=200)

    assert report.scored == 1
    check_scores(model, samples, store)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_fails_and_when_a_resumed_run_finishes_right(seed, server, opened, tmp_path):
    """Random faults in random requests: after some runs every score is there, once, and right."""
    rng = random.Random(seed)
    words = ["429", "500", "503", "drop", "truncated", "html", "short", "shuffled", "nan", "empty"]
    samples = many(40)
    store = ScoreStore(tmp_path)
    for _ in range(60):
        server.faults = [rng.choice(words) if rng.random() < 0.15 else "" for _ in range(60)]
        model = opened(server, "version=1&batch=3&concurrency=4&tries=2", load=False)
        try:
            fill(model, samples, store, budget=150)
            break
        except ScoringError:
            continue

    server.faults = []
    assert len(store.open(model.fingerprint)) == 40
    check_scores(opened(server, "version=1"), samples, store)


SUITE = """\
rmcheck: 1
name: demo
pool: {path: pool.jsonl}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.10}
"""


def test_the_gate_runs_against_a_server(server, folder, tmp_path, monkeypatch):
    """`pytest --rmcheck` scores, judges and reports; the key is in no output and no file."""
    rows = (
        {"prompt_id": f"p{i}", "prompt": f"what is {i}", "responses": [f"{i}", f"why {i}", "no"]}
        | {"golden": [0, 1, 2]}
        for i in range(40)
    )
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "demo.yaml").write_text(SUITE)
    server.key = KEY
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    model = f"--rmcheck-model=http:{server.url}?tokenizer={folder}&version=1"
    command = [sys.executable, "-m", "pytest", "demo.yaml", "--rmcheck", model]

    done = nursery.run([*command, "--rmcheck-report=report"], cwd=tmp_path, torch=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 check: 1 pass." in done.stdout
    assert "the server gives their probabilities" in (tmp_path / "report/report.json").read_text()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY not in done.stdout + done.stderr
    assert KEY.encode() not in written
