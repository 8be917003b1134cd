"""The command `rmcheck`: scoring into a bundle, validating suites."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nursery
import pyarrow.parquet as pq
import pytest

from rmcheck import metric_names
from rmcheck.cli import main
from rmcheck.pool.reading import reader_names

SUITE = """\
rmcheck: 1
name: demo
pool: {path: pool.jsonl}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.70}
  - {name: no-regression, metric: accuracy, max_drop: 0.01}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory, with a pool of 40 prompts and a suite."""
    rows = (
        {
            "prompt_id": f"p{i}",
            "prompt": f"What is {i}?",
            "responses": [f"{i} " * (j + 1) for j in range(4)],
            "golden": [0, 1, 2, 3],
        }
        for i in range(40)
    )
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "demo.yaml").write_text(SUITE)
    (tmp_path / "command_rules.py").write_text(
        "def length(prompts, responses):\n    return [float(len(r)) for r in responses]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_bundle_gates_like_the_model_it_came_from(folder, capsys):
    """`rmcheck score` needs no baseline; `scores:` reads its bundle without the model."""
    model = "python:command_rules:length?version=1"
    assert main(["score", "demo.yaml", f"--model={model}", "--bundle=scores.parquet"]) == 0
    assert "160 scores" in capsys.readouterr().out

    models = ["--rmcheck-model=scores:scores.parquet", "--rmcheck-baseline=fake:random"]
    command = [sys.executable, "-m", "pytest", "--rmcheck", "demo.yaml", *models]
    done = nursery.run(command, cwd=folder)

    assert done.returncode == 0, done.stdout
    assert "2 checks: 2 pass." in done.stdout

    command[-1] = f"--rmcheck-baseline={model}"
    done = nursery.run(command, cwd=folder)

    assert done.returncode == 4
    assert f"scores:scores.parquet and {model} are one model" in done.stderr


@pytest.mark.parametrize("keyed", [False, True])
def test_scores_of_other_texts_are_told_or_refused(folder, capsys, keyed):
    """With every text replaced, rows with text_key are refused and others come with a warning."""
    main(["score", "demo.yaml", "--model=python:command_rules:length", "--bundle=all.parquet"])
    table = pq.read_table(folder / "all.parquet")
    columns = table.column_names if keyed else ["prompt_id", "response", "score"]
    pq.write_table(table.select(columns).replace_schema_metadata(), folder / "some.parquet")
    pool = (folder / "pool.jsonl").read_text().replace("What is", "Who is")
    (folder / "pool.jsonl").write_text(pool)

    model = "--rmcheck-model=scores:some.parquet"
    command = [sys.executable, "-m", "pytest", "--rmcheck", "demo.yaml", model]
    command += ["--rmcheck-baseline=fake:perfect", "--rmcheck-report=out"]
    done = nursery.run(command, cwd=folder)
    report = (folder / "out" / "report.json").read_text()

    if keyed:
        assert "the pool has changed since it was scored" in done.stdout
        assert done.returncode == 1
    else:
        assert "candidate scores:some.parquet: found by position, texts not verified" in done.stdout
        assert "found by position, texts not verified" in report


def test_scoring_again_scores_nothing(folder, capsys):
    """What the store has is not scored twice."""
    arguments = ["score", "demo.yaml", "--model=python:command_rules:length?version=1"]
    main(arguments)
    first = capsys.readouterr().out

    main(arguments)

    assert "160 scored" in first
    assert capsys.readouterr().out == "python:command_rules:length?version=1: 160 from the store\n"


def test_validate_reads_the_suite_and_its_pool(folder, capsys):
    """What will be checked, on how much."""
    assert main(["validate", "demo.yaml"]) == 0
    assert "demo.yaml: 2 checks on 40 prompts, 160 responses (native)" in capsys.readouterr().out


def test_validate_says_how_often_an_equal_checkpoint_passes(folder, capsys):
    """Beside each check of a drop, with what is assumed; not for other checks."""
    suite = folder / "demo.yaml"
    assert main(["validate", "demo.yaml"]) == 0
    shown = capsys.readouterr().out

    assert "  accuracy: " not in shown
    [line] = [line for line in shown.splitlines() if "no-regression" in line]
    [share, needed] = re.fullmatch(
        r"  no-regression: an equal checkpoint passes max_drop 0\.01 in (\d+)% of runs, and "
        r"(0\.\d+) in 95%",
        line,
    ).groups()
    assert 5 <= int(share) <= 30
    assert 0.05 <= float(needed) <= 0.2
    assert "correlate 0.7 with golden inside prompts" in shown

    suite.write_text(suite.read_text().replace("max_drop: 0.01", f"max_drop: {needed}"))
    main(["validate", "demo.yaml"])
    assert re.search(rf"max_drop {needed} in 9[5-7]% of runs", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("golden", "said"),
    [
        ([0, 1, 2, 3], []),
        ([1, 1, 1, 1], ["accuracy is undefined: on all 40 prompts the golden rewards are all"]),
        (None, ["7 independent prompts, fewer than 30 (on 33 more the golden rewards are all"]),
    ],
)
def test_validate_says_which_checks_no_model_can_pass(folder, capsys, golden, said):
    """Before a model has scored anything: golden prefers no answer, or on too few prompts."""
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    for i, row in enumerate(rows):
        row["golden"] = golden or [int(i < 7), 0, 0, 0]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert main(["validate", "demo.yaml"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("accuracy: no model can pass: ") == len(said)
    assert all(f"accuracy: no model can pass: {one}" in shown for one in said)


def test_validate_says_of_the_quickstart_what_its_page_shows(capsys, monkeypatch):
    """And its bound is one that an equal checkpoint passes."""
    root = Path(__file__).resolve().parents[1]
    monkeypatch.chdir(root)
    assert main(["validate", "suites/quickstart"]) == 0
    shown = capsys.readouterr().out

    assert f"$ rmcheck validate suites/quickstart\n{shown}" in (
        root / "docs" / "suite.md"
    ).read_text("utf-8")
    assert "in 100% of runs" in shown


def test_validate_takes_a_golden_rm_to_be_normal(folder, capsys):
    """What it will give is not known before it has scored."""
    suite = folder / "demo.yaml"
    suite.write_text(
        suite.read_text() + "golden: {model: 'python:command_rules:length?version=1'}\n"
    )
    assert main(["validate", "demo.yaml"]) == 0
    assert "an equal checkpoint passes max_drop 0.01 in" in capsys.readouterr().out


def test_validate_says_why_it_cannot_tell_how_often_one_passes(folder, capsys):
    """Below `min_prompts` nothing passes, and that is no mistake in the suite."""
    suite = folder / "demo.yaml"
    suite.write_text(suite.read_text() + "min_prompts: 60\n")

    assert main(["validate", "demo.yaml"]) == 0
    assert "is not known: 40 independent prompts, fewer than 60" in capsys.readouterr().out


def test_validate_opens_the_models_that_a_suite_names(folder, capsys):
    """A golden RM that is not there is found before the gate runs, and no server is asked."""
    suite = folder / "demo.yaml"
    text = suite.read_text() + "serving: {model: http:http://127.0.0.1:9}\n"

    suite.write_text(text)
    assert main(["validate", "demo.yaml"]) == 0

    suite.write_text(text + "golden: {model: hf:runs/missing}\n")
    assert main(["validate", "demo.yaml"]) == 2
    said = capsys.readouterr().err
    assert "golden: {model: hf:runs/missing}" in said
    assert "runs/missing" in said.partition("\n")[0]


def test_validate_prints_the_schema_for_editors(folder, capsys):
    """Wherever rmcheck is installed, with the metrics that are installed there."""
    with pytest.raises(SystemExit) as ended:
        main(["validate", "--schema"])

    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["title"] == "rmcheck suite"


def test_validate_counts_one_check(folder, capsys):
    """One is one."""
    text = (folder / "demo.yaml").read_text()
    (folder / "demo.yaml").write_text(text[: text.rindex("  - {")])

    assert main(["validate", "demo.yaml"]) == 0
    assert "demo.yaml: 1 check on 40 prompts" in capsys.readouterr().out


def test_validate_says_what_a_pool_without_golden_needs(folder, capsys):
    """A pool as `rmcheck sample` writes it: what gives a golden reward is said."""
    row = {"prompt": "Why?", "responses": ["So.", "Because."]}
    (folder / "pool.jsonl").write_text(json.dumps(row) + "\n")

    assert main(["validate", "demo.yaml"]) == 2

    said = " ".join(capsys.readouterr().err.split())
    assert "no label column 'golden'" in said
    assert "golden: {model: SCHEME:LOCATION}" in said
    assert '"golden": [0.9, 0.1' in said


def test_validate_refuses_a_misspelt_suite_in_a_folder(folder, capsys):
    """A file that was meant as a suite is named, whatever stands beside it."""
    (folder / "wrong.yaml").write_text("rmchek: 1\npool: {path: pool.jsonl}\nchecks: []\n")
    (folder / "compose.yaml").write_text("services: {}\n")

    status = main(["validate", "."])
    said = capsys.readouterr()

    assert status == 2
    assert "Did you mean 'rmcheck'?" in said.err
    assert "demo.yaml: " in said.out
    assert "compose" not in said.out + said.err


def test_validate_says_everything_that_is_wrong_and_goes_on(folder, capsys):
    """A wrong suite is shown with its line; the other one is still read."""
    (folder / "wrong.yaml").write_text(SUITE.replace("at_least", "at_leats"))

    status = main(["validate", "wrong.yaml", "demo.yaml"])
    shown = capsys.readouterr()

    assert status == 2
    assert "wrong.yaml:5:" in shown.err
    assert "Did you mean 'at_least'?" in shown.err
    assert "demo.yaml: 2 checks" in shown.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["score", "demo.yaml", "--model=nope:x"], "no model has the scheme 'nope'"),
        (["score", "demo.yaml", "--model=python:command_rules:lenght"], "length"),
        (["score", "missing.yaml", "--model=fake:constant"], "missing.yaml"),
        (["validate", "missing.yaml"], "missing.yaml"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(folder, capsys, arguments, said):
    """No traceback for a user's mistake."""
    status = main(arguments)
    error = capsys.readouterr().err

    assert status == 2
    assert said in error
    assert "Traceback" not in error


def test_a_reader_that_goes_away_is_no_traceback(folder):
    """`rmcheck … | head` ends quietly."""
    code = "import sys; from rmcheck.cli import main; sys.exit(main())"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        command = [sys.executable, "-c", code, "validate", "demo.yaml"]
        done = subprocess.run(command, cwd=folder, stdout=nobody, stderr=-1, text=True, check=False)

    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.parametrize(
    ("named", "listed"),
    [
        ([], "write a first suite for a file of data"),
        (["history"], "keep the runs of a report"),
        (["lab"], "how many prompts and responses a suite needs"),
    ],
)
def test_without_a_command_all_are_listed(named, listed, capsys):
    """A wrong call all the same."""
    assert main(named) == 2
    assert listed in capsys.readouterr().err


def test_a_misspelt_command_is_answered_with_the_near_miss(capsys):
    """Those of the laboratory count too."""
    for typed, meant in (("valdate", "validate"), ("powr", "power")):
        with pytest.raises(SystemExit) as end:
            main([typed, "suites"])
        assert end.value.code == 2
        assert f"no command {typed!r}. Did you mean {meant!r}?" in capsys.readouterr().err


def test_the_gates_help_names_no_laboratory(capsys):
    """`rmcheck --help` lists what the gate needs; `rmcheck lab --help` what lies behind it."""
    with pytest.raises(SystemExit):
        main(["--help"])
    gate = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["lab", "--help"])
    laboratory = capsys.readouterr().out

    assert "validate" in gate
    assert "lab" not in gate.split()
    for name in ("curve", "power", "sample", "study", "training"):
        assert name not in gate.split()
        assert name in laboratory.split()


def test_a_command_of_the_laboratory_runs_under_both_names(tmp_path, capsys):
    """`rmcheck lab training LOG` is `rmcheck training LOG`."""
    missing = str(tmp_path / "run.csv")

    assert main(["training", missing]) == main(["lab", "training", missing]) == 2
    once, again = capsys.readouterr().err.splitlines()
    assert once == again


@pytest.mark.parametrize(
    ("option", "names"), [("metrics", metric_names), ("formats", reader_names)]
)
def test_validate_lists_what_a_suite_can_name(option, names, capsys):
    """A message about an unknown metric or format names this command instead of all of them."""
    with pytest.raises(SystemExit) as ended:
        main(["validate", f"--{option}"])

    assert ended.value.code == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == sorted(names())
