"""Rewards of a pool: what every metric is computed from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.scored import Scored
from rmcheck.wording import listed

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Strings = NDArray[np.str_]

# Rewards in one block. Small enough that the temporaries of a metric stay in cache and far below
# 64 MiB, large enough that numpy's overhead per call does not show.
BLOCK_SIZE = 2**17


@dataclass(frozen=True, slots=True)
class Block:
    """Prompts of a pool that have the same number N of responses.

    Attributes:
        rows: (p,) positions of these prompts in the rewards.
        proxy: (p, N) rewards of the model under test.
        golden: (p, N) reference rewards.
        columns: Name to (p, N) further numbers a response.
    """

    rows: Ints
    proxy: Floats
    golden: Floats
    columns: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True)
class Rewards:
    """Proxy and golden rewards per prompt, ragged: prompt i has `counts[i]` responses.

    Rewards are compared inside a prompt only: a Bradley-Terry reward carries an arbitrary
    offset per prompt.

    Attributes:
        proxy: (M,) rewards of the model under test, all prompts one after another.
        golden: (M,) reference rewards in the same order. Higher is better in both.
        offsets: (P + 1,) where each prompt begins; `offsets[-1] == M`.
        prompt_ids: (P,) names of the prompts.
        clusters: (P,) number of the independent unit each prompt belongs to (0, 1, …).
            Prompts that share a conversation share a cluster.
        slices: Column name to its (P,) values, for `where`.
        columns: Name to (M,) further numbers a response, for metrics that ask for them
            (`Metric.columns`); NaN where a response has none.
        scored: Proxy rewards of the responses without a golden reward too, where there are any.
            Nothing else here knows of them: all metrics see labelled responses alone.
    """

    proxy: Floats
    golden: Floats
    offsets: Ints
    prompt_ids: Strings
    clusters: Ints
    slices: Mapping[str, Strings] = field(default_factory=dict)
    columns: Mapping[str, Floats] = field(default_factory=dict)
    scored: Scored | None = None

    def __post_init__(self) -> None:
        size = int(self.offsets[-1])
        if not self.proxy.shape == self.golden.shape == (size,):
            raise UndefinedMetricError(
                f"proxy has shape {self.proxy.shape} and golden {self.golden.shape}; "
                f"offsets ask for ({size},)"
            )
        for name, values in self.columns.items():
            if values.shape != (size,):
                raise UndefinedMetricError(
                    f"column {name!r} has shape {values.shape}; offsets ask for ({size},)"
                )
        # Stores keep float32; sums over many responses need more.
        object.__setattr__(self, "proxy", self.proxy.astype(np.float64, copy=False))
        object.__setattr__(self, "golden", self.golden.astype(np.float64, copy=False))
        for name, values in (("proxy", self.proxy), ("golden", self.golden)):
            bad = np.flatnonzero(~np.isfinite(values))
            if bad.size:
                prompt = int(np.searchsorted(self.offsets, bad[0], side="right")) - 1
                response = int(bad[0] - self.offsets[prompt])
                where = f"prompt {str(self.prompt_ids[prompt])!r}, response {response}"
                raise UndefinedMetricError(
                    f"{name} reward of {where} is {values[bad[0]]}; "
                    f"{bad.size} of {values.size} rewards are not finite"
                )
        if self.scored is not None and not np.array_equal(
            self.scored.proxy[self.scored.places], self.proxy
        ):
            raise UndefinedMetricError(
                "the proxy rewards of labelled responses are not those among all responses"
            )

    @classmethod
    def from_arrays(
        cls,
        proxy: Sequence[Any] | NDArray[Any],
        golden: Sequence[Any] | NDArray[Any],
        *,
        clusters: Sequence[Any] | None = None,
        slices: Mapping[str, Sequence[str]] | None = None,
        columns: Mapping[str, Sequence[Any] | NDArray[Any]] | None = None,
        prompt_ids: Sequence[str] | None = None,
    ) -> Self:
        """Rewards from one sequence of numbers a prompt (a (P, N) array, or ragged lists).

        Raises:
            UndefinedMetricError: A reward is NaN or infinite, or the shapes differ.
        """
        rows = [np.asarray(row, dtype=np.float64).ravel() for row in proxy]
        reference = [np.asarray(row, dtype=np.float64).ravel() for row in golden]
        counts = [row.size for row in rows]
        if counts != [row.size for row in reference]:
            raise UndefinedMetricError(
                f"proxy and golden differ in shape: {counts} and "
                f"{[row.size for row in reference]} responses a prompt"
            )
        size = len(rows)
        names = prompt_ids if prompt_ids is not None else [str(i) for i in range(size)]
        units = clusters if clusters is not None else range(size)
        empty = np.zeros(0)
        return cls(
            proxy=np.concatenate([empty, *rows]),
            golden=np.concatenate([empty, *reference]),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            prompt_ids=np.asarray(names, dtype=np.str_),
            clusters=np.unique(np.asarray(units), return_inverse=True)[1].astype(np.int64),
            slices={k: np.asarray(v, dtype=np.str_) for k, v in (slices or {}).items()},
            columns={k: _flat(v) for k, v in (columns or {}).items()},
        )

    @cached_property
    def memo(self) -> dict[object, Any]:
        """What was computed from all of these rewards and serves every slice of them."""
        return {}

    @property
    def counts(self) -> Ints:
        """(P,) number of responses of each prompt."""
        return np.diff(self.offsets)

    @cached_property
    def varies(self) -> NDArray[np.bool_]:
        """(P,) whether the model under test tells responses of a prompt apart."""
        found = np.zeros(len(self), dtype=bool)
        filled = np.flatnonzero(self.counts)
        if filled.size:
            starts = self.offsets[filled]
            most = np.maximum.reduceat(self.proxy, starts)
            found[filled] = most > np.minimum.reduceat(self.proxy, starts)
        return found

    def centred(self, values: Floats) -> Floats:
        """(M,) values less their mean over the prompt."""
        sums = np.add.reduceat(np.append(values, 0.0), self.offsets[:-1])
        return values - np.repeat(sums / np.maximum(self.counts, 1), self.counts)

    @property
    def units(self) -> int:
        """Number of independent units (clusters) of the pool."""
        return int(self.clusters.max()) + 1 if len(self) else 0

    def __len__(self) -> int:
        return int(self.offsets.size - 1)

    def __repr__(self) -> str:
        return f"<Rewards: {len(self)} prompts, {self.proxy.size} responses>"

    def blocks(self, min_responses: int = 1, max_size: int = BLOCK_SIZE) -> Iterator[Block]:
        """Dense blocks of equal N, ascending in N; prompts with fewer responses are left out.

        Args:
            min_responses: Fewest responses of a prompt that is taken.
            max_size: Most rewards in a block (one prompt is never cut), so that memory stays
                bounded whatever the size of the pool.
        """
        if max_size not in self._cut:
            self._cut[max_size] = tuple(self._blocks(max_size))
        return (block for block in self._cut[max_size] if block.proxy.shape[1] >= min_responses)

    @cached_property
    def _cut(self) -> dict[int, tuple[Block, ...]]:
        return {}

    def _blocks(self, max_size: int) -> Iterator[Block]:
        counts = self.counts
        for n in np.unique(counts[counts > 0]):
            same = np.flatnonzero(counts == n)
            height = max(1, max_size // int(n))
            for first in range(0, same.size, height):
                rows = same[first : first + height]
                proxy, golden, *columns = (
                    _rows(values, self.offsets, rows)
                    for values in (self.proxy, self.golden, *self.columns.values())
                )
                yield Block(rows, proxy, golden, dict(zip(self.columns, columns, strict=True)))

    def taking(self, places: Ints, rows: Ints | slice, counts: Ints) -> Self:
        """Some of the labelled responses, and nothing of the others.

        Args:
            places: (M',) which, one prompt after another.
            rows: (P',) the prompts that they are of.
            counts: (P',) how many are of each.
        """
        return replace(
            self,
            proxy=self.proxy[places],
            golden=self.golden[places],
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            prompt_ids=self.prompt_ids[rows],
            clusters=self.clusters[rows],
            slices={name: values[rows] for name, values in self.slices.items()},
            columns={name: values[places] for name, values in self.columns.items()},
            scored=None,
        )

    def require_slice(self, column: str) -> None:
        """Refuse a name that is no slice column.

        Raises:
            UndefinedMetricError: With the columns there are.
        """
        if column not in self.slices:
            raise UndefinedMetricError(
                f"the pool has no slice {column!r}; it has: {', '.join(self.slices) or 'none'}"
            )

    def slice_values(self, column: str, where: Mapping[str, str]) -> list[str]:
        """The values that a slice column has on the prompts that match `where`, sorted.

        Raises:
            UndefinedMetricError: There is no such column, or nothing matches.
        """
        mask = self.matching(where)
        self.require_slice(column)
        return [str(value) for value in np.unique(self.slices[column][mask])]

    def matching(self, conditions: Mapping[str, str]) -> NDArray[np.bool_]:
        """(P,) True where a prompt has all these slice values.

        Raises:
            UndefinedMetricError: There is no such slice column, or no prompt matches.
        """
        mask = np.ones(len(self), dtype=bool)
        for column, wanted in conditions.items():
            self.require_slice(column)
            mask &= self.slices[column] == wanted
        if not mask.any():
            named = ", ".join(f"{k}={v!r}" for k, v in conditions.items())
            known = [f"; {c} has: {listed(np.unique(self.slices[c]), 10)}" for c in conditions]
            raise UndefinedMetricError(
                f"no prompt of the pool has {named or 'anything to measure'}{''.join(known)}"
            )
        return mask


def _flat(rows: Sequence[Any] | NDArray[Any]) -> Floats:
    """All prompts one after another."""
    return np.concatenate([np.zeros(0), *(np.asarray(row, dtype=np.float64) for row in rows)])


def _rows(values: Floats, offsets: Ints, rows: Ints) -> Floats:
    """(p, N) values of prompts of equal N, to read only: a view where they stand together."""
    n = int(offsets[rows[0] + 1] - offsets[rows[0]])
    if rows[-1] - rows[0] + 1 == rows.size:
        found = values[offsets[rows[0]] : offsets[rows[-1] + 1]].reshape(-1, n)
    else:
        found = values[offsets[rows][:, None] + np.arange(n)]
    found.flags.writeable = False
    return found
