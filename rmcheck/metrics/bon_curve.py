"""Best-of-n for many n at once: golden and proxy gains, and how far each n is from the policy.

The responses of a prompt are sorted once. The gain of every n is then a weighted sum of the same
order statistics, so a grid of n costs one product with an (N, G) matrix of weights.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.best_of_n import bon_weights
from rmcheck.metrics.ranks import Order, order
from rmcheck.metrics.ratio import ratio
from rmcheck.metrics.rewards import Floats, Rewards

# A grid of n goes as far as this share of the prompts has responses.
MIN_COVERAGE = 0.9
GRID_POINTS = 16


def n_grid(most: int, points: int = GRID_POINTS) -> tuple[int, ...]:
    """At most `points` whole numbers from 1 to `most`, evenly spaced in log n.

    Raises:
        UsageError: `most` is below 1, or `points` below 2.
    """
    if most < 1 or points < 2:
        raise UsageError(f"a grid of {points} n up to {most}; valid: 2 points or more, n from 1")
    return tuple(np.unique(np.rint(np.geomspace(1, most, points)).astype(int)).tolist())


def largest_n(rewards: Rewards) -> int:
    """The largest n that nine prompts in ten can draw, among those with two responses.

    Raises:
        UndefinedMetricError: No prompt has two responses.
    """
    counts = rewards.counts[rewards.counts >= 2]
    if not counts.size:
        most = int(rewards.counts.max()) if len(rewards) else 0
        raise UndefinedMetricError(
            f"a best-of-n curve needs 2 responses a prompt; the pool has {most} at most"
        )
    return int(np.quantile(counts, 1 - MIN_COVERAGE, method="lower"))


@dataclass(frozen=True, slots=True)
class CurveGains:
    """What best-of-n changes on each prompt of a block, for G values of n.

    Attributes:
        golden: (p, G) golden reward of the proxy's choice above the prompt's mean.
        best: (p, G) the same for golden's own choice; never smaller.
        proxy: (p, G) proxy reward of the proxy's choice above the prompt's mean.
        kl: (p, G) nats; see `pool_kl`.
    """

    golden: Floats
    best: Floats
    proxy: Floats
    kl: Floats


def curve_gains(proxy: Floats, golden: Floats, grid: Sequence[int]) -> CurveGains:
    """Gains of best-of-n for every n of a grid: exact, without replacement, ties at random.

    Args:
        proxy: (p, N) rewards of the model under test.
        golden: (p, N) reference rewards.
        grid: (G,) values of n, from 1 to N.

    Raises:
        UsageError: An n is not between 1 and N.
    """
    size = proxy.shape[1]
    weights = np.stack([bon_weights(size, n) for n in grid], axis=1)
    found = order(proxy)
    gains = [
        _above_mean(_shared(np.take_along_axis(golden, found.index, axis=1), found)) @ weights,
        _above_mean(np.sort(golden, axis=1)) @ weights,
        _above_mean(np.take_along_axis(proxy, found.index, axis=1)) @ weights,
    ]
    for gain in gains:  # one response is no choice: exactly 0, where a product would round
        gain[:, [n == 1 for n in grid]] = 0.0
    return CurveGains(gains[0], gains[1], gains[2], pool_kl(found, grid))


def _above_mean(values: Floats) -> Floats:
    # Measured from the lowest first, so that equal rewards give exactly 0 and offsets cost nothing.
    above: Floats = values - values.min(axis=1, keepdims=True)
    above -= above.mean(axis=1, keepdims=True)
    return above


def _shared(arranged: Floats, found: Order) -> Floats:
    """Values in the proxy's order, those of each tie group replaced by their mean."""
    if not found.tied:
        return arranged
    low = arranged.min(axis=1, keepdims=True)
    sums = np.zeros((arranged.shape[0], arranged.shape[1] + 1))
    np.cumsum(arranged - low, axis=1, out=sums[:, 1:])
    group = np.take_along_axis(sums, found.stop, axis=1)
    group -= np.take_along_axis(sums, found.start, axis=1)
    return np.asarray(group / (found.stop - found.start) + low)


def pool_kl(found: Order, grid: Sequence[int]) -> Floats:
    """(p, G) KL divergence in nats of best-of-n from the pool's own distribution of rewards.

    Σ_k q_k ln(q_k / p_k) over the distinct rewards of a prompt, with p_k their share of the pool
    and q_k = F_k^n − F_{k−1}^n the chance that the best of n independent draws has the k-th. Ties
    make it smaller; it is never above `best_of_n.bon_kl(n)`, nor above ln N − ln(ties at the
    maximum).

    Reference:
        Beirami et al. 2024, theorem 3.1.
    """
    rows, size = found.start.shape
    tied = (found.stop - found.start > 1).any(axis=1)
    out = np.empty((rows, len(grid)))
    levels = np.arange(size) / size
    place = np.zeros(size, dtype=np.int64)
    out[~tied] = _level_kl(place, levels, levels + 1 / size, 1, grid)
    if tied.any():
        start, stop = found.start[tied], found.stop[tied]
        first = start == np.arange(size)
        row = np.nonzero(first)[0]
        out[tied] = _level_kl(row, start[first] / size, stop[first] / size, start.shape[0], grid)
    return out


def _level_kl(
    row: NDArray[np.int64], below: Floats, upto: Floats, rows: int, grid: Sequence[int]
) -> Floats:
    """(rows, G) divergences from the distribution function on both sides of every level."""
    share = upto - below
    found = []
    for n in grid:
        chosen = upto**n - below**n
        logs = np.log(np.maximum(chosen, np.finfo(float).tiny) / share)
        found.append(np.bincount(row, chosen * logs, minlength=rows))
    return np.maximum(np.stack(found, axis=1), 0.0)


def within_variance(values: Floats) -> Floats:
    """(p,) variance of (p, N) rewards inside each prompt (N − 1 in the denominator), N ≥ 2."""
    return np.asarray(values.var(axis=1, ddof=1))


@dataclass(frozen=True)
class BonCurve:
    """Best-of-n over a grid of n as sums per prompt, in the manner of a metric.

    All gains, ratios and their resamples are functions of (…, 4 G + 3) totals, so one weight matrix
    gives every band of every curve.

    Attributes:
        grid: Values of n, ascending. All prompts with as many responses as the largest
            contribute to every n, and no others.
    """

    grid: tuple[int, ...]

    def __post_init__(self) -> None:
        whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in self.grid)
        if not whole or list(self.grid) != sorted(set(self.grid)) or self.most < 2:
            raise UsageError(
                f"n is {', '.join(map(str, self.grid)) or 'missing'}; valid: ascending whole "
                "numbers from 1, the last 2 or more."
            )

    @property
    def most(self) -> int:
        """The largest n."""
        return self.grid[-1] if self.grid else 0

    def per_prompt(self, proxy: Floats, golden: Floats) -> Floats:
        """(p, 4 G + 3) sums of (p, N) rewards.

        The four gains of `CurveGains` over the grid, the variance of proxy and golden, and 1.
        """
        gains = curve_gains(proxy, golden, self.grid)
        ends = [within_variance(proxy), within_variance(golden), np.ones(proxy.shape[0])]
        return np.concatenate(
            [gains.golden, gains.best, gains.proxy, gains.kl, np.stack(ends, axis=1)], axis=1
        )

    def sums(self, rewards: Rewards) -> tuple[Floats, NDArray[np.bool_]]:
        """(P, 4 G + 3) sums of every prompt of a pool, and which prompts contribute.

        Raises:
            UndefinedMetricError: No prompt has as many responses as the largest n.
        """
        out = np.zeros((len(rewards), 4 * len(self.grid) + 3))
        took_part = rewards.counts >= self.most
        if not took_part.any():
            largest = int(rewards.counts.max()) if len(rewards) else 0
            raise UndefinedMetricError(
                f"best of {self.most} asked; the pool has {largest} responses a prompt at most"
            )
        for block in rewards.blocks(self.most):
            out[block.rows] = self.per_prompt(block.proxy, block.golden)
        return out, took_part

    def golden_gain(self, totals: Floats) -> Floats:
        """(…, G) mean golden gain of the proxy's choice, in golden units."""
        return self._mean(totals, 0)

    def best_gain(self, totals: Floats) -> Floats:
        """(…, G) mean golden gain of golden's own choice, in golden units."""
        return self._mean(totals, 1)

    def proxy_gain(self, totals: Floats) -> Floats:
        """(…, G) mean proxy gain of the proxy's choice, in proxy units."""
        return self._mean(totals, 2)

    def kl(self, totals: Floats) -> Floats:
        """(…, G) mean tie-aware divergence in nats; see `pool_kl`."""
        return self._mean(totals, 3)

    def ndr(self, totals: Floats) -> Floats:
        """(…, G) share of golden's gain that the proxy's choice keeps; NaN where golden gains 0."""
        return ratio(self._part(totals, 0), self._part(totals, 1))

    def drop(self, totals: Floats) -> Floats:
        """(…, G) share of golden's gain that is lost, 1 − `ndr`; lower is better."""
        return 1 - self.ndr(totals)

    def proxy_sd(self, totals: Floats) -> Floats:
        """(…) pooled within-prompt standard deviation of the proxy."""
        return np.asarray(np.sqrt(totals[..., -3] / totals[..., -1]))

    def golden_sd(self, totals: Floats) -> Floats:
        """(…) pooled within-prompt standard deviation of golden."""
        return np.asarray(np.sqrt(totals[..., -2] / totals[..., -1]))

    def _part(self, totals: Floats, which: int) -> Floats:
        size = len(self.grid)
        return totals[..., which * size : (which + 1) * size]

    def _mean(self, totals: Floats, which: int) -> Floats:
        return self._part(totals, which) / totals[..., -1:]


def bits(nats: Floats) -> Floats:
    """The divergence in bits."""
    return nats / math.log(2)
