"""Problems that only the pool can tell are shown where the suite says it."""

import pytest

from rmcheck.suite.loader import load_suite
from rmcheck.suite.locate import check_problem, suite_problem

TEXT = """\
rmcheck: 1
pool: {path: pool.jsonl}
golden:
  column: human
checks:
  - name: accuracy
    metric: accuracy
    at_least: 0.7
    over: domain
"""


@pytest.fixture
def suite(tmp_path):
    """The suite above, on disk."""
    path = tmp_path / "suite.yaml"
    path.write_text(TEXT)
    return load_suite(path)


@pytest.mark.parametrize(
    ("key", "place"), [(None, (6, 11)), ("over", (9, 11)), ("at_least", (8, 15))]
)
def test_a_check_problem_points_at_the_value_of_its_key(suite, key, place):
    """Without a key it points at the check's name."""
    problem = check_problem(suite, suite.checks[0], "wrong", key)

    assert (problem.line, problem.column) == place


def test_a_check_problem_points_at_the_check_where_the_key_is_not_written(suite):
    """A default that does not fit is shown at the check."""
    problem = check_problem(suite, suite.checks[0], "too sure", "confidence")

    assert (problem.line, problem.column) == (6, 5)


def test_a_check_problem_is_drawn_like_the_loaders(suite):
    """Excerpt, carets and valid words."""
    problem = check_problem(
        suite, suite.checks[0], "no column 'domain'", "over", valid="Columns: category."
    )

    assert str(problem) == (
        f"{suite.path}:9:11: no column 'domain'\n"
        "\n"
        "      8 |     at_least: 0.7\n"
        "  >   9 |     over: domain\n"
        "        |           ^^^^^^\n"
        "\n"
        "  Columns: category."
    )


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        (("golden", "column"), (4, 11)),
        (("pool", "path"), (2, 14)),
        (("pool", "cluster"), (2, 1)),
        (("seed",), (1, 1)),
        ((), (1, 1)),
    ],
)
def test_a_suite_problem_follows_the_keys_as_far_as_they_are_written(suite, keys, place):
    """What is not written down is shown at the section that it would stand in."""
    problem = suite_problem(suite, "wrong", *keys)

    assert (problem.line, problem.column) == place


def test_a_check_that_was_removed_since_is_named_by_its_old_line(suite):
    """The message survives an edit during a long run."""
    suite.path.write_text(TEXT.replace("name: accuracy", "name: other"))

    problem = check_problem(suite, suite.checks[0], "wrong", "over")

    assert (problem.line, problem.column, problem.excerpt) == (6, 0, "")


@pytest.mark.parametrize("text", [None, "a: ["])
def test_a_file_that_is_gone_or_broken_still_gets_its_message(suite, text):
    """Only the excerpt is lost."""
    suite.path.unlink()
    if text:
        suite.path.write_text(text)

    assert str(suite_problem(suite, "wrong", "pool")) == f"{suite.path}: wrong"
