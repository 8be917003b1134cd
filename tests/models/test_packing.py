"""Packed rows: every token of every row is there, common beginnings once."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.models.engines.torch.packing import packed_reads, packed_rows, prefix_groups

row = st.lists(st.integers(0, 2), min_size=1, max_size=30)


@st.composite
def rows_that_begin_alike(draw):
    """Rows behind one of three beginnings, in any order."""
    beginnings = draw(st.lists(row, min_size=1, max_size=3))
    count = draw(st.integers(1, 12))
    return [draw(st.sampled_from(beginnings)) + draw(row) for _ in range(count)]


def unpacked(packed, count):
    """The rows again, each from the segment that ends at its last token and its prefix."""
    ends = {segment.stop - 1: segment for segment in packed.segments}
    segments = [ends[packed.read_at[i]] for i in range(count)]
    places = [[*range(s.prefix_start, s.prefix_stop), *range(s.start, s.stop)] for s in segments]
    return (
        [packed.ids[place].tolist() for place in places],
        [packed.positions[place].tolist() for place in places],
    )


@given(rows_that_begin_alike(), st.integers(1, 8))
def test_every_row_is_found_again(rows, least):
    """A row is its prefix and its segment, with positions that count from its beginning."""
    packed = packed_rows(rows, [len(r) - 1 for r in rows], least)

    ids, positions = unpacked(packed, len(rows))
    assert ids == rows
    assert positions == [list(range(len(r))) for r in rows]


@given(rows_that_begin_alike(), st.integers(1, 8))
def test_segments_follow_each_other_without_gaps(rows, least):
    """Every token of a packed row belongs to exactly one segment."""
    segments = packed_rows(rows, [0] * len(rows), least).segments

    assert segments[0].start == 0
    assert all(a.stop == b.start for a, b in pairwise(segments))
    assert all(s.length > 0 for s in segments)
    assert all(s.prefix == 0 or s.prefix_stop <= s.start for s in segments)


@given(rows_that_begin_alike(), st.integers(1, 8))
def test_groups_hold_every_row_once_and_share_only_what_is_common(rows, least):
    """A prefix is common to its members, at least as long as asked, and leaves each a token."""
    groups = prefix_groups(rows, least)

    assert sorted(i for g in groups for i in g.members) == list(range(len(rows)))
    for group in groups:
        begun = {tuple(rows[i][: group.prefix]) for i in group.members}
        assert len(begun) == 1
        assert group.prefix < min(len(rows[i]) for i in group.members)
        assert group.prefix >= least if len(group.members) > 1 else group.prefix == 0


def test_a_prompt_and_its_responses_are_one_group():
    """Eight responses to each of two prompts make two groups with the whole prompt shared."""
    rows = [[p] * 20 + [100 + i, i] for i in range(8) for p in (1, 2)]

    groups = prefix_groups(rows)

    assert {(g.prefix, len(g.members)) for g in groups} == {(20, 8)}
    assert {frozenset(rows[i][0] for i in g.members) for g in groups} == {
        frozenset({1}),
        frozenset({2}),
    }


def test_a_system_prompt_does_not_swallow_the_prompts():
    """Responses behind one long system prompt share their own prompt, which spares more."""
    rows = [[9] * 100 + [p] * 60 + [50 + i] * 30 for p in range(6) for i in range(4)]

    groups = prefix_groups(rows)

    assert {(g.prefix, len(g.members)) for g in groups} == {(160, 4)}


def test_single_responses_share_a_system_prompt():
    """With one response a prompt, the system prompt is what can be computed once."""
    rows = [[9] * 100 + [p] * 60 for p in range(6)]

    assert [(g.prefix, len(g.members)) for g in prefix_groups(rows)] == [(100, 6)]


def test_equal_first_words_do_not_tear_a_prompt_apart():
    """Pairs of responses that begin alike stay with their prompt: 7 × 50 against 4 × 52 tokens."""
    rows = [[1] * 50 + [10 + i // 2] * 2 + [30 + i] * 9 for i in range(8)]

    assert [(g.prefix, len(g.members)) for g in prefix_groups(rows)] == [(50, 8)]


def best_by_trying(rows):
    """Most tokens spared by any cut of the sorted rows into groups of neighbours."""
    ordered = sorted(rows)

    def spared(start, stop):
        group = ordered[start:stop]
        shortest = min(map(len, group)) - 1
        same = (k for k in range(shortest) if len({tuple(r[: k + 1]) for r in group}) > 1)
        return (len(group) - 1) * next(same, shortest)

    best = [0]
    for stop in range(1, len(ordered) + 1):
        best.append(max(best[start] + spared(start, stop) for start in range(stop)))
    return best[-1]


@given(rows_that_begin_alike())
def test_groups_spare_most_of_what_can_be_spared(rows):
    """The groups spare most of what the best cut of the sorted rows does, found by trying all."""
    spared = sum(g.prefix * (len(g.members) - 1) for g in prefix_groups(rows, least=1))

    # 0.76 is the least that 5,800 random cases gave.
    assert 0.5 * best_by_trying(rows) <= spared <= best_by_trying(rows)


def test_short_beginnings_are_not_shared():
    """A BOS and a role alone are not worth a segment."""
    rows = [[1, 2, 3, 10 + i, 5, 6] for i in range(4)]

    assert {g.prefix for g in prefix_groups(rows)} == {0}
    assert {g.prefix for g in prefix_groups(rows, least=3)} == {3}


def test_equal_rows_and_beginnings_of_rows_keep_a_token_each():
    """A row that is another's beginning, or its equal, still has a token to read."""
    whole = list(range(30))

    packed = packed_rows([whole, whole[:20], whole], [29, 19, 29])

    assert len(packed.ids) == 19 + 1 + 11 + 11
    assert unpacked(packed, 3)[0] == [whole, whole[:20], whole]


@pytest.mark.parametrize(("at", "expected"), [(3, 3), (19, 19), (20, 20), (22, 22)])
def test_a_reward_may_be_read_within_the_prefix(at, expected):
    """The reading position counts in the row, wherever the token was laid."""
    rows = [[7] * 20 + [1, 2, 3], [7] * 20 + [4, 5, 6]]

    packed = packed_rows(rows, [at, 21])

    assert packed.read_at[0] == expected
    assert packed.positions[packed.read_at].tolist() == [at, 21]


def test_ids_beyond_a_byte_and_two_are_ordered_as_numbers():
    """Vocabularies larger than 65,536 sort and share like small ones."""
    rows = [[70_000 + p] * 20 + [i, 200_000 + i] for i in range(3) for p in (0, 256, 65_536)]

    assert {(g.prefix, len(g.members)) for g in prefix_groups(rows)} == {(20, 3)}


def test_tokens_that_are_read_in_a_shared_prefix_have_one_place():
    """What rows share stands once, and so does what is read there; the rest is each row's own."""
    rows = [[*range(20), 50, 51], [*range(20), 60, 61, 62]]
    read = [np.array([5, 21]), np.array([5, 20, 22])]

    packed = packed_reads(rows, read)

    assert packed.ids[packed.read_at].tolist() == [5, 51, 5, 60, 62]
    assert packed.read_at[0] == packed.read_at[2]


@given(rows=rows_that_begin_alike(), least=st.integers(1, 4), data=st.data())
def test_every_token_that_is_read_has_the_position_that_it_has_in_its_row(rows, least, data):
    """Of any rows any tokens can be read, and nothing else is."""
    read = [
        np.array(data.draw(st.lists(st.integers(0, len(row) - 1), max_size=4)), dtype=np.int64)
        for row in rows
    ]

    packed = packed_reads(rows, read, least)

    assert packed.ids[packed.read_at].tolist() == [
        row[i] for row, at in zip(rows, read, strict=True) for i in at
    ]
    assert packed.positions[packed.read_at].tolist() == [i for at in read for i in at]
