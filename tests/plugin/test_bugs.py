"""What nobody expected: a sentence instead of forty lines of ours, and a run that fails."""

import json

import pytest

from conftest import SUITE
from rmcheck.cli import EXIT_BUG, main
from rmcheck.run.runner import Runner
from rmcheck.suite import loader


def fail(*_, **__):
    """An exception that is none of ours."""
    raise LookupError("no luck\x1b[2J")


def assert_told(result, code):
    """The bug is named, without traceback and without INTERNALERROR."""
    text = result.stdout.str() + result.stderr.str()
    assert result.ret == code
    assert "a bug in rmcheck: LookupError: no luck\\x1b[2J" in text
    assert "Please report it" in text
    assert "INTERNALERROR" not in text
    assert "def fail" not in text
    assert "Traceback" not in text


def test_a_bug_while_judging_is_an_error_of_its_check(gate, monkeypatch):
    """`pytest -v` shows the traceback."""
    monkeypatch.setattr(Runner, "record", fail)

    assert_told(gate(), pytest.ExitCode.TESTS_FAILED)
    assert "def fail" in gate("-v").stdout.str()


def test_a_bug_while_reading_a_suite_is_an_error_of_the_file(gate, monkeypatch):
    """Collection fails, as for a wrong suite."""
    monkeypatch.setattr(Runner, "add", fail)

    assert_told(gate(), pytest.ExitCode.INTERRUPTED)


def test_a_bug_while_models_are_opened_is_an_error_of_the_call(gate, monkeypatch):
    """Before anything is collected."""
    monkeypatch.setattr(Runner, "__init__", fail)

    assert_told(gate(), pytest.ExitCode.USAGE_ERROR)


def test_a_bug_in_the_table_fails_a_run_that_passed(gate, monkeypatch):
    """What the checks found is in pytest's own lines and in the report."""
    monkeypatch.setattr("rmcheck.pytest_plugin.gathered.table", fail)

    assert_told(gate(), pytest.ExitCode.INTERNAL_ERROR)


def test_a_bug_at_the_end_fails_a_run_that_passed(gate, bench, monkeypatch):
    """The table is shown all the same, and the report does not say passed."""
    monkeypatch.setattr(Runner, "suite_data", fail)

    result = gate("--rmcheck-report=out")

    assert_told(result, pytest.ExitCode.INTERNAL_ERROR)
    assert json.loads((bench.path / "out" / "report.json").read_text())["passed"] is False
    result.stdout.fnmatch_lines(["*6 checks: 6 pass."])


def test_a_bug_in_a_command_has_an_exit_code_of_its_own(bench, monkeypatch, capsys):
    """`--debug` shows the traceback."""
    monkeypatch.setattr("rmcheck.run.load.load_suite", fail)

    assert main(["validate", "demo.yaml"]) == EXIT_BUG
    said = capsys.readouterr().err
    assert "rmcheck: a bug in rmcheck: LookupError: no luck\\x1b[2J" in said
    assert "rmcheck --debug" in said
    with pytest.raises(LookupError):
        main(["--debug", "validate", "demo.yaml"])
    assert loader.load_suite(bench.path / "demo.yaml")


def test_a_folder_that_cannot_be_written_is_no_bug(bench, capsys):
    """What the operating system refuses is said with the file."""
    (bench.path / "file").write_text("")

    code = main(["score", "demo.yaml", "--model=fake:perfect", "--bundle=file/scores.parquet"])

    assert code == 2
    assert "file/scores.parquet" in capsys.readouterr().err


def test_half_a_character_in_a_pool_is_a_malformed_row(gate, bench):
    """It would be lost on the way into a report or to another process."""
    row = {"prompt": "Why?", "responses": ["\ud800", "b"], "golden": [0, 1]}
    with (bench.path / "pool.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")

    result = gate("--rmcheck-report=out")

    text = result.stdout.str()
    assert result.ret != 0
    assert "malformed_row: 1 in 91 rows" in text
    assert r"half a character ('\ud800')" in text
    assert "INTERNALERROR" not in text
    assert json.loads((bench.path / "out" / "report.json").read_text())["passed"] is False


def test_no_old_report_stays_beside_a_newer_run_that_failed(gate, bench):
    """Neither where no model can be opened nor where the new one cannot be written."""
    report = bench.path / "out" / "report.json"
    gate("--rmcheck-report=out")
    assert json.loads(report.read_text())["passed"] is True

    result = gate("--rmcheck-report=out", model="hf:nowhere")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not report.exists()
    assert list(report.parent.iterdir()) == []


def test_hundreds_of_wrong_checks_are_listed_up_to_fifty(bench, capsys):
    """The file is read once for all of them."""
    head = SUITE[: SUITE.index("checks:")]
    checks = "".join(
        f"  - {{name: c{i}, metric: xi, at_leats: 1}}{' ' * 999}# far\n" for i in range(400)
    )
    (bench.path / "many.yaml").write_text(f"{head}checks:\n{checks}")

    assert main(["validate", "many.yaml"]) == 2
    said = capsys.readouterr().err
    assert said.count("unknown key 'at_leats'") == 50
    assert max(map(len, said.splitlines())) < 400
    assert "problems in many.yaml; these are the first 50" in said
