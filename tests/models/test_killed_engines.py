"""Fifty times kill -9 at random moments, over engines: no score is lost, double or wrong."""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import nursery
import pytest
import tiny_models
from failing_server import FailingServer
from killed_scoring import TEXTS, numbered_samples

from rmcheck.store.parts import read_part
from rmcheck.store.scores import ScoreStore

SCRIPT = Path(__file__).with_name("killed_scoring.py")
KILLS = {"hf": 10, "hf-two-threads": 10, "implicit": 10, "http": 10, "ensemble": 10}
# Batches at the same time.
WORKERS = {"hf-two-threads": 2}
# Other batches after a kill pad or share otherwise, which moves float32 rewards in the last digits.
TOLERANCE = 1e-5

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")


class Scoring:
    """The process that scores in children.

    Attributes:
        members: Engine to the fingerprints of what it scores.
    """

    def __init__(self, specs, folder):
        self.folder = folder
        command = [sys.executable, SCRIPT, json.dumps(specs)]
        pipe = subprocess.PIPE
        self._process = nursery.Forked(command, stdin=pipe, stdout=pipe, torch=True)
        self.members = json.loads(self._process.stdout.readline())

    def run(self, engine, store, kill=None):
        """Exit code of a child, and the batches that it began: (fingerprint, texts).

        It is killed `kill[1]` seconds after it began `kill[0]` batches.
        """
        log = self.folder / "batches"
        log.write_text("")
        asked = {"engine": engine, "store": str(store), "log": str(log), "kill": kill}
        asked["threads"] = WORKERS.get(engine, 1)
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        lines = [line.split() for line in log.read_text().splitlines()]
        return code, [(name, [int(text) for text in texts]) for name, *texts in lines]

    def close(self):
        """End it."""
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def scoring(tmp_path_factory):
    """Every engine, loaded once, and the server of one of them, which lives on."""
    folder = tmp_path_factory.mktemp("killed")
    words = tiny_models.tokenizer()
    words.save_pretrained(folder / "tokenizer")
    for seed in (1, 2):
        tiny_models.causal(folder / f"lm{seed}", seed=seed)
        tiny_models.save(tiny_models.decoder_config("llama"), folder / f"rm{seed}", seed=seed)
    with FailingServer("vllm", words) as server:
        specs = {
            "hf": f"hf:{folder}/rm1",
            "hf-two-threads": f"hf:{folder}/rm1",
            "implicit": f"implicit:{folder}/lm1,{folder}/lm2",
            "http": f"http:{server.url}?tokenizer={folder}/tokenizer&version=1",
            "ensemble": f"ensemble:hf:{folder}/rm1,hf:{folder}/rm2",
        }
        process = Scoring(specs, folder)
        yield process
        process.close()


def stored(store, fingerprint):
    """(TEXTS,) scores of a store; NaN where there is none. No text has two different ones."""
    scores = ScoreStore(store).open(fingerprint)

    parts = [read_part(path, fingerprint)[0] for path in scores.folder.glob("*.parquet")]
    facts = {
        fact for part in parts for fact in zip(part.text_keys.tolist(), part.scores, strict=True)
    }
    assert len(facts) == len(scores)
    return scores.lookup([sample.text_key for sample in numbered_samples()]).scores


@pytest.mark.parametrize("engine", sorted(KILLS))
def test_killed_at_random_and_resumed(engine, scoring, tmp_path):
    """After each kill what was there is there, a killed run has lost at most one batch of each
    worker, and the run that ends has the scores of one that was never killed.
    """  # noqa: D205
    members = scoring.members[engine]
    assert scoring.run(engine, tmp_path / "whole")[0] == 0
    started = time.perf_counter()
    code, batches = scoring.run(engine, tmp_path / "timed")
    seconds = time.perf_counter() - started
    most = len(batches)
    assert code == 0
    assert most >= 4
    truth = {name: stored(tmp_path / "whole", name) for name in members}
    rng = random.Random(engine)
    killed = resumed = number = 0
    while killed < KILLS[engine]:
        number += 1
        store = tmp_path / str(number)
        times, in_flight = Counter(), Counter()
        before = {name: np.full(TEXTS, np.nan) for name in members}
        code = None
        while code != 0:
            # When all kills are done the last run is left in peace.
            begun = rng.randrange(most)
            # The first moments are those of the proof, which takes longer than a batch.
            moment = (begun, rng.uniform(0, 0.02 if begun else seconds / 2))
            code, batches = scoring.run(engine, store, moment if killed < KILLS[engine] else None)
            assert code in (0, -9)
            killed += code == -9
            after = {name: stored(store, name) for name in members}
            for name in members:
                had = ~np.isnan(before[name])
                np.testing.assert_array_equal(after[name][had], before[name][had])
                expected = np.where(np.isnan(after[name]), np.nan, truth[name])
                np.testing.assert_allclose(after[name], expected, atol=TOLERANCE)
            cut_short = []
            for name, texts in batches:
                times.update((name, text) for text in texts)
                lost = [text for text in texts if np.isnan(after[name][text])]
                cut_short += [bool(lost)]
                in_flight.update((name, text) for text in lost)
            workers = WORKERS.get(engine, 1)
            assert sum(cut_short) <= (workers if code == -9 else 0)
            assert workers > 1 or not any(cut_short[:-1])
            resumed += code == 0 and any(not np.isnan(row).all() for row in before.values())
            before = after

        assert not any(np.isnan(row).any() for row in after.values())
        once = Counter((name, text) for name in members for text in range(TEXTS))
        assert times == in_flight + once

    assert killed == KILLS[engine]
    assert resumed >= 2
