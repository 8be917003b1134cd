"""Accuracy between golden rank bins: which distance between responses a pair should have."""

from dataclasses import dataclass, field

import numpy as np

from rmcheck.errors import UsageError
from rmcheck.metrics.pairwise import ORDER_ONLY, Accuracy, pair_counts_among
from rmcheck.metrics.ranks import order
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Floats, Ints
from rmcheck.metrics.settings import require_whole_number

# Responses of a prompt of which every pair may be in memory.
MOST_DIRECT = 128


def rank_bins(golden: Floats, bins: int) -> Ints:
    """(p, N) the bin of each response by golden rank: 1 = best to `bins` = worst.

    Responses that tie share their average rank, and so their bin. Without ties the bins have N /
    bins responses each, rounded up or down.
    """
    found = order(-golden)
    # Twice the average rank less a half, 1 to 2N − 1, so that all is in whole numbers.
    return found.scatter((found.start + found.stop) * bins // (2 * golden.shape[1])) + 1


@register
@dataclass(frozen=True)
class RankBinAccuracy(Accuracy):
    """Accuracy on pairs whose better response is in one golden rank bin, the worse in another.

    The N responses of a prompt are cut by golden rank into `bins` of equal size, 1 = best (equal
    golden rewards share a bin); pairs are the responses of bin `chosen` against those of bin
    `rejected`, or all pairs inside the bin where both are the same. Wen et al. found regret of
    best-of-n to go with pairs of a middling against a low response, and regret of PPO with a high
    against a middling one: 2 and 3, and 1 and 2, of three bins. Undefined on a prompt where golden
    ties leave no such pair. Higher is better; a proxy that knows nothing has 0.5.

    Args:
        bins: Number of rank bins; a prompt needs as many responses, or twice as many for pairs
            inside one bin.
        chosen: Bin of the better response, 1 = best.
        rejected: Bin of the worse response; not a better bin than `chosen`.

    Caution:
        That one bin foretells regret was found on one family of models; with few responses a bin
        holds one of them, and golden ties empty it.

    Reference:
        Wen et al. 2024, arXiv 2410.05584, figure 4.
    """

    name = "rank_bin_accuracy"
    invariances = ORDER_ONLY
    depends_on_n = True  # bins of few responses lie further apart or closer than bins of many

    bins: int = field(kw_only=True)
    chosen: int = field(kw_only=True)
    rejected: int = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole_number("bins", self.bins, 1)
        for name, value in (("chosen", self.chosen), ("rejected", self.rejected)):
            require_whole_number(name, value, 1)
            if value > self.bins:
                raise UsageError(f"{name} is {value}; valid: 1 (best) to {self.bins}, the bins.")
        if self.chosen > self.rejected:
            raise UsageError(
                f"chosen is {self.chosen}, a worse bin than rejected, {self.rejected}; "
                f"valid: 1 (best) to {self.rejected}."
            )

    @property
    def min_responses(self) -> int:
        """A response a bin, or two where pairs are inside one."""
        return self.bins * (2 if self.chosen == self.rejected else 1)

    def credit(self, proxy: Floats, golden: Floats) -> tuple[Floats, Floats]:
        """(p,) pairs of the two bins ordered rightly, and (p,) pairs of them."""
        found = order(golden)
        plain = (found.stop - found.start == 1).all(axis=1) & (proxy.shape[1] <= MOST_DIRECT)
        out = np.empty((2, len(proxy)))
        if plain.any():
            out[:, plain] = self._credit_of_places(found.arrange(proxy)[plain])
        if not plain.all():
            out[:, ~plain] = self._credit_of_bins(proxy[~plain], golden[~plain])
        return out[0], out[1]

    def _credit_of_bins(self, proxy: Floats, golden: Floats) -> tuple[Floats, Floats]:
        bins = rank_bins(golden, self.bins)
        among = (bins == self.chosen) | (bins == self.rejected)
        # Between two bins the bin is all of golden that counts: pairs inside either are ties.
        level = golden if self.chosen == self.rejected else -bins.astype(np.float64)
        return self.judged(pair_counts_among(proxy, level, among))

    def _credit_of_places(self, proxy: Floats) -> tuple[Floats, Floats]:
        """The same of (p, N) rewards in golden's order, without ties: bins are runs of places."""
        place = np.arange(proxy.shape[1])
        bins = rank_bins(place[None].astype(np.float64), self.bins)[0]
        of_bins = (bins[:, None] == self.chosen) & (bins == self.rejected)
        better, worse = (
            proxy[:, places] for places in np.nonzero(of_bins & (place[:, None] > place))
        )
        wins = (better > worse).sum(axis=1).astype(np.float64)
        if self.ties == "half":
            wins += (better == worse).sum(axis=1) / 2
        return wins, np.full(len(wins), float(better.shape[1]))
