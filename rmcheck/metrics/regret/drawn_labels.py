"""Labels that were drawn from all scored responses, and what they say of the proxy's best of n."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmcheck.metrics.best_of_n import best_of_n_gains, tied_bon_weights
from rmcheck.metrics.regret.golden_gain import Labels
from rmcheck.metrics.regret.nested_columns import RANDOM
from rmcheck.metrics.rewards import BLOCK_SIZE, Floats, Ints, Rewards
from rmcheck.metrics.scored import Scored


@dataclass(frozen=True)
class Drawn:
    """What is known of P prompts: labels and weights, flat, all prompts one after another.

    Attributes:
        rows: (P,) positions of the prompts in the pool.
        clusters: (P,) their independent units.
        size: (P,) scored responses of each.
        row: (M,) number of the prompt of each labelled response, from 0.
        chance: (M,) probability of the label.
        basis: (M, L) N × weight of each labelled response at n' = 2, 4, 8, … n.
        known: (P, L) Σ_all (w − 1/N) × basis.
        random: (M,) True where the label was drawn at random, beside others that were not.
    """

    rows: Ints
    clusters: Ints
    size: Ints
    row: Ints
    golden: Floats
    chance: Floats
    basis: Floats
    known: Floats
    proxy: Floats
    random: NDArray[np.bool_]

    @classmethod
    def of(cls, rewards: Rewards, scored: Scored, rows: Ints, n: int) -> "Drawn":
        """From the pool, for best-of-n."""
        counts = rewards.counts[rows]
        take = np.repeat(rewards.offsets[rows] - (np.cumsum(counts) - counts), counts)
        take = take + np.arange(counts.sum())
        basis, known = _weights(scored, rows, n)
        return cls(
            rows=rows,
            clusters=np.unique(rewards.clusters[rows], return_inverse=True)[1],
            size=scored.counts[rows],
            row=np.repeat(np.arange(rows.size), counts),
            golden=rewards.golden[take],
            chance=scored.inclusion[take],
            basis=basis[take],
            known=known[rows],
            proxy=rewards.proxy[take],
            random=rewards.columns.get(RANDOM, np.ones(rewards.proxy.size))[take] == 1,
        )

    def _sum(self, values: Floats) -> Floats:
        found: Floats = np.bincount(self.row, values, self.rows.size).astype(np.float64)
        return found

    @property
    def at_random(self) -> bool:
        """Whether all labelled responses of each prompt had the same chance."""
        low = np.full(self.rows.size, np.inf)
        high = np.zeros(self.rows.size)
        np.minimum.at(low, self.row, self.chance)
        np.maximum.at(high, self.row, self.chance)
        return bool((high - low <= 1e-9).all())

    def gains(self) -> Floats:
        """(P,) the proxy's gain of each prompt, unbiased."""
        slopes = self._slopes()
        predicted = np.einsum("ml,ml->m", self.basis, slopes[self.row])
        sampled = self._sampled(self.golden - predicted)
        return np.asarray(sampled + (self.known * slopes).sum(axis=1))

    def _sampled(self, values: Floats) -> Floats:
        """(P,) Σ_labelled (w − 1/N) (value − mean of the other labelled ones) / π."""
        for_many = 1 / self.chance
        total, weighted = self._sum(for_many)[self.row], self._sum(for_many * values)[self.row]
        rest = (weighted - for_many * values) / (total - for_many)
        size = self.size[self.row]
        return self._sum((self.basis[:, -1] - 1) / size * (values - rest) * for_many) * (
            1 - 1 / self.size
        )

    def _slopes(self) -> Floats:
        """(P, L) of the regression of golden on the basis, inside prompts, by other units' labels.

        The penalty is that of one label's information, shared by the slopes.
        """
        many = 1 / self.chance
        many = many / (self._sum(many) / self._sum(np.ones_like(many)))[self.row]
        total = self._sum(many)
        center = [self._sum(many * column) / total for column in (*self.basis.T, self.golden)]
        x = self.basis - np.stack(center[:-1], axis=1)[self.row]
        y = self.golden - center[-1][self.row]
        number, width = int(self.clusters.max()) + 1, x.shape[1]
        unit = self.clusters[self.row]
        products = np.zeros((number, width, width))
        for a in range(width):
            for b in range(a + 1):
                products[:, a, b] = np.bincount(unit, many * x[:, a] * x[:, b], number)
                products[:, b, a] = products[:, a, b]
        answers = np.stack(
            [np.bincount(unit, many * x[:, a] * y, number) for a in range(width)], axis=1
        )
        every = products.sum(axis=0)
        penalty = np.diag(np.diag(every) * width / len(x) + 1e-12)
        slopes = np.linalg.solve(
            every - products + penalty, (answers.sum(axis=0) - answers)[..., None]
        )
        return np.asarray(slopes[self.clusters, :, 0])

    def labels(self) -> Labels:
        """Golden rewards that tell how golden is spread inside prompts: those drawn at random.

        Where a prompt has fewer than two of them, all labels, each counted for what it stands for.
        """
        if not self.at_random and (self._sum(self.random.astype(float)) >= 2).all():
            kept = self.random
            return Labels(self.golden[kept], self.row[kept], np.ones(int(kept.sum())), True)
        many = 1 / self.chance
        # Scaled to the number of equal labels that would tell as much (Kish 1965).
        scale = self._sum(many) / self._sum(many**2)
        return Labels(self.golden, self.row, many * scale[self.row], self.at_random)

    def pairs(self) -> Floats:
        """(P, 2) gains of the proxy and of golden at n = 2; 0 where labels were not random."""
        out = np.zeros((self.rows.size, 2))
        if not self.at_random:
            return out
        counts = np.bincount(self.row, minlength=self.rows.size)
        start = np.cumsum(counts) - counts
        for k in np.unique(counts):
            rows = np.flatnonzero(counts == k)
            take = start[rows][:, None] + np.arange(k)
            out[rows] = best_of_n_gains(self.proxy[take], self.golden[take], 2)
        return out

    def ranks(self) -> Floats:
        """(P,) how much higher the labelled responses rank than all; 0 in expectation."""
        # The weight of the best of two is linear in the rank.
        return self._sum((self.basis[:, 0] - 1) / 2 / self.chance) / self.size

    def behind(self) -> float:
        """Labelled responses, in effect, that the proxy's best of n is measured by (Kish 1965)."""
        share = self.basis[:, -1] / self.size[self.row] / self.chance
        squares = float((share**2).sum())
        return float(share.sum()) ** 2 / squares if squares else 0.0

    def note(self) -> str:
        """How many labels of how many responses."""
        labels = self.row.size / self.rows.size
        drawn = "" if self.at_random else ", drawn by weight"
        return (
            f"from {labels:.3g} labels{drawn} of {self.size.mean():.3g} scored responses a prompt"
        )


def _ladder(n: int) -> list[int]:
    """2, 4, 8, … and n."""
    return [*(2**i for i in range(1, n.bit_length()) if 2**i < n), n]


def _weights(scored: Scored, rows: Ints, n: int) -> tuple[Floats, Floats]:
    """(M, L) N × weight of each labelled response, and (P, L) sums over all responses."""
    at = _ladder(n)
    basis = np.zeros((scored.places.size, len(at)))
    known = np.zeros((scored.counts.size, len(at)))
    labelled = np.full(scored.proxy.size, -1)
    labelled[scored.places] = np.arange(scored.places.size)
    for block, take in scored.blocks(rows, BLOCK_SIZE):
        proxy, size = scored.proxy[take], take.shape[1]
        own = labelled[take]
        last = tied_bon_weights(proxy, n)
        for i, m in enumerate(at):
            weights = last if m == n else tied_bon_weights(proxy, m)
            basis[own[own >= 0], i] = size * weights[own >= 0]
            known[block, i] = ((size * last - 1) * weights).sum(axis=1)
    return basis, known
