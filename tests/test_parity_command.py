"""The command `rmcheck parity`: the same responses through two engines."""

import json
import re

import pytest

from rmcheck.cli import main

ENGINES = """\
import math, zlib

def noise(text):
    return zlib.crc32(text.encode()) / 2**32

def exact(prompts, responses):
    return [4 * noise(r) - 2 for r in responses]

def rounded(prompts, responses):
    return [x + 1e-5 for x in exact(prompts, responses)]

def half(prompts, responses):
    return [x + 0.1 * (noise("n" + r) - 0.5) for x, r in zip(exact(prompts, responses), responses)]

def squashed(prompts, responses):
    return [1 / (1 + math.exp(-x)) for x in exact(prompts, responses)]

def reversed(prompts, responses):
    return [-x for x in exact(prompts, responses)]
"""
SUITE = """\
rmcheck: 1
name: demo
pool: {path: pool.jsonl}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.70}
"""
EXACT = "python:engines:exact?version=1"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """The current directory, with a pool of 20 prompts × 4 responses, a suite and five engines."""
    rows = (
        {
            "prompt_id": f"p{i}",
            "prompt": f"What is {i}?",
            "responses": [f"answer {i} {j}" for j in range(4)],
            "golden": [0, 1, 2, 3],
        }
        for i in range(20)
    )
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "demo.yaml").write_text(SUITE)
    (tmp_path / "engines.py").write_text(ENGINES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def compare(capsys, engine, *options, pool="--pool=pool.jsonl"):
    """Exit code and output of a comparison with the exact engine."""
    status = main(["parity", EXACT, f"python:engines:{engine}?version=1", pool, *options])
    return status, capsys.readouterr().out


@pytest.mark.parametrize("pool", ["--pool=pool.jsonl", "--suite=demo.yaml"])
def test_engines_that_differ_by_rounding_agree(pool, capsys):
    """Exit code 0, over a pool or the pool of a suite."""
    status, shown = compare(capsys, "rounded", pool=pool)

    assert status == 0
    assert "80 responses to 20 prompts" in shown
    assert "0 of 120 pairs flip inside prompts" in shown
    assert "Spearman      1.000000" in shown
    assert "parity holds" in shown


def test_suites_are_compared_one_by_one(tmp_path, capsys):
    """Each suite has its own comparison; one that differs is enough to fail."""
    (tmp_path / "other.yaml").write_text(SUITE.replace("demo", "other"))

    status = main(
        ["parity", EXACT, "python:engines:half?version=1", "--suite", "demo.yaml", "other.yaml"]
    )
    shown = capsys.readouterr().out

    assert status == 1
    assert shown.count("FAIL  a reward differs") == 2
    assert shown.count("80 scored") == 2
    assert "demo: engines:exact against engines:half" in shown
    assert "other: engines:exact against engines:half" in shown


def test_drift_fails_with_the_texts_that_drift_most(capsys):
    """Exit code 1; each text with both rewards and the beginning of what it says."""
    status, shown = compare(capsys, "half", "--worst=3")

    assert status == 1
    assert re.search(r"FAIL  a reward differs by 0\.0\d+, more than 0\.001", shown)
    assert len(re.findall(r"→ .* p\d+ response \d: 'answer ", shown)) == 3


def test_half_precision_passes_with_bounds_of_its_own(capsys):
    """Drift is allowed and pairs closer than the tolerance may flip."""
    bounds = ("--max-difference=0.1", "--tolerance=0.1")
    status, shown = compare(capsys, "half", *bounds)

    assert status == 0, shown


def test_flips_fail_on_their_own(capsys):
    """With drift allowed, pairs that change their order beyond the tolerance still fail."""
    status, shown = compare(capsys, "reversed", "--max-difference=100")
    enough, _ = compare(capsys, "reversed", "--max-difference=100", "--max-flips=120")

    assert (status, enough) == (1, 0)
    assert "FAIL  120 of 120 pairs change their order, more than 0 (--max-flips)" in shown


def test_squashed_rewards_are_recognised(capsys):
    """The order is the same, the rewards are not, and the reason is told."""
    status, shown = compare(capsys, "squashed")

    assert status == 1
    assert "0 of 120 pairs flip" in shown
    assert "looks like the sigmoid of the first" in shown


def test_scores_are_kept_like_all_others(capsys):
    """A second comparison scores nothing."""
    _, first = compare(capsys, "rounded")
    _, second = compare(capsys, "rounded", "--max-difference=0")

    assert first.count("80 scored") == 2
    assert second.count("80 from the store") == 2
    assert "a reward differs by 1e-05" in second


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([EXACT, EXACT, "--pool=pool.jsonl"], "are one model"),
        ([EXACT, "python:engines:exakt", "--pool=pool.jsonl"], "exakt"),
        ([EXACT, "fake:constant", "--pool=nope.jsonl"], "nope.jsonl"),
        ([EXACT, "fake:constant", "--pool=pool.jsonl", "--tolerance=-1"], "--tolerance is -1.0"),
        ([EXACT, "fake:constant", "--pool=pool.jsonl", "--worst=-1"], "--worst is -1"),
        ([EXACT, "fake:constant", "--pool=pool.jsonl", "--max-difference=nan"], "is nan"),
        ([EXACT, "fake:constant", "--suite=demo.yaml", "--format=native"], "--format is for"),
        ([EXACT, "fake:constant", "--suite=demo.yaml", "--too-long=left"], "--too-long is for"),
        ([EXACT, "fake:perfect", "--pool=pool.jsonl"], "golden"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(arguments, said, capsys):
    """Exit code 1 is for engines that differ, and for nothing else."""
    status = main(["parity", *arguments])
    error = capsys.readouterr().err

    assert status == 2
    assert said in error
    assert "Traceback" not in error


def test_a_pool_or_suites_must_be_named():
    """Neither is a mistake of the command line."""
    with pytest.raises(SystemExit, match="2"):
        main(["parity", EXACT, "fake:constant"])


def test_engines_of_one_name_are_told_apart_by_their_settings(capsys):
    """A checkpoint and itself with other settings: both are shown as they were given."""
    main(["parity", EXACT, "python:engines:exact?version=2", "--pool=pool.jsonl"])

    title = "pool.jsonl: python:engines:exact?version=1 against python:engines:exact?version=2"
    assert title in capsys.readouterr().out
