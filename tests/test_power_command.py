"""The command `rmcheck power`: what a suite can see, and what it would need."""

import json

import numpy as np
import pytest

from rmcheck.cli import main

SUITE = """\
rmcheck: 1
name: demo
pool: {path: pool.jsonl}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.70}
  - {name: best-of-2, metric: ndr, n: 2, at_least: 0.50, where: {kind: a}}
  - {name: no-regression, metric: accuracy, max_drop: 0.01}
  - {name: worst-kind, metric: accuracy, over: kind, worst: true, at_least: 0.60}
  - {name: ranking, metric: xi, at_least: 0.10}
"""
MODELS = """\
import zlib

def noise(text, salt):
    return zlib.crc32((salt + text).encode()) / 2**32

def good(prompts, responses):
    return [float(r.split()[1]) + 2 * noise(r, "good") for r in responses]

def fair(prompts, responses):
    return [float(r.split()[1]) + 3 * noise(r, "fair") for r in responses]
"""
GOOD, FAIR = (f"--model=python:power_models:{name}?version=1" for name in ("good", "fair"))
BASELINE = FAIR.replace("--model", "--baseline")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory, with a pool of 80 prompts × 5 responses, a suite and two models."""
    rng = np.random.default_rng(0)
    golden = rng.normal(size=(80, 5)).round(3)
    rows = (
        {
            "prompt_id": f"p{i}",
            "prompt": f"What is {i}?",
            "responses": [f"{i}.{j} {g}" for j, g in enumerate(row)],
            "golden": row.tolist(),
            "kind": "a" if i < 40 else "b",
        }
        for i, row in enumerate(golden)
    )
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "demo.yaml").write_text(SUITE)
    (tmp_path / "power_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def blocks(shown):
    """Check name to the lines said about it."""
    parts = [part.splitlines() for part in shown.strip().split("\n\n")]
    return {lines[0].split()[0]: [line.strip() for line in lines] for lines in parts}


def test_every_check_has_a_block_under_its_name(folder, capsys):
    """Names as in the suite, in its order, each with what was measured and what it can see."""
    assert main(["power", "demo.yaml", GOOD, BASELINE]) == 0
    found = blocks(capsys.readouterr().out)

    assert list(found) == [
        f"demo::{name}"
        for name in ("accuracy", "best-of-2", "no-regression", "worst-kind", "ranking")
    ]
    assert "accuracy 0." in found["demo::accuracy"][0]
    assert found["demo::accuracy"][0].endswith("on 80 prompts x 5 responses")
    assert found["demo::best-of-2"][0].endswith("on 40 prompts x 5 responses (kind=a)")
    assert "accuracy drop -0." in found["demo::no-regression"][0]
    assert "on 40 prompts x 5 responses (kind=" in found["demo::worst-kind"][0]
    assert all("sees a difference of 0." in lines[1] for lines in found.values())
    assert "(confidence 95%, power 80%)" in found["demo::accuracy"][1]
    assert "(confidence 97.5%, power 80%)" in found["demo::worst-kind"][1]


def test_designs_are_one_aligned_table(folder, capsys):
    """One row a number of responses, extrapolated ones starred, and the best for each budget."""
    main(["power", "demo.yaml", GOOD, "--drop=0.03", "--samples=3000", "--comparisons=900"])
    lines = blocks(capsys.readouterr().out)["demo::accuracy"]
    header = next(i for i, line in enumerate(lines) if line.startswith("responses"))
    rows = lines[header + 1 : header + 7]

    assert lines[header].split("  ")[2] == "prompts for 0.03"
    assert "3,000 responses see" in lines[header]
    assert "900 comparisons see" in lines[header]
    assert [row.split()[0] for row in rows] == ["2", "3", "4", "5", "8*", "10*"]
    assert any(line.startswith("best for 3,000 responses: ") for line in lines)
    assert any(line.startswith("best for 900 comparisons: ") for line in lines)
    assert "* extrapolated from fewer responses" in lines


def test_a_smaller_drop_and_more_power_need_more_prompts(folder, capsys):
    """Four times the prompts for half the difference."""

    def needed(*options):
        main(["power", "demo.yaml", GOOD, *options])
        lines = blocks(capsys.readouterr().out)["demo::accuracy"]
        [line] = [line for line in lines if line.startswith("a difference of")]
        return int(line.split()[-2].replace(",", ""))

    assert needed("--drop=0.01") == pytest.approx(4 * needed("--drop=0.02"), abs=4)
    assert needed("--power=0.9") > needed("--power=0.8")


def test_a_drop_without_a_baseline_is_said_and_the_others_are_told(folder, capsys):
    """One check that cannot be told about does not keep the others back."""
    assert main(["power", "demo.yaml", GOOD]) == 0
    found = blocks(capsys.readouterr().out)

    assert found["demo::no-regression"] == [
        "demo::no-regression",
        "compares with a baseline: give one with --baseline",
    ]
    assert "sees a difference of" in found["demo::accuracy"][1]


def test_nothing_is_scored_twice(folder, capsys):
    """Scores come from the store that `rmcheck score` filled, and are kept in it."""
    main(["score", "demo.yaml", GOOD])
    store = sorted((folder / ".rmcheck").rglob("*.parquet"))

    status = main(["power", "demo.yaml", GOOD])

    assert status == 0
    assert store
    assert sorted((folder / ".rmcheck").rglob("*.parquet")) == store


def test_a_pool_that_is_too_small_is_refused_with_the_reason(folder, capsys):
    """Where no check can be told anything about, the exit code is 2."""
    lines = (folder / "pool.jsonl").read_text().splitlines(keepends=True)
    (folder / "pool.jsonl").write_text("".join(lines[:20] + lines[40:49]))
    (folder / "demo.yaml").write_text("".join(SUITE.splitlines(keepends=True)[:5]))

    status = main(["power", "demo.yaml", GOOD])

    assert status == 2
    assert capsys.readouterr().out == (
        "demo::accuracy\n"
        "  accuracy: 29 independent prompts are too few to say how much they vary; at least 30\n\n"
    )


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--drop=0", "--drop is 0; valid: a finite number above 0"),
        ("--drop=nan", "--drop is nan; valid"),
        ("--power=1", "--power is 1; valid: a number from 0.5 to below 1"),
        ("--power=80", "--power is 80; valid"),
        ("--samples=0", "--samples is 0; valid: 1 or more"),
        ("--comparisons=-5", "--comparisons is -5; valid: 1 or more"),
        ("--baseline=nope:x", "no model has the scheme 'nope'"),
    ],
)
def test_a_wrong_option_is_a_sentence_and_exit_code_2(folder, capsys, option, said):
    """The option, its value and what is valid; nothing is scored."""
    status = main(["power", "demo.yaml", GOOD, option])
    shown = capsys.readouterr()

    assert status == 2
    assert said in shown.err
    assert shown.out == ""


def test_checks_over_the_steps_of_a_policy_are_told_about(folder, capsys):
    """`holds_to` by the step that sees least, `max_decay` by how much its prompts move the line."""
    rows = map(json.loads, (folder / "pool.jsonl").read_text().splitlines())
    with (folder / "pool.jsonl").open("w") as pool:
        for i, row in enumerate(list(rows)):
            pool.write(json.dumps({**row, "policy_step": 100 * (i % 2)}) + "\n")
    suite = SUITE[: SUITE.index("  - ")] + (
        "  - {name: holds, metric: accuracy, over: policy_step, holds_to: 100, at_least: 0.6}\n"
        "  - {name: decay, metric: accuracy, over: policy_step, max_decay: 0.1}\n"
    )
    (folder / "demo.yaml").write_text(suite)

    assert main(["power", "demo.yaml", GOOD]) == 0
    found = blocks(capsys.readouterr().out)

    assert "on 40 prompts x 5 responses (policy_step=" in found["demo::holds"][0]
    assert found["demo::decay"][0].startswith("demo::decay  accuracy decay ")
    assert all("sees a difference of 0." in lines[1] for lines in found.values())
