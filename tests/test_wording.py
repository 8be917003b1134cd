"""Text of others in our messages: visible, and unable to do anything."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.errors import ScoringError
from rmcheck.wording import (
    apart,
    encodable,
    excerpt,
    hub_advice,
    json_text,
    listed,
    printable,
    printable_lines,
)

anything = st.text(st.characters())
commands = st.lists(
    st.sampled_from(["::", "##[", "##vso[", "#", ":", "[", " ", "\n", "\t", "error", "\x1b[2J"])
).map("".join)


@given(anything | commands)
def test_what_is_printable_holds_no_control_character(text):
    """No control, bidirectional or invisible format character is left, and no line break."""
    shown = printable(text)

    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in shown)
    assert not set(shown) & set(
        "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\ufeff"
    )


@given(anything | commands)
def test_lines_hold_no_command_to_a_runner(text):
    """No line begins with `::`, and nowhere stands `##[` or `##vso[`."""
    for line in printable_lines(text).split("\n"):
        assert not line.lstrip().startswith("::")
        assert "##[" not in line
        assert "##vso[" not in line


@given(anything | commands)
def test_printable_text_stays_as_it_is(text):
    """Errors are quoted by other errors: a second time changes nothing."""
    assert printable(printable(text)) == printable(text)
    assert printable_lines(printable_lines(text)) == printable_lines(text)


@pytest.mark.parametrize(
    "text", ["Wie geht’s? \N{THUMBS UP SIGN}", "日本語\u3000です", "می\u200cخواهم", "a: b # c"]
)
def test_what_people_write_stays_as_it_is(text):
    """Scripts of the world, their joiners and wide spaces are no danger."""
    assert printable(text) == text


def test_escapes_are_those_of_python():
    """What stood there can be read off."""
    assert printable("a\nb\x1b[2J\u202e\ud800\t") == r"a\nb\x1b[2J\u202e\ud800\t"
    assert printable(" ::error::x ##[group]") == r" :\:error::x #\#[group]"


def test_every_error_is_printable():
    """Whatever a file or a server says, the message of our error is lines of plain text."""
    assert str(ScoringError("says: \x1b]0;7 passed\x07\n::error::x")) == (
        "says: \\x1b]0;7 passed\\x07\n:\\:error::x"
    )


@given(st.dictionaries(anything | commands, anything | commands))
def test_json_is_the_same_data_and_printable(data):
    """Programs read what was written; nobody's terminal is touched by looking at the file."""
    text = json_text(data)

    assert json.loads(text) == data
    assert printable_lines(text) == text


@given(st.recursive(anything, lambda inner: st.lists(inner) | st.dictionaries(anything, inner)))
def test_encodable_data_can_cross_a_pipe(data):
    """Lone surrogates are the only text that UTF-8 has no bytes for."""
    repr(encodable(data)).encode()
    json.dumps(encodable(data), ensure_ascii=False).encode()


def test_an_excerpt_is_one_line_of_bounded_length():
    """White space is one space; what is cut ends in an ellipsis."""
    assert excerpt("a\n  b", 10) == "a b"
    assert excerpt("a" * 11, 10) == "a" * 9 + "…"
    assert len(excerpt("\x1b" * 10**6, 10)) == 10


def test_a_list_says_how_many_more_there_are():
    """Long lists are cut, with their count."""
    assert listed(["a", "b\n"], 5) == r"a, b\n"
    assert listed(range(7), 5) == "0, 1, 2, 3, 4 and 2 more"
    assert listed([], 5) == "nothing"


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60), st.integers(1, 20))
def test_texts_that_begin_alike_are_shown_from_where_they_differ(common, one, other, before):
    """Shortly before it, so that both can be told apart in a line; short beginnings stay."""
    first, second = common + one, common + other
    shown = apart(first, second, before)

    if len(common) < 2 * before and one[:1] != other[:1]:
        assert shown == (first, second)
    if len(common) >= 2 * before:
        assert all(len(text) <= before + 1 + 60 for text in shown)
    assert first.endswith(shown[0].removeprefix("…"))
    assert second.endswith(shown[1].removeprefix("…"))


def test_an_owner_and_a_name_may_stand_on_a_hub(tmp_path):
    """Files of data, and paths whose folder is there, are typing errors of another sort."""
    said = hub_advice(tmp_path / "org" / "rm-7b")

    assert said.endswith("hf download org/rm-7b --local-dir org/rm-7b")
    assert hub_advice(tmp_path / "data" / "pool.jsonl") == ""
    assert hub_advice(tmp_path / "rm-7b") == ""
    assert hub_advice(tmp_path / "org" / "a b") == ""
