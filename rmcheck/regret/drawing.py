"""Which responses of a prompt are to be labelled: drawn at random, or by what best-of-n would pick.

All responses stay in the pool, and each row says with which probability each of its responses
could be drawn. With those, the labelled responses stand for all of them (Horvitz and Thompson
1952), whatever reward model is judged later.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UsageError
from rmcheck.metrics.best_of_n import tied_bon_weights
from rmcheck.metrics.rewards import Floats
from rmcheck.metrics.settings import require_whole_number

# Share of the draws that are made at random where the others go by weight. No response then has a
# small chance, so none counts for very many others (defensive sampling, Hesterberg 1995).
AT_RANDOM = 0.5


def inclusion_by_weight(proxy: Floats, at: Sequence[int], labels: int) -> Floats:
    """(N,) probabilities with which responses are drawn: half at random, half by best-of-n.

    Args:
        proxy: (N,) rewards of a model whose picks are to be labelled often.
        at: Each n of best-of-n; their weights count alike.
        labels: Responses to draw; the probabilities add up to it.

    Raises:
        UsageError: N is smaller than `labels` or an n.
    """
    require_enough(proxy.size, labels)
    weights = np.mean([tied_bon_weights(proxy[None], n)[0] for n in at], axis=0)
    wanted = AT_RANDOM / proxy.size + (1 - AT_RANDOM) * weights
    certain = np.zeros(proxy.size, dtype=bool)
    while (
        True
    ):  # what would be drawn more than once is drawn for certain; the rest share what is left
        rest = labels - certain.sum()
        share = np.where(certain, 0.0, wanted)
        chance = np.where(certain, 1.0, rest * share / max(share.sum(), 1e-300))
        if (chance <= 1 + 1e-12).all():
            return np.minimum(chance, 1.0)
        certain |= chance > 1


def inclusion_at_random(size: int, labels: int) -> Floats:
    """(N,) equal probabilities that add up to `labels`.

    Raises:
        UsageError: N is smaller than `labels`.
    """
    require_enough(size, labels)
    return np.full(size, labels / size)


def drawn(inclusion: Floats, generator: np.random.Generator) -> NDArray[np.bool_]:
    """(N,) which responses are drawn: as many as the probabilities add up to, each with its own.

    Systematic sampling in random order (Madow 1949).
    """
    order = generator.permutation(inclusion.size)
    upto = np.round(np.cumsum(inclusion[order]), 9)
    marks = generator.random() + np.arange(round(float(inclusion.sum())))
    found = np.zeros(inclusion.size, dtype=bool)
    found[order[np.searchsorted(upto, marks, side="right")]] = True
    return found


def require_enough(size: int, labels: int) -> None:
    """Refuse fewer than two labels, and more labels than responses.

    Raises:
        UsageError: With both numbers.
    """
    require_whole_number("labels", labels, 2)
    if size < labels:
        raise UsageError(f"{labels} labels a prompt are asked for, and one has {size} responses")
