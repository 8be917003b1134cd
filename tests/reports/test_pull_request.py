"""What a pull request shows: a Markdown table, a job's summary, marks on lines of a suite file."""

import re
from dataclasses import replace

import pytest
from test_report_page import CHECK, HOSTILE, data

from rmcheck.reports.github import add_step_summary, annotations
from rmcheck.reports.markdown import markdown

ON_GITHUB = {"GITHUB_ACTIONS": "true"}


def test_the_table_has_a_row_a_check_and_says_why_the_gate_is_closed():
    """A check that fails is bold, and its reason follows the table."""
    lines = markdown(data(CHECK)).splitlines()

    assert lines[0] == "### rmcheck: The gate is closed."
    assert "| **fail** | demo: accuracy | 0.600 | 0.550 to 0.650 | &gt;= 0.75 | 58 |" in lines
    assert lines[-1] == r"- demo: accuracy: 0.600 \[0.550, 0.650\] is below 0.75"


def test_an_error_is_named_with_its_first_line():
    """The whole message stands in the log."""
    error = {"node": "demo.yaml::ece", "message": "\nno golden rewards\nmore"}

    assert markdown(data(errors=[error])).splitlines()[-1] == "- demo.yaml::ece: no golden rewards"


@pytest.mark.parametrize("text", [HOSTILE, "a | b", "line\nbreak", "@everyone", "[x](http://y)"])
def test_names_cannot_break_the_table_or_mention_anybody(text):
    """Whatever a suite is named: one row, no tag, no link, no mention."""
    table = markdown(data(replace(CHECK, name=text, verdict="pass", gate="passed")))
    row = table.splitlines()[4]

    assert len(re.findall(r"(?<!\\)\|", row)) == 7
    assert "<" not in row
    assert not re.search(r"(?<!\\)[@\[]", row)


def test_the_summary_of_a_step_is_appended(tmp_path):
    """Other tools write into the same file."""
    file = tmp_path / "summary.md"
    file.write_text("before\n")

    add_step_summary(data(CHECK), {"GITHUB_STEP_SUMMARY": str(file)})
    add_step_summary(data(CHECK), {})

    assert file.read_text() == "before\n" + markdown(data(CHECK))


def test_a_check_that_closes_the_gate_marks_its_line():
    """An error; a warning where it is one; nothing for one that passes."""
    warned = replace(CHECK, verdict="inconclusive", gate="passed", line=12)
    passed = replace(CHECK, verdict="pass", gate="passed")

    assert list(annotations(data(CHECK, warned, passed), ON_GITHUB)) == [
        "::error file=demo.yaml,line=9,title=rmcheck demo%3A accuracy"
        "::0.600 [0.550, 0.650] is below 0.75",
        "::warning file=demo.yaml,line=12,title=rmcheck demo%3A accuracy"
        "::0.600 [0.550, 0.650] is below 0.75",
    ]
    assert not list(annotations(data(CHECK), {}))


def test_a_name_gives_the_runner_no_second_command():
    """Line breaks and the signs of a property are escaped."""
    hostile = replace(CHECK, name="x\n::set-output name=a::b", path="a,line=1:.yaml")
    (line,) = annotations(data(hostile), ON_GITHUB)

    assert "\n" not in line
    assert line.startswith("::error file=a%2Cline=1%3A.yaml,line=9,title=rmcheck demo%3A x")
    assert line.count("::") == 2
