"""Attention over packed rows, so that a prompt is computed once for all of its responses.

A packed row goes through the model as one row without padding; only attention knows its
segments. Each sees its prefix whole and itself causally: on a CPU through plain matrix products,
which are faster there than the kernel but for short rows (in half precision twice as fast), and on
an accelerator in one call of a kernel (`variable_length`). In float32, and where attention is
soft-capped, there is no such kernel, and a group of rows is one product there (`group_products`).
The function is registered with transformers' AttentionInterface; implementations that register no
mask are given none.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from rmcheck.models.engines.torch.group_products import GroupRow
from rmcheck.models.engines.torch.last_layer import LayerQueries, Queries, last_layer
from rmcheck.models.engines.torch.packing import Packed, Segment
from rmcheck.models.engines.torch.shared_context import SharedContext
from rmcheck.models.engines.torch.variable_length import KernelRow, kernel

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device

NAME = "rmcheck_packed"
# Queries of one product, so that a mask and the weights of long rows stay small.
_TILE = 256
# On a CPU: weights of one product, 4 MiB in float32; queries of one, whatever its keys; and rows up
# to which the kernel is faster than products.
_CACHED = 1 << 20
_FEWEST = 16
_SHORT = 128


class Masks:
    """The masks of one forward pass, all of them slices of a few.

    Query i of a tile behind p keys sees the keys up to p + i, within the window. The mask of a
    shorter tile, or of one behind fewer keys, is a slice of that of the longest.

    Args:
        segments: Of the packed row.
        tile: Most queries of one mask.
    """

    def __init__(self, segments: tuple[Segment, ...], tile: int) -> None:
        self._rows = min(tile, max(segment.length for segment in segments))
        self._before = max(segment.prefix + segment.length for segment in segments)
        self._full: dict[int | None, Tensor] = {}

    def slice(self, queries: int, before: int, window: int | None, like: "Tensor") -> "Tensor":
        """(queries, before + queries) additive mask in the type and on the device of `like`."""
        if window not in self._full:
            self._full[window] = self._made(window, like)
        skipped = self._before - before
        return self._full[window][:queries, skipped : self._before + queries]

    def _made(self, window: int | None, like: "Tensor") -> "Tensor":
        import torch

        query = torch.arange(self._rows, device=like.device)[:, None] + self._before
        key = torch.arange(self._before + self._rows, device=like.device)
        hidden = key > query
        if window is not None:
            hidden |= key <= query - window
        return torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(
            hidden, float("-inf")
        )


class PackedBody:
    """A model without its head that packed rows go through, for any number of threads.

    Args:
        body: The model, on `device`.
        config: The text config that its attention layers read.
        device: Where the ids go.
    """

    def __init__(self, body: Any, config: Any, device: "Device") -> None:
        self._body = body
        self._device = device
        self._last = last_layer(body)
        self._our_attention = SharedContext(lambda: _packed_attention(config))

    def states(self, packed: Packed) -> "Tensor":
        """(rows, hidden) last hidden states at the tokens where rewards are read.

        Args:
            packed: The rows.
        """
        import torch

        read = np.unique(packed.read_at)
        ids, positions, read_at, read_once = (
            torch.from_numpy(array).to(self._device)
            for array in (packed.ids, packed.positions, packed.read_at, read)
        )
        last = self._last
        spared = last.computed_at(read_once, len(ids)) if last else nullcontext()
        with self._our_attention(), spared:
            states: Tensor = self._body(
                input_ids=ids[None],
                position_ids=positions[None],
                use_cache=False,
                asked=LayerQueries(packed.segments, last, read),
                masks=Masks(packed.segments, _TILE),
                kernel_row=_kernel_row(packed, self._device),
                groups=_group_row(packed, self._device),
            ).last_hidden_state
        return states[0, read_at]


def _kernel_row(packed: Packed, device: "Device") -> KernelRow | None:
    fits = device.type == "cuda" and kernel() is not None
    return KernelRow(packed.segments, device) if fits else None


def _group_row(packed: Packed, device: "Device") -> GroupRow | None:
    return GroupRow(packed.segments, device) if device.type == "cuda" else None


def attention(
    module: Any,
    query: "Tensor",
    key: "Tensor",
    value: "Tensor",
    attention_mask: "Tensor | None",
    *,
    asked: LayerQueries,
    masks: Masks,
    kernel_row: KernelRow | None,
    groups: GroupRow | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: object,
) -> tuple["Tensor", None]:
    """Attention of one packed row, as transformers' AttentionInterface calls it.

    Args:
        module: The attention layer.
        query: (1, heads, T, size).
        key: (1, key heads, T, size).
        value: (1, key heads, T, size).
        attention_mask: None; what is seen follows from the segments.
        asked: The tokens whose attention is computed; the kernel's is that of all.
        masks: Of this forward pass.
        kernel_row: The row as the kernel reads it; None where there is no kernel.
        groups: The row as products of groups read it; None on a CPU.
        scaling: Factor of the products; None means 1 / √size.
        sliding_window: Keys that a query sees, itself included; None for all before it.
        softcap: c of c · tanh(x / c) on the scaled products; None for none.

    Returns:
        (1, T, heads, size), and None for the weights.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if kernel_row is not None and softcap is None and kernel_row.takes(query, value):
        return kernel_row.attend(query, key, value, window=sliding_window, scale=scale), None
    if groups is not None:
        found = groups.attend(
            query, key, value, window=sliding_window, scale=scale, softcap=softcap
        )
        return found, None
    # In the order in which it is returned, so that no layer copies it.
    batch, heads, tokens, _size = query.shape
    out = query.new_empty(batch, tokens, heads, value.shape[-1]).transpose(1, 2)
    for queries in asked.of(module):
        segment = queries.segment
        here = slice(queries.start, queries.stop)
        window = sliding_window
        if window is not None and segment.prefix + queries.stop - segment.start <= window:
            window = None
        alone = not segment.prefix and queries.start == segment.start
        if softcap is None and window is None and alone and queries.stop - queries.start < _SHORT:
            out[:, :, here] = _causal(query[:, :, here], key[:, :, here], value[:, :, here], scale)
        else:
            into, seen = out[:, :, here], (_seen(key, queries), _seen(value, queries))
            _products(
                query[:, :, here], *seen, masks, into, window=window, scale=scale, softcap=softcap
            )
    return out.transpose(1, 2), None


def _causal(query: "Tensor", key: "Tensor", value: "Tensor", scale: float) -> "Tensor":
    """The same where a segment has no prefix, by torch's kernel for one row."""
    from torch.nn.functional import scaled_dot_product_attention

    grouped = key.shape[1] != query.shape[1]
    return scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scale, enable_gqa=grouped
    )


def _products(
    query: "Tensor",
    key: "Tensor",
    value: "Tensor",
    masks: Masks,
    out: "Tensor",
    *,
    window: int | None,
    scale: float,
    softcap: float | None,
) -> None:
    """The same on a CPU, into `out`: heads that share a key are rows of one product.

    One key head at a time, and so few queries that the weights stay in the cache.
    """
    import torch

    key_heads = key.shape[1]
    sharing = query.shape[1] // key_heads
    before = key.shape[2] - query.shape[2]
    tile = min(_TILE, max(_FEWEST, _CACHED // (sharing * key.shape[2])))
    tile = min(tile, query.shape[2])
    room = query.new_empty(sharing * tile * key.shape[2])
    for start in range(0, query.shape[2], tile):
        stop = min(start + tile, query.shape[2])
        rows, keys = sharing * (stop - start), before + stop
        weights = room[: rows * keys].view(1, rows, keys)
        hidden = weights.view(-1, stop - start, keys)
        mask = masks.slice(stop - start, before + start, window, query)
        if window is None:  # all before the tile is seen
            hidden, mask = hidden[..., before + start :], mask[:, before + start :]
        for head in range(key_heads):
            heads = slice(head * sharing, (head + 1) * sharing)
            asked = query[0, heads, start:stop].reshape(1, rows, -1)
            seen = (states[0, head : head + 1, :keys] for states in (key, value))
            torch.baddbmm(
                weights, asked, next(seen).transpose(1, 2), beta=0, alpha=scale, out=weights
            )
            if softcap is not None:
                weights.div_(softcap).tanh_().mul_(softcap)
            hidden.add_(mask)
            torch.softmax(weights, -1, out=weights)
            out[0, heads, start:stop] = torch.bmm(weights, next(seen)).view(
                sharing, stop - start, -1
            )


def _seen(states: "Tensor", queries: Queries) -> "Tensor":
    """Keys or values of the prefix, and of the segment up to the last query."""
    import torch

    segment = queries.segment
    own = states[:, :, segment.start : queries.stop]
    if not segment.prefix:
        return own
    return torch.cat([states[:, :, segment.prefix_start : segment.prefix_stop], own], dim=2)


@contextmanager
def _packed_attention(config: Any) -> Iterator[None]:
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attention)
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
