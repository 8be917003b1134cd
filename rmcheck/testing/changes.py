"""Changes of rewards that a metric may declare to leave its value as it is."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from rmcheck.metrics.metric import Invariance, Metric
from rmcheck.metrics.rewards import Floats, Ints, Rewards


class PromptRewards(NamedTuple):
    """The rewards of one prompt, and the further numbers of its responses by name."""

    proxy: Floats
    golden: Floats
    columns: Mapping[str, Floats]

    def map(self, change: Callable[[Floats], Floats]) -> "PromptRewards":
        """The same change of everything."""
        columns = {name: change(values) for name, values in self.columns.items()}
        return PromptRewards(change(self.proxy), change(self.golden), columns)

    def with_proxy(self, metric: Metric, proxy: Floats) -> "PromptRewards":
        """As a model with these rewards sees it, which no edit of a response moves."""
        edited = {
            name: np.where(np.isfinite(self.columns[name]), proxy, np.nan)
            for name in metric.reward_columns
        }
        return self._replace(proxy=proxy, columns={**self.columns, **edited})

    def taken(self, positions: slice | Ints) -> "PromptRewards":
        """The responses at these positions."""
        return self.map(lambda values: values[positions])

    def __str__(self) -> str:
        everything = {"proxy": self.proxy, "golden": self.golden, **self.columns}
        return ", ".join(f"{name} {values.tolist()}" for name, values in everything.items())


def rows_of(rewards: Rewards) -> list[PromptRewards]:
    """The rewards prompt by prompt."""
    whole = PromptRewards(rewards.proxy, rewards.golden, rewards.columns)
    return [whole.taken(slice(a, b)) for a, b in itertools.pairwise(rewards.offsets)]


def from_rows(rows: Iterable[PromptRewards]) -> Rewards:
    """The inverse of `rows_of`."""
    given = list(rows)
    columns = given[0].columns if given else {}
    return Rewards.from_arrays(
        [row.proxy for row in given],
        [row.golden for row in given],
        columns={name: [row.columns[name] for row in given] for name in columns},
    )


def _shift(values: Floats, rng: np.random.Generator) -> Floats:
    return values + rng.integers(-20, 21)


def _scale(values: Floats, rng: np.random.Generator) -> Floats:
    return values * rng.integers(2, 10)


def _stretch(values: Floats, rng: np.random.Generator) -> Floats:
    # A lookup table of whole numbers: a formula could round two values to one.
    levels, place = np.unique(values, return_inverse=True)
    return np.cumsum(rng.integers(1, 50, size=levels.size)).astype(float)[place]


def _reverse(values: Floats, rng: np.random.Generator) -> Floats:
    return -values


def _redraw(values: Floats, rng: np.random.Generator) -> Floats:
    return rng.permutation(values) * rng.integers(1, 10)


def _scale_golden(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> Rewards:
    factor = float(rng.integers(2, 10))  # one for the pool
    return from_rows(row._replace(golden=row.golden * factor) for row in rows_of(rewards))


Change = Callable[[Floats, np.random.Generator], Floats]
ChangeOfRewards = Callable[[Metric, Rewards, np.random.Generator], Rewards]


def _of_proxy(change: Change) -> ChangeOfRewards:
    return lambda metric, rewards, rng: from_rows(
        _changed_together(row, metric.reward_columns, change, rng) for row in rows_of(rewards)
    )


def _changed_together(
    row: PromptRewards, names: Iterable[str], change: Change, rng: np.random.Generator
) -> PromptRewards:
    """One change of all that a model gave rewards to."""
    names = list(names)
    given = np.stack([row.proxy, *(row.columns[name] for name in names)])
    known = np.isfinite(given)
    given[known] = change(given[known], rng)
    return row._replace(
        proxy=given[0], columns={**row.columns, **dict(zip(names, given[1:], strict=True))}
    )


def _of_golden(change: Change) -> ChangeOfRewards:
    return lambda metric, rewards, rng: from_rows(
        row._replace(golden=change(row.golden, rng)) for row in rows_of(rewards)
    )


CHANGES: Mapping[Invariance, ChangeOfRewards] = {
    "proxy_shift": _of_proxy(_shift),
    "proxy_scale": _of_proxy(_scale),
    "proxy_monotone": _of_proxy(_stretch),
    "golden_shift": _of_golden(_shift),
    "golden_scale": _scale_golden,
    "golden_monotone": _of_golden(_stretch),
    "proxy_reversal": _of_proxy(_reverse),
    "golden_any": _of_golden(_redraw),
}
