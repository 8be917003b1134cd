"""Every message about a suite file, word by word. See README.md for how to add one."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rmcheck.errors import Problem, SuiteError
from rmcheck.suite.loader import load_suite, parse_suite

INVALID = Path(__file__).parent / "invalid"
NAMES = sorted(path.stem for path in INVALID.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_file_is_refused_with_the_message_beside_it(name, monkeypatch):
    """Each file of the corpus gives exactly the text in its .txt."""
    if name.startswith("text_") and not yaml.__with_libyaml__:
        pytest.skip("PyYAML without libyaml words malformed YAML differently")
    monkeypatch.chdir(INVALID)

    with pytest.raises(SuiteError) as caught:
        load_suite(f"{name}.yaml")

    beside = INVALID / f"{name}.txt"
    message = f"{caught.value}\n"
    if not beside.exists():
        beside.write_text(message, encoding="utf-8")
        pytest.fail(f"{beside.name} was missing and is written; read it, then run again")
    assert message == beside.read_text(encoding="utf-8")


def test_every_message_belongs_to_a_file():
    """No .txt is left over from a file that is gone."""
    assert sorted(path.stem for path in INVALID.glob("*.txt")) == NAMES


def test_all_problems_come_at_once_in_file_order():
    """Whoever repairs a suite sees everything in one run, from top to bottom."""
    with pytest.raises(SuiteError) as caught:
        load_suite(INVALID / "many_at_once.yaml")

    places = [(problem.line, problem.column) for problem in caught.value.problems]

    assert places == sorted(places)
    assert len(places) == 11


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    """A missing suite is a SuiteError as well, so that it is shown without a traceback."""
    with pytest.raises(SuiteError, match=r"gone\.yaml: cannot be read: No such file or directory"):
        load_suite(tmp_path / "gone.yaml")


def test_one_mistake_shared_by_an_alias_is_told_once():
    """Two checks that merge the same wrong mapping give one problem, where it is written."""
    text = """\
rmcheck: 1
pool: {path: pool.jsonl}
checks:
  - &first {name: a, metric: accuracy, at_least: 0.7, where: &code {category: [code]}}
  - {name: b, metric: accuracy, at_least: 0.7, wher: *code}
  - {<<: *first, name: a}
"""

    with pytest.raises(SuiteError) as caught:
        parse_suite(text, "shared.yaml")

    assert [problem.line for problem in caught.value.problems] == [4, 5, 6]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r", "\x85", "\u2028"])
def test_lines_are_counted_as_yaml_counts_them(newline):
    """The excerpt shows the offending line whatever ends the lines."""
    lines = ["rmcheck: 1", "pool: {path: p.jsonl}", "nmae: x", "checks: []"]

    with pytest.raises(SuiteError) as caught:
        parse_suite(newline.join(lines), "lines.yaml")

    first = caught.value.problems[0]
    assert (first.line, first.column) == (3, 1)
    assert "  >   3 | nmae: x\n" in first.excerpt


# What YAML gives a meaning to, what the loader looks for, and what no suite expects.
MARKS = "[]{}:,&*!|>-#'\"%@`?\n\t ~=<\\_\x00\ud800\ufeff\u2028é１"
PIECES = (
    "\n  - |: |: {}|: []|: [{}]|? [a]\n: b|&a |*a|<<: |!!int |!x |---\n|null|0x1F|"
    ".inf|1e400|2001-01-01|12:30:45.5|checks:|metric: ece|worst: true"
)
FRAGMENTS = st.sampled_from([*MARKS, *PIECES.split("|")])


def problems_of(text: str) -> tuple[Problem, ...]:
    """What is wrong with a suite; nothing if it loads."""
    try:
        parse_suite(text, "damaged.yaml")
    except SuiteError as error:
        return error.problems
    return ()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_is_written_the_answer_is_a_suite_or_its_problems(data):
    """No damage to a suite file makes the loader fail in another way."""
    text = (Path(__file__).parent / "valid" / "every_key.yaml").read_text(encoding="utf-8")
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        removed = data.draw(st.integers(0, 12))
        text = text[:start] + data.draw(FRAGMENTS) + text[start + removed :]

    problems = problems_of(text)

    assert all(problem.message and problem.line >= 1 for problem in problems)
