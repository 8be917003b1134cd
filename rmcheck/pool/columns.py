"""A pool as columns: what a gate asks of all prompts at once, without their texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Strings = NDArray[np.object_]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
_Kind = TypeVar("_Kind", bound=np.generic)


@dataclass(frozen=True, eq=False)
class PoolColumns:
    """P prompts with M responses in all, prompt by prompt.

    Attributes:
        prompt_ids: (P,) `Prompt.prompt_id`; so are the next four.
        clusters: (P,).
        paths: (P,).
        lines: (P,).
        counts: (P,) number of responses.
        indices: (M,) `Prompt.indices`.
        lengths: (M,) characters of each response.
        labels: Column to (M,) numbers, NaN where a response has none.
        labelled: The same columns to (P,) True where a prompt has the column.
        slices: Column to (P,) values, None where a prompt has not the column.
    """

    prompt_ids: Strings
    clusters: Strings
    paths: Strings
    lines: Ints
    counts: Ints
    indices: Ints
    lengths: Ints
    labels: Mapping[str, Floats]
    labelled: Mapping[str, Bools]
    slices: Mapping[str, Strings]

    @cached_property
    def ends(self) -> Ints:
        """(P + 1,) where the responses of each prompt begin, and where the last ones end."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)

    def label(self, column: str) -> Floats:
        """(M,) numbers of a column, NaN where a response has none."""
        return self.labels.get(column, np.full(self.indices.size, np.nan))

    def slice(self, column: str) -> NDArray[np.str_]:
        """(P,) values of a column, empty where a prompt has not the column."""
        values = self.slices.get(column, np.full(self.counts.size, None))
        return np.array([value or "" for value in values], np.str_)

    def per_response(self, values: NDArray[_Kind]) -> NDArray[_Kind]:
        """(M,) what each of (P,) values gives to the responses of its prompt."""
        return np.repeat(values, self.counts)

    def number(self, responses: Bools) -> Ints:
        """(P,) in how many responses of a prompt this holds."""
        return np.diff(np.concatenate([[0], np.cumsum(responses)])[self.ends])

    def part(self, prompts: Bools, responses: Bools) -> "PoolColumns":
        """Those of (P,) prompts with (M,) responses; no response of another prompt."""
        labelled = {c: has[prompts] for c, has in self.labelled.items()}
        return PoolColumns(
            self.prompt_ids[prompts],
            self.clusters[prompts],
            self.paths[prompts],
            self.lines[prompts],
            self.number(responses)[prompts],
            self.indices[responses],
            self.lengths[responses],
            {c: self.labels[c][responses] for c, has in labelled.items() if has.any()},
            {c: has for c, has in labelled.items() if has.any()},
            {
                c: values[prompts]
                for c, values in self.slices.items()
                if any(v is not None for v in values[prompts])
            },
        )
