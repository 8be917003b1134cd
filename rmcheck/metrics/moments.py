"""Second moments inside prompts: sums from which pooled correlations follow."""

import itertools

import numpy as np

from rmcheck.metrics.rewards import Floats

# A variance below this share of the mean square is rounding.
ROUNDING_SHARE = 1e-12


def within_moments(*values: Floats) -> Floats:
    """Variances and covariances of every row of several (p, N) arrays.

    Args:
        values: k arrays of the same shape, N ≥ 2.

    Returns:
        (p, k + k(k − 1) / 2) the k variances, then the covariances of pairs (0, 1), (0, 2), …,
        (1, 2), …, all with N − 1, so that prompts of different N estimate the same.
    """
    freedom = values[0].shape[1] - 1
    # From the smallest value, so that a constant row has variance 0 exactly.
    above = [v - v.min(axis=1, keepdims=True) for v in values]
    centred = [v - v.mean(axis=1, keepdims=True) for v in above]
    squares = [(v, v) for v in centred]
    products = [*squares, *itertools.combinations(centred, 2)]
    return np.stack([np.einsum("ij,ij->i", a, b) / freedom for a, b in products], axis=-1)


def l_moments(values: Floats) -> tuple[float, float]:
    """Second and fourth sample L-moment (Hosking 1990); the fourth is 0 of fewer than four."""
    n, x = values.size, np.sort(values)
    if n < 2:
        return 0.0, 0.0
    k = np.arange(n)
    b0, b1 = x.mean(), (k * x).sum() / (n * (n - 1))
    if n < 4:
        return float(2 * b1 - b0), 0.0
    b2 = (k * (k - 1) * x).sum() / (n * (n - 1) * (n - 2))
    b3 = (k * (k - 1) * (k - 2) * x).sum() / (n * (n - 1) * (n - 2) * (n - 3))
    return float(2 * b1 - b0), float(20 * b3 - 30 * b2 + 12 * b1 - b0)
