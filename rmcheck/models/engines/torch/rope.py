"""Rotary frequencies that follow the longest row of a batch, kept from changing rewards.

With `rope_type` `longrope` (Phi-3, Phi-4-mini) transformers turns all rows of a batch by the long
factors as soon as one of them is longer than the original context. The reward of a short row would
depend on what it is scored with. Here rows are computed with those that alone have the same
factors. (`dynamic` frequencies change too, but only beyond the positions that a model has.)
"""

from collections.abc import Sequence
from typing import Any


class Rope:
    """The rotary embeddings of a model.

    Args:
        body: The model without its head.

    Attributes:
        original: Tokens beyond which a row has other frequencies; None where all have the same.
    """

    def __init__(self, body: Any) -> None:
        modules = body.modules() if body is not None else ()
        found = [size for module in modules for size in _original_sizes(module)]
        self.original = min(found, default=None)

    @property
    def note(self) -> str:
        """For the conformance page; empty where all rows have the same frequencies."""
        if self.original is None:
            return ""
        return f"; longrope: rows of more than {self.original} tokens are computed apart"

    def apart(self, lengths: Sequence[int], *, grow: bool = False) -> list[list[int]]:
        """Positions of rows in groups of the same frequencies.

        Args:
            lengths: Tokens of each row.
            grow: Whether rows do, so that each is computed alone where frequencies differ.
        """
        if grow and self.original is not None:
            return [[row] for row in range(len(lengths))]
        original = self.original or max(lengths, default=0)
        short = [row for row, length in enumerate(lengths) if length <= original]
        long = [row for row, length in enumerate(lengths) if length > original]
        return [group for group in (short, long) if group]


def _original_sizes(module: Any) -> list[int]:
    """The original contexts of a module's long embeddings, of each type of layer."""
    kinds = getattr(module, "rope_type", None)
    if kinds == "longrope":
        return [int(module.config.rope_parameters["original_max_position_embeddings"])]
    if not isinstance(kinds, dict):
        return []
    parameters = [module.config.rope_parameters[t] for t, k in kinds.items() if k == "longrope"]
    return [int(one["original_max_position_embeddings"]) for one in parameters]
