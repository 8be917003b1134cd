"""Second moments inside prompts: sums from which pooled correlations follow."""

import itertools

import numpy as np

from rmcheck.metrics.rewards import Floats


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
