"""What others wrote: one kind of error, with a sentence, for all that can be wrong with it."""

import json
import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.parsing import (
    ParsingError,
    as_float,
    column_numbers,
    column_values,
    parse_json,
    user_path,
)

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(plain, st.booleans())
def test_json_is_what_was_written(value, ascii_only):
    """Pairs of escapes are one character; texts and bytes read alike."""
    text = json.dumps(value, ensure_ascii=ascii_only)

    assert parse_json(text) == value
    assert parse_json(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{not json}", "not JSON: Expecting property name enclosed in double quotes"),
        (b'"\xff"', "not UTF-8: invalid start byte at byte 2"),
        ("[" * 100_000, "nested too deep"),
        ("9" * 5000, "a number of thousands of digits"),
        (r'"\ud800"', r"half a character ('\ud800')"),
        (r'["\udc00\ud83d\ude00"]', r"half a character ('\udc00')"),
        (b'"\xed\xa0\x80"', "half a character"),
        ('{"a": {"b": 1, "c": 2, "b": 3}}', "the key 'b' stands twice in one object"),
    ],
)
def test_what_is_no_json_is_said(text, message):
    """Whatever Python's reader would have raised."""
    with pytest.raises(ParsingError) as refused:
        parse_json(text)

    assert message in refused.value.message


def test_a_fault_of_json_has_a_place():
    """Line and column, from 1."""
    with pytest.raises(ParsingError) as refused:
        parse_json('{"a":\n ]}')

    assert (refused.value.line, refused.value.column) == (2, 2)


def test_a_literal_backslash_is_no_half_of_a_character():
    """Only escapes count."""
    assert parse_json(r'"\\ud800"') == r"\ud800"


def test_numbers_beyond_floats_are_infinite():
    """In both directions."""
    assert as_float(10**400) == math.inf
    assert as_float(-(10**400)) == -math.inf
    assert as_float(3) == 3.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\x00b", "a zero byte"),
        ("~\x00b", "a zero byte"),
        ("x" * 300, "too long"),
        ("x/" * 3000, "too long"),
        ("~nobody-has-this-name/x", "no user of that name"),
        ("\ud800", "half a character"),
    ],
)
def test_a_path_that_no_file_can_have_is_refused(text, message, tmp_path):
    """Before the file system is asked."""
    with pytest.raises(ParsingError, match=message):
        user_path(text, tmp_path)


def test_a_path_is_relative_to_its_folder(tmp_path):
    """Absolute ones stay, `~` is the home."""
    assert user_path("a/b", tmp_path) == tmp_path / "a" / "b"
    assert user_path("/a", tmp_path).as_posix() == "/a"
    assert "~" not in str(user_path("~/a", tmp_path))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (pa.array([1, None], pa.timestamp("ns")), ["1970-01-01 00:00:00.000000001", None]),
        (pa.array([1], pa.timestamp("us", "UTC")), ["1970-01-01 00:00:00.000001Z"]),
        (pa.array([1], pa.date32()), ["1970-01-02"]),
        (pa.array([[1]], pa.list_(pa.timestamp("ns"))), [["1970-01-01 00:00:00.000000001"]]),
        (pa.array([{"a": "x"}]), [{"a": "x"}]),
        (pa.array([1.5, 2]), [1.5, 2.0]),
    ],
)
def test_columns_are_plain_values(column, values):
    """Times are text: Python has no nanoseconds, and pandas writes them."""
    assert column_values("c", column) == values


def test_a_column_without_a_plain_form_is_named():
    """Text that is not UTF-8, for example."""
    column = pa.array([b"\xff"], pa.binary()).view(pa.string())

    with pytest.raises(ParsingError, match=r"column 'c' \(string\) cannot be read"):
        column_values("c", column)


@pytest.mark.parametrize("kind", [pa.int64(), pa.int32(), pa.float64(), pa.float32()], ids=str)
@pytest.mark.parametrize("cut", [0, 3])
def test_numbers_of_a_column_are_an_array(kind, cut):
    """In pieces, or a slice of a longer column, or without any."""
    column = pa.chunked_array([pa.array(range(5), kind)[cut:], pa.array([], kind)])

    assert column_numbers(column).tolist() == list(range(cut, 5))
    assert column_numbers(column.chunk(0)).dtype == column.type.to_pandas_dtype()
    assert column_numbers(pa.array([], kind)).tolist() == []


def test_values_of_some_bytes_are_an_array_of_these():
    """Keys of texts are read without an object each."""
    keys = pa.array([b"0123456789abcdef", b"fedcba9876543210"], pa.binary(16))[1:]

    assert column_numbers(keys, "V16").tolist() == [b"fedcba9876543210"]
