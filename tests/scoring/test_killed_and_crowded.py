"""Processes that are killed, run at once, or run out of disk."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import nursery
import pytest
from counting_models import BUDGET, CountingModel, numbered_samples, reward_of
from stored_scores import fill, scores_of

from rmcheck.store.lock import holder_of
from rmcheck.store.scores import ScoreStore

SCRIPT = Path(__file__).with_name("counting_models.py")
TEXTS = 60
KILLS = 8


def start(store: Path, log: Path, seconds: float) -> nursery.Forked:
    """A process that scores numbered samples slowly."""
    return nursery.Forked(
        [sys.executable, str(SCRIPT), str(store), str(log), str(TEXTS), str(seconds)]
    )


def logged(log: Path) -> list[list[str]]:
    """Batches that were begun, in order."""
    return [line.split("\t") for line in log.read_text().splitlines()] if log.exists() else []


def stored_texts(store: Path) -> set[str]:
    """Responses that have a score."""
    samples = numbered_samples(TEXTS)
    scores = ScoreStore(store).open(CountingModel().fingerprint)
    missing = scores.lookup([s.text_key for s in samples]).missing
    return {s.response for s, gone in zip(samples, missing, strict=True) if not gone}


def test_a_killed_run_loses_at_most_the_batch_in_flight(tmp_path):
    """Killed eight times at random moments and resumed: all is there, right, and scored once
    but for the batches that a kill interrupted.
    """  # noqa: D205
    store, log = tmp_path / ".rmcheck", tmp_path / "log"
    rng = random.Random(0)
    in_flight: Counter[str] = Counter()
    for _ in range(KILLS):
        begun = len(logged(log))
        process = start(store, log, 0.02)
        while len(logged(log)) == begun and process.poll() is None:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.wait()
        batches = logged(log)[begun:]
        stored = stored_texts(store)

        for batch in batches[:-1]:
            assert set(batch) <= stored
        if batches and not set(batches[-1]) <= stored:
            in_flight.update(batches[-1])

    done = start(store, log, 0.0)
    assert done.wait() == 0

    samples = numbered_samples(TEXTS)
    times = Counter(text for batch in logged(log) for text in batch)
    found = scores_of(CountingModel(), samples, ScoreStore(store))
    assert found.scores.tolist() == [reward_of(s.response) for s in samples]
    assert times == Counter(s.response for s in samples) + in_flight
    assert in_flight
    assert len(list(store.rglob("*.parquet"))) == 1


def test_two_processes_score_each_text_once(tmp_path):
    """The second waits for the first, looks again, and scores nothing twice."""
    store, log = tmp_path / ".rmcheck", tmp_path / "log"
    processes = [start(store, log, 0.005) for _ in range(2)]

    assert [process.wait() for process in processes] == [0, 0]
    assert Counter(text for batch in logged(log) for text in batch) == Counter(
        s.response for s in numbered_samples(TEXTS)
    )
    assert stored_texts(store) == {s.response for s in numbered_samples(TEXTS)}


def test_a_killed_process_leaves_its_work_to_the_one_that_waits(tmp_path):
    """Of two the one that scores is killed: the other takes over, and scores only the rest."""
    store, log = tmp_path / ".rmcheck", tmp_path / "log"
    processes = {process.pid: process for process in (start(store, log, 0.02) for _ in range(2))}
    while len(logged(log)) < 3:
        time.sleep(0.001)
    folder = ScoreStore(store).open(CountingModel().fingerprint).folder
    scoring = processes.pop(holder_of(folder).pid)
    scoring.kill()
    scoring.wait()
    (waiting,) = processes.values()

    assert waiting.wait() == 0
    samples = numbered_samples(TEXTS)
    times = Counter(text for batch in logged(log) for text in batch)
    found = scores_of(CountingModel(), samples, ScoreStore(store))
    again = {text for text, count in times.items() if count > 1}
    assert found.scores.tolist() == [reward_of(s.response) for s in samples]
    assert times.keys() == {s.response for s in samples}
    assert max(times.values()) <= 2
    assert any(again <= set(batch) for batch in logged(log))  # the batch in flight, or none


FULL_DISK = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from counting_models import BUDGET, CountingModel, numbered_samples
from rmcheck.errors import StoreError
from rmcheck.scoring.request import Request
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.scores import ScoreStore

class Filling(CountingModel):
    def score(self, batch):
        if len(self.batches) == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
        return super().score(batch)

model = Filling()
try:
    request = Request(model, numbered_samples(60))
    fill_requests([request], ScoreStore(Path(sys.argv[2])), budget=BUDGET)
except StoreError as error:
    print(sum(map(len, model.batches[:3])), error)
"""


@pytest.mark.skipif(os.name != "posix", reason="file size limits of POSIX")
def test_a_disk_that_fills_up_keeps_what_was_written(tmp_path):
    """The operating system refuses to write more: the scores so far are safe, and counted."""
    store = tmp_path / ".rmcheck"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(SCRIPT.parent), str(store)],
        capture_output=True,
        text=True,
        check=True,
    )
    count, _, message = done.stdout.partition(" ")

    assert f"scores cannot be written (File too large). {count} scores" in message
    assert len(stored_texts(store)) == int(count) > 0
    assert not list(store.rglob("*.tmp"))

    resumed = CountingModel()
    fill(resumed, numbered_samples(TEXTS), ScoreStore(store), budget=BUDGET)

    assert sum(map(len, resumed.batches)) == TEXTS - int(count)


def test_a_warm_run_needs_no_heavy_import(tmp_path):
    """Reading stored scores imports neither torch, transformers nor tqdm."""
    store = tmp_path / ".rmcheck"
    fill(CountingModel(), numbered_samples(TEXTS), ScoreStore(store))
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import counting_models;"
        f"counting_models.main({str(store)!r}, '/nonexistent/log', {TEXTS}, 0);"
        "print([m for m in ('torch', 'transformers', 'tqdm', 'filelock') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
