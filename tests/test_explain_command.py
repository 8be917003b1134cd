"""`rmcheck explain` and `rmcheck diff`: what runs found, said again afterwards."""

import json

import pytest

from rmcheck.cli import main

pytest_plugins = ["pytester"]

SUITE = """\
rmcheck: 1
pool: {path: pool.jsonl}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.9}
  - {name: doubtful, metric: accuracy, at_least: 0.5}
  - {name: worst, metric: accuracy, over: topic, worst: true, at_least: 0.9}
"""


@pytest.fixture
def runs(pytester):
    """Folders of the reports of a perfect model and of one that knows nothing."""
    row = {"responses": ["a", "b"], "golden": [0, 1]}
    rows = [{"prompt": f"q{i}", "topic": "xy"[i % 2], **row} for i in range(80)]
    pytester.path.joinpath("pool.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    pytester.path.joinpath("demo.yaml").write_text(SUITE)
    for model in ("perfect", "random"):
        options = (f"--rmcheck-model=fake:{model}", f"--rmcheck-report={model}")
        pytester.runpytest_inprocess("demo.yaml", "--rmcheck", *options)
    return "perfect", "random"


def test_a_metric_is_explained(capsys):
    """Which end is better, the formula, each setting, when not to believe it, and the source."""
    assert main(["explain", "bon_drop_ratio"]) == 0

    said = capsys.readouterr().out
    assert said.startswith("bon_drop_ratio: lower is better\n")
    assert "1 − Σ_i" in said
    assert "min_golden_gain (default: 0.0): Mean golden gain" in said
    assert "When not to believe it: It is about best-of-n" in said
    assert "Source: Wen et al. 2024" in said


def test_an_unknown_metric_is_named_with_the_near_miss(capsys):
    """A slip costs one look."""
    assert main(["explain", "acuracy"]) == 2
    assert "Did you mean 'accuracy'?" in capsys.readouterr().err


def test_a_check_of_a_run_says_what_would_open_the_gate(runs, capsys):
    """A pass wants nothing, a fail another checkpoint, an undecided check so many prompts."""
    said = {}
    for run, name in (("perfect", "accuracy"), ("random", "accuracy"), ("random", "doubtful")):
        capsys.readouterr()
        assert main(["explain", name, "--report", run]) == 0
        said[run, name] = " ".join(capsys.readouterr().out.split())

    assert "meets >= 0.9: nothing is wanted." in said["perfect", "accuracy"]
    assert "Even its upper bound misses >= 0.9." in said["random", "accuracy"]
    assert "This checkpoint would pass at_least: 0." in said["random", "accuracy"]
    assert "its value does not settle it" in said["random", "doubtful"]
    assert "accuracy: higher is better" in said["random", "doubtful"]


@pytest.mark.parametrize("name", ["demo::accuracy", "demo.yaml::accuracy", "demo: accuracy"])
def test_a_check_is_found_by_each_name_that_a_run_shows(runs, name, capsys):
    """As the table, the last line of a failure and the page have it."""
    assert main(["explain", name, "--report", "perfect"]) == 0
    assert "demo: accuracy" in capsys.readouterr().out


def test_a_check_that_is_not_in_the_run_is_named(runs, capsys):
    """With those that are."""
    assert main(["explain", "acuracy", "--report", "random"]) == 2
    said = capsys.readouterr().err
    assert "no check 'acuracy' in this run" in said
    assert "Checks: accuracy, doubtful, worst." in said


def test_two_runs_are_compared(runs, capsys):
    """Exit code 1 names what passed before, and a worst slice is one row whichever slice it is."""
    assert main(["diff", "perfect", "random"]) == 1

    said = capsys.readouterr().out
    rows = [line for line in said.splitlines() if line.startswith("demo: ")]
    assert [line.split("  ")[0].split(" [")[0] for line in rows] == [
        "demo: accuracy",
        "demo: doubtful",
        "demo: worst",
    ]
    assert rows[0].split()[2] == "1.000"
    assert rows[0].split()[-2:] == ["pass", "fail"]
    assert "old: candidate fake:perfect" in said
    assert said.splitlines()[-1].startswith("no longer pass: demo: accuracy, demo: doubtful")


def test_a_run_is_not_worse_than_itself(runs, capsys):
    """Exit code 0, also where checks fail in both."""
    assert main(["diff", "random", "random"]) == 0
    assert "no longer pass" not in capsys.readouterr().out


def test_what_is_no_report_is_refused(runs, capsys):
    """With the path."""
    assert main(["diff", "perfect", "nowhere"]) == 2
    said = capsys.readouterr().err
    assert "nowhere cannot be read" in said
    assert "--rmcheck-report=FOLDER" in said


@pytest.mark.parametrize("name", ["padding", "probe"])
def test_a_probe_is_explained_with_its_measures(name, capsys):
    """What it does, and what a check of it can ask for."""
    assert main(["explain", name]) == 0

    said = capsys.readouterr().out
    assert ("Adds sentences without content" in said) == (name == "padding")
    assert "shift" in said
    assert "flips" in said
