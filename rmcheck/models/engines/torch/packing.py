"""Rows that begin alike, laid end to end with each common beginning once.

The responses of a prompt share its tokens, and a causal model gives shared tokens the same hidden
states whatever follows. Groups are found on token ids, not on texts: a tokenizer may merge the end
of a prompt with the beginning of a response. Pure arrays; attention is in `shared_prefix`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# Tokens that a common beginning must have. Below it, as with a BOS and a role, what is spared is
# less than what the extra piece costs.
LEAST_PREFIX = 16


@dataclass(frozen=True, slots=True)
class PrefixGroup:
    """Rows with a common beginning.

    Attributes:
        members: Positions of the rows, at least one.
        prefix: Tokens that all of them begin with, fewer than any of them has; 0 for one row.
    """

    members: tuple[int, ...]
    prefix: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive tokens of a packed row that see each other causally, and a prefix whole.

    Attributes:
        start: First token.
        stop: After the last token.
        prefix_start: First token of the prefix.
        prefix_stop: After its last token; equal to `prefix_start` where there is none.
    """

    start: int
    stop: int
    prefix_start: int
    prefix_stop: int

    @property
    def prefix(self) -> int:
        """Tokens of the prefix."""
        return self.prefix_stop - self.prefix_start

    @property
    def length(self) -> int:
        """Tokens of the segment itself."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Packed:
    """Several rows as one.

    Attributes:
        ids: (T,) token ids.
        positions: (T,) position of each token in the row that it comes from.
        segments: In order, without gaps.
        read_at: (rows,) index in `ids` of the token at which each row's reward is read.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    segments: tuple[Segment, ...]
    read_at: NDArray[np.int64]


def prefix_groups(rows: Sequence[Sequence[int]], least: int = LEAST_PREFIX) -> list[PrefixGroup]:
    """Rows in groups of a common beginning, so that few tokens need computing.

    In lexicographic order rows that begin alike are neighbours, and beginnings form a tree: a
    system prompt, the prompts behind it, responses with the same first words. A group of n rows
    spares (n - 1) × prefix tokens. From the leaves up, neighbouring branches become one group at
    their common beginning where that spares more than what they spare by themselves. So
    prompts with many responses behind one system prompt stay groups of their own, single
    responses share the system prompt, and a few equal first words do not tear a prompt apart.

    Args:
        rows: Token ids, none empty.
        least: Tokens below which a common beginning is not shared.
    """
    if not rows:
        return []
    # Big-endian, so that bytes compare as ids do.
    coded = [np.asarray(row, dtype=">u4") for row in rows]
    order = sorted(range(len(rows)), key=lambda i: coded[i].tobytes())
    open_branches: list[tuple[int, list[_Branch]]] = []
    branch = _Branch(1, 0, ((0, 0),))
    for at, (first, second) in enumerate(pairwise(order), start=1):
        common = _common(coded[first], coded[second])
        while open_branches and open_branches[-1][0] > common:
            prefix, branches = open_branches.pop()
            branch = _joined(prefix, [*branches, branch], least)
        if open_branches and open_branches[-1][0] == common:
            open_branches[-1][1].append(branch)
        else:
            open_branches.append((common, [branch]))
        branch = _Branch(1, 0, ((at, 0),))
    for prefix, branches in reversed(open_branches):
        branch = _joined(prefix, [*branches, branch], least)
    ends = [*(start for start, _ in branch.groups[1:]), len(rows)]
    return [
        PrefixGroup(tuple(order[start:end]), prefix)
        for (start, prefix), end in zip(branch.groups, ends, strict=True)
    ]


def packed_rows(
    rows: Sequence[Sequence[int]], read_at: Sequence[int], least: int = LEAST_PREFIX
) -> Packed:
    """Rows laid end to end, each common beginning once.

    Args:
        rows: Token ids, none empty.
        read_at: Index in each row of the token at which its reward is read.
        least: See `prefix_groups`.
    """
    ids: list[int] = []
    positions: list[int] = []
    segments: list[Segment] = []
    places = np.zeros(len(rows), dtype=np.int64)

    def lay(tokens: Sequence[int], first: int, prefix: tuple[int, int]) -> int:
        start = len(ids)
        ids.extend(tokens)
        positions.extend(range(first, first + len(tokens)))
        segments.append(Segment(start, len(ids), *prefix))
        return start

    for group in prefix_groups(rows, least):
        begin = stop = len(ids)
        if group.prefix:
            lay(rows[group.members[0]][: group.prefix], 0, (begin, begin))
            stop = len(ids)
        for member in group.members:
            start = lay(rows[member][group.prefix :], group.prefix, (begin, stop))
            at = read_at[member]
            places[member] = begin + at if at < group.prefix else start + at - group.prefix
    return Packed(np.array(ids), np.array(positions), tuple(segments), places)


def packed_reads(
    rows: Sequence[Sequence[int]],
    read: Sequence[NDArray[np.int64]],
    least: int = LEAST_PREFIX,
) -> Packed:
    """As `packed_rows`, read at any number of tokens of each row, some in its shared beginning.

    Args:
        rows: Token ids, none empty.
        read: Of each row the indices of the tokens that are read; `read_at` has them row by row.
        least: See `prefix_groups`.
    """
    packed = packed_rows(rows, [len(row) - 1 for row in rows], least)
    starts = [segment.start for segment in packed.segments]
    places = [np.zeros(0, dtype=np.int64)]
    for last, row, at in zip(packed.read_at, rows, read, strict=True):
        own = packed.segments[int(np.searchsorted(starts, last, side="right")) - 1]
        # A row's last token is never shared, so what is before its segment is the prefix.
        shared = len(row) - own.length
        places.append(np.where(at < shared, own.prefix_start + at, own.start + at - shared))
    return replace(packed, read_at=np.concatenate(places))


@dataclass(frozen=True, slots=True)
class _Branch:
    """Neighbouring rows and their best groups.

    Attributes:
        size: Rows.
        spared: Tokens that the groups spare.
        groups: First row and prefix of each group, in order.
    """

    size: int
    spared: int
    groups: tuple[tuple[int, int], ...]


def _joined(prefix: int, branches: Sequence[_Branch], least: int) -> _Branch:
    """Branches with this common beginning: each as it is, or runs of them as one group."""
    # best[k]: tokens spared by the first k branches; run[k]: where the group that ends them
    # begins, None where branch k stays as it is.
    best, run, before = [0], [], [0]
    first = 0
    for k, branch in enumerate(branches):
        before.append(before[-1] + branch.size)
        kept = best[k] + branch.spared
        grouped = best[first] + (before[k + 1] - before[first] - 1) * prefix
        is_group = prefix >= least and grouped > kept
        best.append(grouped if is_group else kept)
        run.append(first if is_group else None)
        if best[k + 1] - before[k + 1] * prefix > best[first] - before[first] * prefix:
            first = k + 1
    groups: list[tuple[int, int]] = []
    k = len(branches)
    while k:
        start = run[k - 1]
        if start is None:
            groups[:0] = branches[k - 1].groups
            k -= 1
        else:
            groups.insert(0, (branches[start].groups[0][0], prefix))
            k = start
    return _Branch(before[-1], best[-1], tuple(groups))


def _common(first: NDArray[np.uint32], second: NDArray[np.uint32]) -> int:
    """Tokens that both begin with, leaving at least one of each."""
    most = min(len(first), len(second)) - 1
    different = np.flatnonzero(first[:most] != second[:most])
    return int(different[0]) if len(different) else most
