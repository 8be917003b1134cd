"""`rmcheck init`: from a file of data to a suite that runs."""

import json
import random

import numpy as np
import pytest
import yaml

from rmcheck.checks.alike import spread_inside, two_alike
from rmcheck.checks.measurement import Sampling, measure
from rmcheck.cli import main
from rmcheck.run.load import load

pytest_plugins = ["pytester"]


def rows(prompts, responses, seed=0):
    """A native pool with golden rewards and a slice."""
    rng = random.Random(seed)
    for i in range(prompts):
        golden = [round(rng.gauss(0, 1), 3) for _ in range(responses)]
        yield {
            "prompt": f"What is {i}?",
            "responses": [f"answer {i} {j}" for j in range(responses)],
            "golden": golden,
            "category": ("code", "chat")[i % 2],
        }


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """A file of 200 prompts with 8 responses each, in the current folder."""
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps(row) for row in rows(200, 8)]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "help.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "data" / "help.jsonl"


def test_a_suite_is_written_for_what_the_data_have(pool, capsys):
    """Ranks and best-of-n where there are responses enough, slices where there are prompts."""
    assert main(["init", "data/help.jsonl"]) == 0

    suite = load(pool.parent.parent / "suites" / "help.yaml").suite
    assert [check.name for check in suite.checks] == [
        "accuracy",
        "ranking",
        "best-of-8",
        "no-regression",
        "worst-category",
    ]
    assert "suites/help.yaml: 5 checks on 200 prompts (native)" in capsys.readouterr().out


def test_an_equal_model_passes_the_bounds(pool):
    """The assumed model with other errors passes a check in about 95 % of runs."""
    main(["init", "data/help.jsonl"])
    loaded = load(pool.parent.parent / "suites" / "help.yaml")
    golden = loaded.labels
    spread = spread_inside(loaded.rewards(golden, golden))
    sampling = Sampling(resamples=400)
    passed = {check.name: [] for check in loaded.suite.checks if check.max_drop is None}
    for seed in range(100, 140):
        rewards = loaded.rewards(two_alike(golden, spread, seed)[0], golden)
        for check in loaded.suite.checks:
            if check.max_drop is None and not check.worst:
                found = measure(check.metric, rewards, sampling=sampling).estimate
                meets = (
                    found.lower >= check.at_least
                    if check.at_least is not None
                    else found.upper <= check.at_most
                )
                passed[check.name].append(meets)

    shares = {name: np.mean(runs) for name, runs in passed.items() if runs}

    assert set(shares) == {"accuracy", "ranking", "best-of-8"}
    assert min(shares.values()) >= 0.8


def test_the_suite_runs_and_a_bad_model_fails_it(pool, pytester):
    """With the fakes that the command names, and with them the other way round."""
    main(["init", str(pool), "--out", str(pytester.path / "help.yaml")])
    run = ["help.yaml", "--rmcheck"]
    good = ["--rmcheck-model=fake:perfect", "--rmcheck-baseline=fake:random"]
    bad = ["--rmcheck-model=fake:random", "--rmcheck-baseline=fake:perfect"]

    assert pytester.runpytest_subprocess(*run, *good).ret == 0
    assert pytester.runpytest_subprocess(*run, *bad).ret == 1


def test_pairs_get_the_checks_that_pairs_can_carry(tmp_path, monkeypatch):
    """No ranks and no best-of-n from two responses; no slice of a few prompts."""
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps(row) for row in rows(50, 2)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines) + "\n")

    assert main(["init", "pairs.jsonl"]) == 0

    suite = yaml.safe_load((tmp_path / "suites" / "pairs.yaml").read_text())
    assert [check["name"] for check in suite["checks"]] == ["accuracy", "no-regression"]


def test_rows_that_are_wrong_are_named_in_the_suite(tmp_path, monkeypatch):
    """The suite is read although the file has faults, and says how many there are."""
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps(row) for row in rows(60, 4)] + ["{"]
    (tmp_path / "broken.jsonl").write_text("\n".join(lines) + "\n")

    assert main(["init", "broken.jsonl"]) == 0

    text = (tmp_path / "suites" / "broken.yaml").read_text()
    assert "    malformed_row: drop  # 1 found" in text


def test_a_workflow_is_written_where_one_is_asked_for(pool):
    """It is YAML and runs the suite."""
    assert main(["init", "data/help.jsonl", "--ci", ".github/workflows/rm.yml"]) == 0

    workflow = yaml.safe_load((pool.parent.parent / ".github/workflows/rm.yml").read_text())
    commands = [step.get("run", "") for step in workflow["jobs"]["gate"]["steps"]]
    assert any("pytest suites/help.yaml --rmcheck" in command for command in commands)


def test_a_pipeline_of_gitlab_is_written_where_its_name_asks_for_one(pool):
    """It runs the suite too."""
    assert main(["init", "data/help.jsonl", "--ci", ".gitlab-ci.yml"]) == 0

    (job,) = yaml.safe_load((pool.parent.parent / ".gitlab-ci.yml").read_text()).values()
    assert "pytest suites/help.yaml --rmcheck" in job["script"][-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ci", "data"], "data is a folder; name a file in it"),
        (["--out", "gate.json"], "gate.json: a suite is YAML; name the file gate.yaml"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_first(pool, capsys, options, message):
    """Before anything is read."""
    assert main(["init", "data/help.jsonl", *options]) == 2
    assert message in capsys.readouterr().err


def test_nothing_is_overwritten_without_a_word(pool, capsys):
    """A suite that somebody has changed stays."""
    main(["init", "data/help.jsonl"])
    written = pool.parent.parent / "suites" / "help.yaml"
    written.write_text("mine")

    assert main(["init", "data/help.jsonl"]) == 2
    assert written.read_text() == "mine"
    assert "--force overwrites it" in capsys.readouterr().err
    assert main(["init", "data/help.jsonl", "--force"]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.pop("golden"), "no response has a golden reward"),
        (
            lambda row: row.update(golden=row["golden"][:1], responses=row["responses"][:1]),
            "no prompt has two judged responses",
        ),
        (
            lambda row: row.update(golden=[3.0] * 4),
            "on every prompt all responses have the same 'golden'",
        ),
        (
            lambda row: row.update(golden=[str(golden) for golden in row["golden"]]),
            "(str); expected a number or null\n    and 39 more like it",
        ),
        (lambda row: row.update(prompt="Why?"), "1 independent prompts (the same prompt counts"),
        (
            lambda row: row.update(helpful=row["golden"], harmless=row.pop("golden")),
            "no column is called golden, and there are several labels: helpful, harmless",
        ),
    ],
    ids=["no label", "one response", "constant", "texts", "one prompt", "two labels"],
)
def test_data_that_decide_nothing_are_refused(change, message, tmp_path, monkeypatch, capsys):
    """Nothing is written, and what is wrong is named with its file."""
    monkeypatch.chdir(tmp_path)
    made = list(rows(40, 4))
    for row in made:
        change(row)
    (tmp_path / "pool.jsonl").write_text("\n".join(map(json.dumps, made)) + "\n")

    assert main(["init", "pool.jsonl"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith(f"rmcheck: {tmp_path / 'pool.jsonl'}") or "pool.jsonl:" in said
    assert not (tmp_path / "suites").exists()


def test_labels_that_are_missing_and_rows_that_repeat_are_told(tmp_path, monkeypatch):
    """The suite says what it does about them, and loads."""
    monkeypatch.chdir(tmp_path)
    made = list(rows(60, 4))
    del made[3]["golden"]
    (tmp_path / "pool.jsonl").write_text("\n".join(map(json.dumps, [*made, made[0]])) + "\n")

    assert main(["init", "pool.jsonl"]) == 0

    text = (tmp_path / "suites" / "pool.yaml").read_text()
    assert "    missing_label: drop  # 1 found" in text
    assert "#   duplicate_row: 1 found, kept" in text


@pytest.mark.parametrize(("prompts", "responses"), [(35, 2), (40, 4), (60, 8)])
def test_no_bound_is_one_that_a_model_without_knowledge_meets(
    prompts, responses, tmp_path, monkeypatch
):
    """Few prompts make wide bounds, and never a check that passes anything."""
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps(row) for row in rows(prompts, responses)]
    (tmp_path / "few.jsonl").write_text("\n".join(lines) + "\n")

    assert main(["init", "few.jsonl"]) == 0

    for check in load(tmp_path / "suites" / "few.yaml").suite.checks:
        if check.at_least is not None:
            assert check.at_least >= {"accuracy": 0.5, "xi": 0.0}[check.metric.name]
        if check.at_most is not None:
            assert check.at_most <= 1


def test_too_few_prompts_to_decide_anything_are_refused(tmp_path, monkeypatch, capsys):
    """No suite is written whose checks would all be inconclusive."""
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps(row) for row in rows(12, 4)]
    (tmp_path / "few.jsonl").write_text("\n".join(lines) + "\n")

    assert main(["init", "few.jsonl"]) == 2
    assert "12 independent prompts, fewer than 30" in capsys.readouterr().err
    assert not (tmp_path / "suites").exists()
