"""Attention over packed rows, so that a prompt is computed once for all of its responses.

A packed row goes through the model as one row without padding; only attention knows its
segments. Each sees its prefix whole and itself causally, through the kernel that the model would
use, or through plain matrix products where attention is soft-capped (no kernel has that) or in
half precision on a CPU (where they are twice as fast as the kernel). The function is registered
with transformers' AttentionInterface; implementations that register no mask are given none.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rmcheck.models.packing import Packed, Segment

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device

NAME = "rmcheck_packed"
# Queries of one product, so that a mask and the weights of long rows stay small.
_TILE = 256


class Masks:
    """The masks of one forward pass, all of them slices of a few.

    Query i of a tile behind p keys sees the keys up to p + i, within the window. The mask of a
    shorter tile, or of one behind fewer keys, is a slice of that of the longest.
    """

    def __init__(self, segments: tuple[Segment, ...]) -> None:
        self._rows = min(_TILE, max(segment.length for segment in segments))
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


def packed_hidden(body: Any, config: Any, packed: Packed, device: "Device") -> "Tensor":
    """(rows, hidden) last hidden states at the tokens where rewards are read.

    Args:
        body: The model without its head, on `device`.
        config: The text config that its attention layers read.
        packed: The rows.
        device: Where the ids go.
    """
    import torch

    ids, positions, read_at = (
        torch.from_numpy(array).to(device)
        for array in (packed.ids, packed.positions, packed.read_at)
    )
    with _packed_attention(config):
        states: Tensor = body(
            input_ids=ids[None],
            position_ids=positions[None],
            use_cache=False,
            segments=packed.segments,
            masks=Masks(packed.segments),
        ).last_hidden_state
    return states[0, read_at]


def attention(
    module: Any,
    query: "Tensor",
    key: "Tensor",
    value: "Tensor",
    attention_mask: "Tensor | None",
    *,
    segments: tuple[Segment, ...],
    masks: Masks,
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
        segments: Of the packed row.
        masks: Of this forward pass.
        scaling: Factor of the products; None means 1 / √size.
        sliding_window: Keys that a query sees, itself included; None for all before it.
        softcap: c of c · tanh(x / c) on the scaled products; None for none.

    Returns:
        (1, T, heads, size), and None for the weights.
    """
    plain = softcap is not None or (query.device.type == "cpu" and query.dtype.itemsize == 2)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = query.new_empty(*query.shape[:-1], value.shape[-1])
    for segment in segments:
        window = sliding_window
        if window is not None and segment.prefix + segment.length <= window:
            window = None
        if not (plain or window or segment.prefix):
            here = slice(segment.start, segment.stop)
            out[:, :, here] = _kernel(
                query[:, :, here], key[:, :, here], value[:, :, here], None, scale
            )
            continue
        for start in range(0, segment.length, _TILE):
            stop = min(start + _TILE, segment.length)
            here = slice(segment.start + start, segment.start + stop)
            mask = masks.slice(stop - start, segment.prefix + start, window, query)
            seen = (_seen(key, segment, stop), _seen(value, segment, stop))
            if plain:
                out[:, :, here] = _products(query[:, :, here], *seen, mask, scale, softcap)
            else:
                out[:, :, here] = _kernel(query[:, :, here], *seen, mask, scale)
    return out.transpose(1, 2), None


def _kernel(
    query: "Tensor", key: "Tensor", value: "Tensor", mask: "Tensor | None", scale: float
) -> "Tensor":
    from torch.nn.functional import scaled_dot_product_attention

    if mask is not None and query.device.type != "cpu":
        # With a mask, the kernels of other devices take no grouped keys and no slices.
        groups = query.shape[1] // key.shape[1]
        key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
        mask = mask.contiguous()
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scale,
        enable_gqa=key.shape[1] != query.shape[1],
    )


def _products(
    query: "Tensor",
    key: "Tensor",
    value: "Tensor",
    mask: "Tensor",
    scale: float,
    softcap: float | None,
) -> "Tensor":
    """The same without a kernel: heads that share a key are rows of one product."""
    import torch

    heads, count, size = query.shape[1:]
    key_heads = key.shape[1]
    rows = query.reshape(key_heads, heads // key_heads * count, size)
    weights = torch.bmm(rows, key[0].transpose(1, 2)).mul_(scale)
    if softcap is not None:
        weights = weights.div_(softcap).tanh_().mul_(softcap)
    weights = weights.view(key_heads, -1, count, mask.shape[-1]).add_(mask)
    weights = weights.softmax(-1, dtype=torch.float32).to(value.dtype)
    mixed = torch.bmm(weights.view(key_heads, -1, mask.shape[-1]), value[0])
    return mixed.view(1, heads, count, -1)


def _seen(states: "Tensor", segment: Segment, stop: int) -> "Tensor":
    """Keys or values of the prefix and of the first `stop` tokens of the segment."""
    import torch

    own = states[:, :, segment.start : segment.start + stop]
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
