"""Faults of the store, of models and of the disk, as a run shows them."""

import json

import pytest

from rmcheck.testing import FakeRewardModel

RULES = """
def length(prompts, responses):
    return [float(len(r)) for r in responses]

def breaks(prompts, responses):
    raise RuntimeError("no such luck")

def short(prompts, responses):
    return [1.0]
"""
KEPT = "python:rules:length?version=1"


@pytest.fixture
def rules(bench):
    """A module of rules beside the suite."""
    bench.makepyfile(rules=RULES)
    bench.syspathinsert()
    return bench


def parts_of(bench):
    """The Parquet parts of the store."""
    return sorted((bench.path / ".rmcheck" / "scores").rglob("*.parquet"))


def test_a_second_run_scores_nothing(gate, rules):
    """What was scored once is read from the store, and the report says so."""
    gate(model=KEPT)
    gate("--rmcheck-report=out", model=KEPT)

    report = json.loads((rules.path / "out" / "report.json").read_text())
    done = report["suites"][0]["models"][0]["scoring"]

    assert (done["scored"], done["from_store"]) == (0, 900)


def test_a_damaged_part_is_an_error_that_names_it(gate, rules):
    """Exit code not zero, the file and the way out, no traceback, and the other parts stay."""
    gate(model=KEPT)
    part = parts_of(rules)[0]
    part.write_bytes(part.read_bytes()[:-40])

    result = gate(model=KEPT)
    output = result.stdout.str()

    assert result.ret == 1
    assert part.name in output
    assert "delete" in output.lower()
    assert "rmcheck/run/" not in output
    assert "INTERNALERROR" not in output


def test_a_store_that_takes_no_files_is_an_error_before_scoring(gate, rules):
    """A file stands where the folder should be."""
    (rules.path / ".rmcheck").write_text("not a folder")

    result = gate(model=KEPT)

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*a file stands where the folder of stored scores should be*"])


@pytest.mark.parametrize(("rule", "said"), [("breaks", "no such luck"), ("short", "900 samples")])
def test_a_function_that_fails_is_an_error_of_the_checks(gate, rules, rule, said):
    """Its own words are shown, and nothing is decided."""
    result = gate(model=f"python:rules:{rule}")

    assert result.ret == 1
    assert result.parseoutcomes() == {"errors": 6}
    assert said in result.stdout.str() or "rewards" in result.stdout.str()


def test_a_report_that_cannot_be_written_fails_the_run(gate, bench):
    """A file came to stand where the folder should be."""
    (bench.path / "conftest.py").write_text(
        "def pytest_sessionstart(session): (session.path / 'out').write_text('')"
    )

    result = gate("--rmcheck-report=out")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["rmcheck: the report cannot be written: *"])


def test_a_report_in_place_of_a_file_is_refused_before_anything_is_scored(gate, bench):
    """It is a slip of the command line."""
    result = gate("--rmcheck-report=demo.yaml")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "is a file, or in one; a report is a folder" in result.stderr.str()


def test_a_check_that_is_not_judged_is_named_under_the_table(gate):
    """So that nobody takes the table for all that was asked."""
    gate(baseline=None).stdout.fnmatch_lines(["*not judged, see ERRORS: demo.yaml::no-regression"])


def test_a_report_with_an_unreadable_suite_never_says_passed(gate, bench):
    """The other suite passes; the one that cannot be read is among the errors."""
    (bench.path / "wrong.yaml").write_text("rmcheck: 1\nchecks: []\n")

    gate("--rmcheck-report=out", "--continue-on-collection-errors")
    report = json.loads((bench.path / "out" / "report.json").read_text())

    assert report["passed"] is False
    assert [error["node"] for error in report["errors"]] == ["wrong.yaml"]
    assert len(report["checks"]) == 6


def test_one_unjudgeable_check_does_not_keep_the_others_back(gate, bench):
    """Golden is constant in one slice: that check is an error, the rest is decided."""
    rows = [json.loads(line) for line in (bench.path / "pool.jsonl").read_text().splitlines()]
    for row in rows:
        if row["category"] == "code":
            row["golden"] = [1.0] * len(row["golden"])
    (bench.path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    result = gate("-k", "by-category")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*accuracy is undefined*"])


def test_the_golden_model_is_scored_for_suites_that_name_one(gate, rules):
    """`golden: {model: …}` needs no label column; a faulty golden RM is an error."""
    suite = rules.path / "demo.yaml"
    text = suite.read_text()
    suite.write_text(text + "golden: {model: 'python:rules:length'}\n")
    assert gate("--rmcheck-trust-suites", model=KEPT).ret == 0

    suite.write_text(text + "golden: {model: 'fake:nan'}\n")
    assert gate(model=KEPT).parseoutcomes() == {"errors": 6}


def test_the_public_fakes_are_those_of_the_command_line():
    """`rmcheck.testing` and `fake:` are one class."""
    assert FakeRewardModel.scheme == "fake"


def test_models_are_loaded_one_after_another(gate, rules, monkeypatch):
    """Golden RM, baseline and candidate need not fit in memory together."""
    from rmcheck.models.kinds.functions.function import FunctionModel, FunctionSession

    events, load = [], FunctionModel.load
    monkeypatch.setattr(
        FunctionModel, "load", lambda self: events.append(("load", self.spec)) or load(self)
    )
    monkeypatch.setattr(
        FunctionSession, "close", lambda self: events.append(("close", self.model.spec))
    )
    suite = rules.path / "demo.yaml"
    suite.write_text(suite.read_text() + "golden: {model: 'python:rules:length?version=g'}\n")

    result = gate("--rmcheck-trust-suites", model=KEPT, baseline="python:rules:length?version=b")

    assert result.ret == 0
    assert events == [
        (event, f"python:rules:length?version={version}")
        for version in "gb1"
        for event in ("load", "close")
    ]
