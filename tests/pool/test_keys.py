"""Keys are found again as a dictionary finds them, however they were added."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.pool.keys import KeyRows, as_keys

# Few halves, so that keys share them; zeros at the end are easily lost.
HALVES = st.sampled_from([bytes(8), b"\0" * 7 + b"\1", b"\xff" * 8, b"12345678"])
KEYS = st.builds(lambda a, b: a + b, HALVES, HALVES)


@given(st.lists(st.lists(KEYS, max_size=12), max_size=8), st.lists(KEYS, max_size=12))
def test_the_first_row_of_a_key_counts(parts, asked):
    """Whatever is added in one go or in several, and whatever was there before."""
    known, expected, row = KeyRows(), {}, 0
    for part in parts:
        known.add(as_keys(part), np.arange(row, row + len(part)))
        for key in part:
            expected.setdefault(key, row)
            row += 1

    assert known.find(as_keys(asked)).tolist() == [expected.get(key, -1) for key in asked]
    assert len(known) == len(expected)
    assert known.rows.tolist() == sorted(expected.values())


def test_many_small_additions_are_found():
    """Rows that come one by one, as batches do."""
    keys = as_keys([number.to_bytes(16, "little") for number in range(300)])
    known = KeyRows()
    for row in range(300):
        known.add(keys[row : row + 1], np.array([row]))

    assert known.find(keys[::-1]).tolist() == list(range(300))[::-1]


def test_a_key_of_another_length_is_refused():
    """Its bytes would be read as those of its neighbours."""
    with pytest.raises(ValueError, match=r"a key is b'12345678'; valid: 16 bytes"):
        as_keys([b"12345678", b"123456781234567812345678"])
