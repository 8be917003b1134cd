"""Attention over packed rows on accelerators where no kernel takes them: soft-capped, or float32.

All rows behind one prefix are one product with it, and one with themselves, padded to the longest;
a few hundred queries of each row at a time, and as many rows as the weights leave room for. A
product a row instead would be as many calls of small kernels as there are rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from rmcheck.models.engines.torch.packing import Segment

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device

# Queries of a row in one product; and weights of one head that a product makes.
_TILE = 256
_MOST_WEIGHTS = 1 << 22


@dataclass(frozen=True)
class _Tile:
    """Some queries of rows behind one prefix.

    Attributes:
        prefix: Tokens that all of them see.
        queries: (n, t) tokens of the packed row; the last one again where a row is shorter.
        keys: (n, k) tokens of the rows themselves that the last of these queries see.
        first: Position of the first query in its row.
        into: (m,) tokens whose attention this is.
        taken: (m,) where they are among the n × t.
    """

    prefix: slice
    queries: "Tensor"
    keys: "Tensor"
    first: int
    into: "Tensor"
    taken: "Tensor"

    def hidden(self, window: int | None) -> "Tensor":
        """(t, prefix + k) what is behind a query, or further before it than the window."""
        import torch

        before = self.prefix.stop - self.prefix.start
        count, device = self.queries.shape[1], self.queries.device
        query = torch.arange(count, device=device)[:, None] + before + self.first
        key = torch.arange(before + self.keys.shape[1], device=device)
        hidden: Tensor = key > query
        return hidden if window is None else hidden | (key <= query - window)


class GroupRow:
    """A packed row as products of groups read it; the same for all layers.

    Args:
        segments: Of the packed row, in order.
        device: Where it is computed.
    """

    def __init__(self, segments: Sequence[Segment], device: "Device") -> None:
        self._tiles = [_tile(*chunk, device) for chunk in _chunks(segments)]

    def attend(
        self,
        query: "Tensor",
        key: "Tensor",
        value: "Tensor",
        *,
        window: int | None,
        scale: float,
        softcap: float | None,
    ) -> "Tensor":
        """(1, T, heads, size): attention of one layer.

        Args:
            query: (1, heads, T, size).
            key: (1, key heads, T, size).
            value: (1, key heads, T, size).
            window: Keys that a query sees, itself included; None for all before it.
            scale: Factor of the products.
            softcap: c of c · tanh(x / c) on the scaled products; None for none.
        """
        heads, tokens = query.shape[1:3]
        out = query.new_empty(tokens, heads, value.shape[-1])
        for tile in self._tiles:
            found = _attended(tile, query[0] * scale, key[0], value[0], window, softcap)
            out[tile.into] = found.reshape(-1, heads, value.shape[-1])[tile.taken]
        return out[None]


def _attended(
    tile: _Tile,
    query: "Tensor",
    key: "Tensor",
    value: "Tensor",
    window: int | None,
    softcap: float | None,
) -> "Tensor":
    """(n, t, heads, size): attention of one tile; heads that share a key are rows of a product."""
    import torch

    key_heads, (rows, count) = key.shape[0], tile.queries.shape
    sharing = query.shape[0] // key_heads
    asked = query[:, tile.queries].view(key_heads, sharing, rows, count, -1).transpose(1, 2)
    asked = asked.reshape(key_heads, rows, sharing * count, -1)

    def seen(states: "Tensor") -> Iterator["Tensor"]:
        shared = states[:, tile.prefix]
        if shared.shape[1]:
            yield shared[:, None].expand(-1, rows, -1, -1)
        yield states[:, tile.keys]

    weights = torch.cat([asked @ keys.transpose(-1, -2) for keys in seen(key)], dim=-1)
    if softcap is not None:
        weights.div_(softcap).tanh_().mul_(softcap)
    by_head = weights.view(key_heads, rows, sharing, count, -1)
    by_head.masked_fill_(tile.hidden(window), float("-inf"))
    weights = weights.softmax(-1)
    parts: list[Any] = list(seen(value))
    pieces = torch.split(weights, [part.shape[2] for part in parts], dim=-1)
    found: Tensor = sum(piece @ part for piece, part in zip(pieces, parts, strict=True))
    return found.view(key_heads, rows, sharing, count, -1).permute(1, 3, 0, 2, 4)


def _chunks(segments: Sequence[Segment]) -> Iterator[tuple[list[Segment], int]]:
    """Segments of one prefix and of like length, and the first of the queries of a product."""

    def prefix(segment: Segment) -> tuple[int, int]:
        return segment.prefix_start * bool(segment.prefix), segment.prefix

    ordered = sorted(segments, key=lambda segment: (prefix(segment), segment.length))
    for _, members in groupby(ordered, key=prefix):
        group = list(members)
        while group:
            longest = group[-1]
            keys = longest.prefix + longest.length
            room = max(1, _MOST_WEIGHTS // (min(_TILE, longest.length) * keys))
            chunk, group = group[-room:], group[:-room]
            for first in range(0, longest.length, _TILE):
                yield [s for s in chunk if s.length > first], first


def _tile(chunk: Sequence[Segment], first: int, device: "Device") -> _Tile:
    import torch

    starts = np.array([segment.start for segment in chunk])[:, None]
    lengths = np.array([segment.length for segment in chunk])[:, None]
    end = min(first + _TILE, int(lengths.max()))
    own = np.arange(first, end)
    queries, keys = (
        starts + np.minimum(places, lengths - 1) for places in (own[None], np.arange(end)[None])
    )
    taken = np.flatnonzero(own < lengths)
    there = (torch.from_numpy(a).to(device) for a in (queries, keys, queries.ravel()[taken], taken))
    tokens, own_keys, into, at = there
    prefix = slice(chunk[0].prefix_start, chunk[0].prefix_stop)
    return _Tile(prefix, tokens, own_keys, first, into, at)
