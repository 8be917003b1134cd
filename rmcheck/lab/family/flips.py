"""Which labels of a preference data set are wrong for which reward model of a family."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UsageError

Overlap = Literal["disjoint", "independent", "nested"]


def flipped_labels(
    names: Sequence[str], rates: Sequence[float], pairs: int, overlap: Overlap, seed: int
) -> NDArray[np.bool_]:
    """The pairs whose label is flipped, for each reward model.

    Of two reward models with the rates a and b, this share of labels is inconsistent:

    | overlap | share | made by |
    |---|---|---|
    | `disjoint` | a + b | consecutive slices of one permutation |
    | `independent` | a + b − 2ab | a draw of its own for each model, seeded by its name |
    | `nested` | abs(a − b) | one permutation: a model with more flips has all those of the others |

    Args:
        names: Of the M reward models, each once.
        rates: (M,) share of labels to flip, in [0, 1].
        pairs: Number of pairs.
        overlap: How the flips of two models lie to each other.
        seed: Of the permutation and the draws.

    Returns:
        (M, pairs) whether the label is flipped. With `disjoint` and `nested` exactly
        round(rate · pairs) are.

    Raises:
        UsageError: The rates of disjoint flips sum to more than 1.
    """
    if overlap == "independent":
        draws = [_own_draws(name, pairs, seed) for name in names]
        return np.array([u < rate for u, rate in zip(draws, rates, strict=True)])
    order = np.random.default_rng(seed).permutation(pairs)
    counts = [round(rate * pairs) for rate in rates]
    if overlap == "disjoint" and sum(rates) > 1 + 1e-9:
        raise UsageError(
            f"flips: the rates sum to {sum(rates):g}; disjoint flips need a sum of at most 1. "
            "Write overlap: independent"
        )
    flipped = np.zeros((len(rates), pairs), dtype=np.bool_)
    start = 0
    for row, count in zip(flipped, counts, strict=True):
        row[order[start : start + count]] = True
        start += count if overlap == "disjoint" else 0
    return flipped


def _own_draws(name: str, pairs: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng([seed, *name.encode()]).random(pairs)
