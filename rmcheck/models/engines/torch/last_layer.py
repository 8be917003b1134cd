"""The last layer of a decoder at the tokens that are read, since nothing sees its other outputs.

Keys and values of all tokens are needed there. The output projection and the MLP are not, nor, on
a CPU, are the queries of attention: nine tenths of a layer, and a small model has few of them.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rmcheck.models.engines.torch.packing import Segment

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Queries:
    """Consecutive tokens of a segment whose attention is computed.

    Attributes:
        segment: Where they see their keys.
        start: First of them.
        stop: After the last of them.
    """

    segment: Segment
    start: int
    stop: int


class LastLayer:
    """What of a decoder's last layer need not be computed for all tokens.

    Args:
        attention: The layer's attention.
        tokenwise: Modules whose output at a token depends on that token alone. They get hooks that
            do nothing but within `computed_at`, in the thread that is there.
    """

    def __init__(self, attention: Any, tokenwise: Sequence[Any]) -> None:
        self.attention = attention
        self._here = threading.local()
        for module in tokenwise:
            module.register_forward_pre_hook(self._picked)
            module.register_forward_hook(self._placed)

    @contextmanager
    def computed_at(self, read_at: "Tensor", tokens: int) -> Iterator[None]:
        """Within it, what the layer puts out means something at these tokens only.

        Args:
            read_at: (n,) tokens of a packed row, on the device of the layer.
            tokens: Of the row.
        """
        self._here.row = (read_at, tokens)
        try:
            yield
        finally:
            self._here.row = None

    def _picked(self, _: Any, inputs: tuple["Tensor", ...]) -> tuple["Tensor", ...]:
        row = getattr(self._here, "row", None)
        return inputs if row is None else (inputs[0][:, row[0]], *inputs[1:])

    def _placed(self, _: Any, __: Any, output: Any) -> Any:
        row = getattr(self._here, "row", None)
        if row is None:
            return output
        if isinstance(output, tuple):  # with what a router of experts says
            return (self._placed(_, __, output[0]), *output[1:])
        read_at, tokens = row
        placed = output.new_zeros(1, tokens, output.shape[-1])
        return placed.index_copy_(1, read_at, output)


def last_layer(body: Any) -> LastLayer | None:
    """The last layer of a model without its head; None where its parts have other names.

    Called once for a model: its hooks stay.
    """
    layers = getattr(body, "layers", None)
    attention = getattr(layers[-1], "self_attn", None) if layers else None
    tokenwise = (getattr(attention, "o_proj", None), getattr(layers and layers[-1], "mlp", None))
    return None if None in tokenwise else LastLayer(attention, tokenwise)


class LayerQueries:
    """The tokens of a packed row whose attention is computed, by layer.

    Args:
        segments: Of the row, in order.
        last: The last layer, computed at `read_at` only; None where it is computed whole.
        read_at: (n,) tokens that are read, ascending.
    """

    def __init__(
        self, segments: Sequence[Segment], last: LastLayer | None, read_at: NDArray[np.int64]
    ) -> None:
        self._all = tuple(Queries(s, s.start, s.stop) for s in segments)
        self._at = {last.attention: _read_queries(segments, read_at)} if last else {}

    def of(self, attention: Any) -> tuple[Queries, ...]:
        """Those of one layer.

        Args:
            attention: The layer's attention.
        """
        return self._at.get(attention, self._all)


def _read_queries(segments: Sequence[Segment], read_at: NDArray[np.int64]) -> tuple[Queries, ...]:
    """From the first to the last token that is read in each segment."""
    found = []
    for segment in segments:
        first, after = np.searchsorted(read_at, (segment.start, segment.stop))
        if first < after:
            found.append(Queries(segment, int(read_at[first]), int(read_at[after - 1]) + 1))
    return tuple(found)
