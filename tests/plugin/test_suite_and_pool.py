"""What a suite asks of its pool and the pool has not is the suite's mistake, and is shown there."""

import json

import pytest

from rmcheck.errors import SuiteError
from rmcheck.run.load import load

HEAD = """\
rmcheck: 1
pool: {{path: pool.jsonl{pool}}}
checks:
  - {{name: accuracy, metric: accuracy, at_least: 0.7{check}}}
{more}
"""


@pytest.fixture
def refused(tmp_path):
    """The problems of a suite on a pool with these columns."""

    def problems(columns, *, pool="", check="", more=""):
        rows = [
            {"prompt": f"What is {i}?", "responses": ["a", f"b {i}"], **columns} for i in range(40)
        ]
        (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / "demo.yaml").write_text(HEAD.format(pool=pool, check=check, more=more))
        with pytest.raises(SuiteError) as caught:
            load(tmp_path / "demo.yaml")
        return caught.value.problems

    return problems


def test_a_cluster_that_no_row_has_points_at_the_word_in_the_suite(refused):
    """One problem, not one a row, and no advice to drop the pool."""
    columns = {"golden": [1.0, 0.0], "conversation_id": "c"}
    (problem,) = refused(columns, pool=", cluster: conversation")

    assert (problem.line, problem.column) == (2, 35)
    assert "no single value in field 'conversation', which the suite's `cluster`" in problem.message
    assert "did you mean 'conversation_id'?" in problem.message
    assert "drop" not in str(problem)


def test_everything_that_the_pool_has_not_is_said_at_once(refused):
    """A label column, a slice, and what checks name."""
    found = refused(
        {"golden": [1.0, 0.0], "category": "code"},
        pool=", slices: [topic]",
        check=", where: {topic: code}",
        more="golden: {column: gold, repeat: again}",
    )

    assert ["gold" in p.message or "again" in p.message for p in found[:2]] == [True, True]
    assert [p.line for p in found] == [5, 5, 2, 4]


def test_several_golden_columns_are_answered_with_the_line_to_write(refused):
    """None is called golden, and the suite names none: the problem is shown at the pool."""
    (problem,) = refused({"helpful": [1.0, 0.0], "harmless": [0.0, 1.0]})

    assert problem.line == 2
    assert "Its label columns: helpful, harmless." in str(problem)
    assert "golden: {column: helpful}" in str(problem)


def test_mistakes_of_the_file_and_of_its_pool_are_said_in_one_round(refused):
    """A misspelt key, and a column that the pool has not."""
    found = refused(
        {"golden": [1.0, 0.0]}, pool=", slices: [topic]", more="inconclusiv: warn\nseed: x"
    )

    assert [p.line for p in found] == [5, 6, 2]
    assert "Did you mean 'inconclusive'?" in found[0].message
    assert "no slice column 'topic'" in found[2].message
