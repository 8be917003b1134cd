"""What a run leaves for people: files in the report's folder, and what GitHub Actions shows."""

import pytest


@pytest.fixture
def charts():
    """Pages have their charts."""


@pytest.mark.parametrize("how", [(), ("-n2",)], ids=["plain", "xdist"])
def test_a_report_is_a_page_and_a_table_too(how, gate, bench):
    """All checks stand in both, plain and under xdist."""
    gate("--rmcheck-report=out", *how, model="fake:length_biased")

    for name in ("report.html", "report.md"):
        text = (bench.path / "out" / name).read_text()
        assert "The gate is closed." in text
        for check in ("accuracy", "best-of-8", "no-regression", "worst-category"):
            assert check in text
    assert "<svg" in (bench.path / "out" / "report.html").read_text()


def test_a_run_that_fails_before_it_can_judge_leaves_no_old_page(gate, bench):
    """The page of an earlier run never stands for this one."""
    gate("--rmcheck-report=out")
    (bench.path / "pool.jsonl").write_text("{")
    gate("--rmcheck-report=out")

    page = (bench.path / "out" / "report.html").read_text()
    assert "The gate is closed. 6 pass" not in page
    assert "could not be decided" in page


def test_github_shows_the_answer_and_marks_the_lines(gate, bench, monkeypatch):
    """Where the environment says so, and only there."""
    assert "::error" not in gate(model="fake:length_biased").stdout.str()
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(bench.path / "summary.md"))

    result = gate(model="fake:length_biased")

    result.stdout.fnmatch_lines(
        ["::error file=demo.yaml,line=7,title=rmcheck demo%3A best-of-8::*"]
    )
    assert "The gate is closed." in (bench.path / "summary.md").read_text()
