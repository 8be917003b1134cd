"""Attention over packed rows on accelerators: segments side by side, in few large calls.

There a call costs about the same however small it is, and a packed row may have hundreds of
segments. Those behind one prefix are laid side by side, padded to the longest, and attend to the
prefix and to themselves in one call of the kernel. Padding exists here only: the layers around
attention, which are nearly all of the work, see none of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from rmcheck.models.packing import Segment

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device

# Queries of one call, so that a mask stays small.
TILE = 2048
# Numbers in the keys of one call, and as many in its values: 512 MiB in half precision.
_MOST_NUMBERS = 1 << 28

# (queries, keys before the first of them, window) to the additive mask.
MaskOf = Callable[[int, int, int | None], "Tensor"]


@dataclass(frozen=True)
class SideBySide:
    """Segments behind one prefix.

    Attributes:
        prefix: First token of the prefix, and after its last; equal where there is none.
        rows: (n, L) token of the packed row at each place; at padding any token of the row.
        filled: (T,) places, row after row, that are no padding.
        tokens: (T,) token of the packed row at each of these.
    """

    prefix: tuple[int, int]
    rows: "Tensor"
    filled: "Tensor"
    tokens: "Tensor"

    @property
    def before(self) -> int:
        """Tokens of the prefix."""
        return self.prefix[1] - self.prefix[0]


class Arrangement:
    """How the segments of one packed row are laid side by side; the same for all its layers.

    Args:
        segments: Of the packed row.
        device: Where it is computed.
    """

    def __init__(self, segments: Sequence[Segment], device: "Device") -> None:
        self._segments = segments
        self._device = device
        self._made: dict[int, list[SideBySide]] = {}

    def for_keys(self, width: int) -> list[SideBySide]:
        """Every segment once.

        Args:
            width: Numbers that a key has in all heads together, repeated ones included.
        """
        if width not in self._made:
            chosen = _alike(self._segments, _MOST_NUMBERS // width)
            self._made[width] = [self._laid(segments) for segments in chosen]
        return self._made[width]

    def _laid(self, segments: Sequence[Segment]) -> SideBySide:
        import torch

        start = torch.tensor([s.start for s in segments], device=self._device)[:, None]
        length = torch.tensor([s.length for s in segments], device=self._device)[:, None]
        place = torch.arange(segments[0].length, device=self._device)
        rows = start + torch.minimum(place, length - 1)
        filled = (place < length).flatten().nonzero()[:, 0]
        prefix = (segments[0].prefix_start, segments[0].prefix_stop)
        return SideBySide(prefix, rows, filled, rows.flatten()[filled])


def _alike(segments: Sequence[Segment], most_keys: int) -> Iterator[list[Segment]]:
    """Segments of one prefix together, longest first, none shorter than half of the longest."""

    def prefix(segment: Segment) -> tuple[int, int]:
        # All that have no prefix have the same.
        return (segment.prefix_start, segment.prefix_stop) if segment.prefix else (0, 0)

    ordered = sorted(segments, key=lambda s: (prefix(s), -s.length, s.start))
    for _, behind in groupby(ordered, key=prefix):
        chosen: list[Segment] = []
        for segment in behind:
            if chosen:
                longest = chosen[0]
                keys = (longest.prefix + longest.length) * (len(chosen) + 1)
                if 2 * segment.length < longest.length or keys > most_keys:
                    yield chosen
                    chosen = []
            chosen.append(segment)
        yield chosen


def attend(
    query: "Tensor",
    key: "Tensor",
    value: "Tensor",
    arrangement: Arrangement,
    mask_of: MaskOf,
    out: "Tensor",
    *,
    window: int | None,
    scale: float,
) -> None:
    """Attention of one layer, into `out`.

    Args:
        query: (1, heads, T, size).
        key: (1, key heads, T, size).
        value: (1, key heads, T, size).
        arrangement: Of the packed row.
        mask_of: Masks of this forward pass.
        out: (1, heads, T, size).
        window: Keys that a query sees, itself included; None for all before it.
        scale: Factor of the products.
    """
    for piece in arrangement.for_keys(query.shape[1] * max(query.shape[-1], value.shape[-1])):
        longest = piece.rows.shape[1]
        seen = window if window is not None and piece.before + longest > window else None
        asked = query[0][:, piece.rows].transpose(0, 1)
        keys, values = (_side_by_side(states[0], piece) for states in (key, value))
        if seen is None and not piece.before:
            found = causal(asked, keys, values, scale)
        else:
            found = out.new_empty(*asked.shape[:-1], value.shape[-1])
            for start in range(0, longest, TILE):
                stop = min(start + TILE, longest)
                mask = mask_of(stop - start, piece.before + start, seen)
                upto = slice(0, piece.before + stop)
                found[:, :, start:stop] = _masked(
                    asked[:, :, start:stop], keys[:, :, upto], values[:, :, upto], mask, scale
                )
        flat = found.transpose(0, 1).reshape(found.shape[1], -1, found.shape[-1])
        out[0][:, piece.tokens] = flat[:, piece.filled]


def _side_by_side(states: "Tensor", piece: SideBySide) -> "Tensor":
    """(n, key heads, prefix + L, size): what each row may see."""
    import torch

    own = states[:, piece.rows].transpose(0, 1)
    if not piece.before:
        return own
    prefix = states[:, slice(*piece.prefix)].expand(len(own), -1, -1, -1)
    return torch.cat([prefix, own], dim=2)


def _masked(
    query: "Tensor", key: "Tensor", value: "Tensor", mask: "Tensor", scale: float
) -> "Tensor":
    from torch.nn.functional import scaled_dot_product_attention

    # With a mask, the fast kernels of accelerators take no grouped keys and no slices.
    sharing = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(sharing, dim=1) for states in (key, value))
    return scaled_dot_product_attention(
        query.contiguous(), key, value, attn_mask=mask.contiguous(), scale=scale
    )


def causal(query: "Tensor", key: "Tensor", value: "Tensor", scale: float) -> "Tensor":
    """(n, heads, L, size): rows that see themselves causally and nothing else, by the kernel.

    Args:
        query: (n, heads, L, size).
        key: (n, key heads, L, size).
        value: (n, key heads, L, size).
        scale: Factor of the products.
    """
    from torch.nn.functional import scaled_dot_product_attention

    grouped = key.shape[1] != query.shape[1]
    return scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scale, enable_gqa=grouped
    )
