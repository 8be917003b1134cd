"""What the picks of best-of-n become: the share of them that has a label, over n."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rmcheck.errors import UndefinedMetricError
from rmcheck.lab.curves.curve import band_columns, rows_of
from rmcheck.metrics.best_of_n import tied_bon_weights
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.stats.simultaneous import Band, band
from rmcheck.stats.units import Units


@dataclass(frozen=True, eq=False)
class LabelCurve:
    """The mean of a label over the picks, at every n.

    Attributes:
        label: A trait of the text, or a column of the pool.
        n: (G,) values of n.
        pool: Mean over all responses.
        proxy: (G,) mean over the proxy's picks, with bounds that hold for all n at once.
        golden: (G,) mean over golden's own picks.
        beyond: (G,) the first less the second: what golden does not ask for.
        prompts: Prompts that contribute, the same for every n.
    """

    label: str
    n: tuple[int, ...]
    pool: float
    proxy: Band
    golden: Band
    beyond: Band
    prompts: int

    def rows(self) -> list[dict[str, Any]]:
        """One row of plain numbers for each n; None where a number is undefined."""
        columns: dict[str, Any] = {}
        for name in ("proxy", "golden", "beyond"):
            columns |= band_columns(name, getattr(self, name))
        rows = zip(self.n, rows_of(columns), strict=True)
        return [{"label": self.label, "n": n, "pool": self.pool, **row} for n, row in rows]


def label_curve(
    rewards: Rewards,
    label: str,
    values: Floats,
    grid: Sequence[int],
    *,
    resamples: int = 2_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> LabelCurve:
    """How a label of the picks changes with n; exact best-of-n over all draws, ties at random.

    Args:
        rewards: Proxy and golden rewards of a pool.
        label: Its name.
        values: (M,) numbers, 1 or 0 for a share; NaN where a response has none. Prompts with such
            a response are left out.
        grid: Ascending values of n; prompts with fewer responses than the largest are left out.
        resamples: Bootstrap resamples of independent prompts.
        seed: Of the resampling.
        confidence: Of each one-sided bound.

    Raises:
        UndefinedMetricError: Fewer than two independent prompts have so many labelled responses.
    """
    sums, rows = _sums(replace(rewards, columns={label: values}), label, grid)
    units = Units.of(sums, rewards.clusters[rows], rewards.units)
    if len(units) < 2:
        raise UndefinedMetricError(
            f"label {label!r}: a curve needs 2 independent prompts with {max(grid)} responses that "
            f"all have it; there is {len(units)}"
        )
    whole, drawn = (_means(totals) for totals in (units.whole, units.resampled(resamples, seed)))
    count = len(grid)
    proxy, golden = slice(1, 1 + count), slice(1 + count, 1 + 2 * count)

    def bounded(found: Floats, resampled: Floats) -> Band:
        return band(found, resampled, confidence, units=len(units))

    return LabelCurve(
        label,
        tuple(grid),
        float(whole[0]),
        bounded(whole[proxy], drawn[:, proxy]),
        bounded(whole[golden], drawn[:, golden]),
        bounded(whole[proxy] - whole[golden], drawn[:, proxy] - drawn[:, golden]),
        len(rows),
    )


def _sums(rewards: Rewards, label: str, grid: Sequence[int]) -> tuple[Floats, np.ndarray]:
    """(p, 2 G + 2) mean over all responses, over the picks of each n, and 1; and their prompts."""
    found, rows = [np.zeros((0, 2 * len(grid) + 2))], [np.zeros(0, dtype=np.int64)]
    for block in rewards.blocks(max(grid)):
        values = block.columns[label]
        known = np.isfinite(values).all(axis=1)
        picked = [
            np.einsum("ij,ij->i", tied_bon_weights(scores[known], n), values[known])
            for scores in (block.proxy, block.golden)
            for n in grid
        ]
        ones = np.ones(int(known.sum()))
        found.append(np.stack([values[known].mean(axis=1), *picked, ones], axis=1))
        rows.append(block.rows[known])
    return np.concatenate(found), np.concatenate(rows)


def _means(totals: Floats) -> Floats:
    return np.asarray(totals[..., :-1] / np.maximum(totals[..., -1:], 1))
