"""A pool too large for memory is scored file by file, and a killed run goes on where it stopped."""

import gc
import json
import os
import sys
import time
import weakref
from collections import Counter

import numpy as np
import nursery
import pytest

from rmcheck import Rewards, make_metric, measure, measure_shards
from rmcheck.cli import main
from rmcheck.errors import PoolError, UsageError
from rmcheck.models.registry import open_model
from rmcheck.models.trust import trusting
from rmcheck.pool.reading import read_pool
from rmcheck.scoring import shards
from rmcheck.scoring.request import PoolSamples
from rmcheck.scoring.scored_shards import scored_shards
from rmcheck.scoring.shards import ShardScoring, shards_of

JUDGE = """
import os, time
with open("loads", "a") as file:
    file.write("load\\n")
def score(prompts, responses):
    with open("asked", "a") as file:
        file.write("".join(f"{response}\\n" for response in responses))
    time.sleep(float(os.environ.get("SLOW", "0")))
    return [float(len(response)) for response in responses]
"""
MODEL = "python:judge:score?version=1&batch=4"
SHARDS, PROMPTS = 3, 5


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """Three shards of five prompts with two responses, and a function that scores them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "judge", raising=False)
    (tmp_path / "judge.py").write_text(JUDGE)
    (tmp_path / "pool").mkdir()
    for shard in range(SHARDS):
        rows = (
            {"prompt": f"{shard} {i}?", "responses": [f"{shard}.{i}.a", f"{shard}.{i}.bcd"]}
            for i in range(PROMPTS)
        )
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "pool" / f"{shard}.jsonl").write_text(text)
    return tmp_path / "pool"


def command(*arguments):
    """`rmcheck score` on the shards, to the folder `out`."""
    return ["score", "pool", f"--model={MODEL}", "--out=out", "--trust-suites", *arguments]


def lines(folder, name):
    """Lines of a file that the function has written."""
    return (folder / name).read_text().splitlines()


def model():
    """The function as a reward model."""
    with trusting(True):
        return open_model(MODEL)


def test_every_shard_has_a_bundle_with_its_scores(pool, tmp_path, capsys):
    """A bundle is a model like any other, and knows the checkpoint that it comes from."""
    assert main(command()) == 0

    assert "3 files" in capsys.readouterr().out
    for shard in range(SHARDS):
        bundle = open_model(f"scores:{tmp_path / 'out' / f'{shard}.jsonl.parquet'}").load()
        samples = PoolSamples(read_pool(pool / f"{shard}.jsonl"))
        found = bundle.score(bundle.encode(samples))
        assert np.array_equal(found, [len(sample.response) for sample in samples])
        assert bundle.model.identity == model().fingerprint
    assert not list((tmp_path / "out" / shards.UNFINISHED).glob("*/*"))


def test_the_model_is_loaded_once_for_all_shards(pool, tmp_path):
    """And not at all where every shard has been scored."""
    main(command())
    main(command())

    assert lines(tmp_path, "loads") == ["load"]
    assert max(Counter(lines(tmp_path, "asked")).values()) == 1


def test_no_more_than_one_shard_is_in_memory(pool, tmp_path, monkeypatch):
    """Neither texts nor scores of a shard outlive its bundle."""
    made = {"read_pool": [], "ScoreStore": []}
    most = []

    def track(name):
        make = getattr(shards, name)

        def tracked(*given, **named):
            found = make(*given, **named)
            made[name].append(weakref.ref(found))
            gc.collect()
            most.append(sum(one() is not None for one in made[name]))
            return found

        monkeypatch.setattr(shards, name, tracked)

    track("read_pool")
    track("ScoreStore")

    for _ in ShardScoring(model(), tmp_path / "out").run(shards_of([pool])):
        pass

    assert most == [1] * 2 * SHARDS


def test_a_killed_run_goes_on_where_it_stopped(pool, tmp_path):
    """What was stored before kill -9 is not scored again: at most the batch in flight is."""
    script = f"from rmcheck.cli import main; main({command()!r})"
    for _ in range(3):
        before = len(lines(tmp_path, "asked")) if (tmp_path / "asked").exists() else 0
        process = nursery.Forked([sys.executable, "-c", script], env={**os.environ, "SLOW": "0.05"})
        while process.poll() is None:
            if (tmp_path / "asked").exists() and len(lines(tmp_path, "asked")) > before + 4:
                process.kill()
            time.sleep(0.002)
    assert main(command()) == 0

    asked = Counter(lines(tmp_path, "asked"))
    assert len(asked) == SHARDS * PROMPTS * 2
    assert sum(asked.values()) - len(asked) <= 3 * 4
    assert len(list((tmp_path / "out").glob("*.parquet"))) == SHARDS


def test_what_a_kill_left_of_a_finished_shard_is_removed(pool, tmp_path):
    """Killed after the bundle was written, a run leaves a store that nobody needs."""
    main(command())
    left = tmp_path / "out" / shards.UNFINISHED / "1.jsonl.parquet"
    left.mkdir(parents=True)

    assert main(command()) == 0

    assert not left.exists()


def test_a_changed_shard_is_scored_again(pool, tmp_path):
    """A bundle is there for the texts that it was made of."""
    main(command())
    row = {"prompt": "new?", "responses": ["new", "newer"]}
    (pool / "1.jsonl").write_text(json.dumps(row) + "\n")
    main(command())

    assert Counter(lines(tmp_path, "asked"))["newer"] == 1
    assert Counter(lines(tmp_path, "asked"))["0.0.a"] == 1


def test_a_wrong_shard_is_told_when_the_others_are_scored(pool, tmp_path, capsys):
    """Hours of scoring do not end at a bad line."""
    (pool / "0.jsonl").write_text("no row\n")

    assert main(command()) == 2

    assert "0.jsonl:1" in capsys.readouterr().err
    assert len(list((tmp_path / "out").glob("*.parquet"))) == SHARDS - 1


def test_scores_of_another_model_are_not_replaced(pool, tmp_path):
    """A folder belongs to one model."""
    main(command())

    with trusting(True):
        other = open_model(MODEL.replace("version=1", "version=2"))
    scoring = ShardScoring(other, tmp_path / "out").run(shards_of([pool]))

    with pytest.raises(UsageError, match=r"0\.jsonl\.parquet.*another model"):
        list(scoring)


@pytest.mark.parametrize(
    ("spec", "said"),
    [("fake:perfect", "computes nothing"), ("python:judge:score", "version")],
)
def test_models_whose_scores_are_no_facts_are_refused(pool, tmp_path, spec, said):
    """Nothing could be resumed, or every response needs its golden reward."""
    with trusting(True), pytest.raises(UsageError, match=said):
        ShardScoring(open_model(spec), tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["score", "suite.yaml", "--model=fake:perfect", "--out=out"], "not suites"),
        (["score", "suite.yaml", "--model=fake:perfect", "--format=native"], "only --out"),
        (["score", "pool", "--model=fake:perfect", "--out=out", "--engine=ray"], "files of"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(pool, capsys, arguments, said):
    """Suites and shards are two ways to score."""
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_paths_that_are_not_there_are_all_named(pool):
    """Before anything is scored."""
    with pytest.raises(PoolError) as error:
        shards_of([pool, pool / "9.jsonl", pool / "8.jsonl"])
    assert len(error.value.problems) == 2


def test_a_scored_pool_is_measured_in_shards(pool, tmp_path):
    """Metrics over the files are those of the pool in one piece; slices and labels are its own."""
    for shard in range(SHARDS):
        rows = (
            {
                "prompt_id": f"{shard}-{i}",
                "prompt": f"{shard} {i}?",
                "responses": ["a" * (1 + i % 3), "bb", "ccc"],
                "golden": [0.0, float(shard), None if i == 0 else 1.5],
                "side": "left" if i % 2 else "right",
            }
            for i in range(PROMPTS)
        )
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (pool / f"{shard}.jsonl").write_text(text)
    with pytest.raises(UsageError, match="3 of 3 files of pool have no scores in out"):
        scored_shards("pool", "out")
    main(command())

    found = list(scored_shards("pool", "out"))

    counts = [len(shard) for shard in found]
    assert counts == [PROMPTS] * SHARDS
    assert found[1].proxy.tolist()[:2] == [1.0, 2.0]  # one of three answers is not labelled
    assert found[1].golden.tolist()[:5] == [0.0, 1.0, 0.0, 1.0, 1.5]
    assert found[0].slices["side"].tolist() == ["right", "left"] * 2 + ["right"]
    metric = make_metric("accuracy")
    (measured,) = measure_shards([metric], scored_shards("pool", "out"))
    whole = Rewards.from_arrays(
        [row for shard in found for row in np.split(shard.proxy, shard.offsets[1:-1])],
        [row for shard in found for row in np.split(shard.golden, shard.offsets[1:-1])],
    )
    assert measured.estimate.value == pytest.approx(measure(metric, whole).estimate.value)
