"""Which responses of a prompt are to be labelled: drawn at random, or by what best-of-n would pick.

All responses stay in the pool, and each row says with which probability each of its responses
could be drawn. With those, the labelled responses stand for all of them (Horvitz and Thompson
1952), whatever reward model is judged later. Some are always drawn at random: they tell how golden
is spread, and with them no response has a small chance, so that none counts for very many.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UsageError
from rmcheck.metrics.best_of_n import tied_bon_weights
from rmcheck.metrics.rewards import Floats
from rmcheck.metrics.settings import require_whole_number

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Marks:
    """What to label of one prompt.

    Attributes:
        to_label: (N,) True for the responses to label.
        inclusion: (N,) probability of each to be one of them.
        random: (N,) True for those drawn at random.
    """

    to_label: Bools
    inclusion: Floats
    random: Bools


def draw_at_random(size: int, labels: int, generator: np.random.Generator) -> Marks:
    """Some of N responses, each with the same chance.

    Raises:
        UsageError: N is smaller than `labels`.
    """
    require_enough(size, labels)
    chance = np.full(size, labels / size)
    found = systematic(chance, generator)
    return Marks(found, chance, found)


def draw_by_weight(
    proxy: Floats, at: Sequence[int], labels: int, generator: np.random.Generator
) -> Marks:
    """Half at random (the larger half), and half by the weights of best-of-n.

    A response that is drawn both ways is labelled once, so there may be fewer labels.

    Args:
        proxy: (N,) rewards of a model whose picks are to be labelled often.
        at: Each n of best-of-n; their weights count alike.
        labels: Most responses to label, 3 or more.
        generator: Of the draws.

    Raises:
        UsageError: N is smaller than `labels` or an n, or `labels` is below 3.
    """
    require_whole_number("labels by weight", labels, 3)
    by_weight = labels // 2
    even = draw_at_random(proxy.size, labels - by_weight, generator)
    weights = np.mean([tied_bon_weights(proxy[None], n)[0] for n in at], axis=0)
    chance = in_proportion(weights, by_weight)
    picked = systematic(chance, generator)
    inclusion = 1 - (1 - even.inclusion) * (1 - chance)
    return Marks(even.to_label | picked, inclusion, even.to_label)


def in_proportion(weights: Floats, draws: int) -> Floats:
    """(N,) probabilities in proportion to weights, none above 1, that add up to `draws`.

    Where fewer weights than `draws` are above 0, they add up to as many.
    """
    certain = np.zeros(weights.size, dtype=bool)
    while True:  # what would be drawn twice is drawn for certain, and leaves less for the others
        share = np.where(certain, 0.0, weights)
        if not share.any():
            return certain.astype(np.float64)
        chance = np.where(certain, 1.0, (draws - certain.sum()) * share / share.sum())
        if (chance <= 1 + 1e-12).all():
            return np.asarray(np.minimum(chance, 1.0))
        certain |= chance > 1


def systematic(chance: Floats, generator: np.random.Generator) -> Bools:
    """(N,) as many draws as the probabilities add up to, each with its own (Madow 1949)."""
    order = generator.permutation(chance.size)
    upto = np.round(np.cumsum(chance[order]), 9)
    marks = generator.random() + np.arange(round(float(chance.sum())))
    found = np.zeros(chance.size, dtype=bool)
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
