"""Attention over packed rows on accelerators: all segments of a layer in one call of a kernel.

torch's variable-length attention takes sequences of any length end to end. Keys and values of a
prefix are copied before each segment behind it, so that a segment sees its prefix whole, itself
causally, and a window counts over both. A second call for prefixes, merged by log-sum-exp, copies
nothing but is slower unless prompts are thousands of tokens longer than responses, and a window
fits none of its calls.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from rmcheck.models.engines.torch.packing import Segment

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device

# Sizes of heads that the kernel takes: multiples of the first up to the second.
_SIZE_STEP, _LARGEST_SIZE = 8, 256


@cache
def kernel() -> Callable[..., Any] | None:
    """Variable-length attention; None where torch has none with windows (before 2.11)."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    known = inspect.signature(varlen_attn).parameters
    if "window_size" not in known:
        return None
    # Key heads may be fewer; from 2.13 on that must be said.
    return partial(varlen_attn, enable_gqa=True) if "enable_gqa" in known else varlen_attn


class KernelRow:
    """A packed row as the kernel reads it; the same for all layers.

    Args:
        segments: Of the packed row, in order.
        device: Where it is computed.
    """

    def __init__(self, segments: Sequence[Segment], device: "Device") -> None:
        import torch

        def ends(lengths: list[int]) -> "Tensor":
            return torch.from_numpy(np.cumsum([0, *lengths], dtype=np.int32)).to(device)

        queries = [segment.length for segment in segments]
        keys = [segment.prefix + segment.length for segment in segments]
        self._lengths = (ends(queries), ends(keys), max(queries), max(keys))
        self._seen: Tensor | None = None
        if any(segment.prefix for segment in segments):
            seen = [
                np.arange(*part)
                for s in segments
                for part in ((s.prefix_start, s.prefix_stop), (s.start, s.stop))
            ]
            self._seen = torch.from_numpy(np.concatenate(seen)).to(device)

    @staticmethod
    def takes(query: "Tensor", value: "Tensor") -> bool:
        """Whether the kernel computes such heads, in half precision only."""
        size = query.shape[-1]
        fits = size == value.shape[-1] and size % _SIZE_STEP == 0 and size <= _LARGEST_SIZE
        return fits and query.dtype.itemsize == 2

    def attend(
        self, query: "Tensor", key: "Tensor", value: "Tensor", *, window: int | None, scale: float
    ) -> "Tensor":
        """(1, T, heads, size): attention of one layer; see `GroupRow.attend`."""
        run: Any = kernel()
        asked, keys, values = (states[0].transpose(0, 1) for states in (query, key, value))
        if self._seen is not None:
            keys, values = keys[self._seen], values[self._seen]
        before = -1 if window is None else window - 1
        found: Tensor = run(
            asked, keys, values, *self._lengths, scale=scale, window_size=(before, 0)
        )
        return found[None]
