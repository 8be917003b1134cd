"""From the log-odds of the steps of a response to one reward."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# What each way means, for messages and the report.
AGGREGATES: Mapping[str, str] = {
    "min": "the worst step's",
    "product": "that all steps are right, were they independent",
    "mean": "the average of all steps'",
    "last": "the last step's",
}


def aggregated(log_odds: Floats, how: str) -> float:
    """The log-odds of the probability that the steps of a response give together.

    Step k is right with probability p_k = 1 / (1 + exp(-z_k)); q_k = 1 - p_k. The reward is
    log P - log(1 - P), which grows with P and, unlike P itself, still tells very good and very bad
    responses apart:

    * `last`: P = p_K, so the reward is z_K itself.
    * `min`: P = min p_k, so the reward is the smallest z_k itself.
    * `mean`: P = (1 / K) Σ p_k and 1 - P = (1 / K) Σ q_k, so log Σ p_k - log Σ q_k.
    * `product`: log P = Σ log p_k, and 1 - P is the probability that step k is the first wrong
      one, summed over k: Σ_k q_k Π_{j<k} p_j. All of its terms are positive, so nothing cancels,
      as log(1 - exp(log P)) would where P rounds to 1.

    log p = -log(1 + exp(-z)) and log q = -log(1 + exp(z)) are exact for any size of z, and all
    sums are log-sum-exps.

    Args:
        log_odds: (K,) log-odds z_k of each step, at least one; higher is better.
        how: A key of `AGGREGATES`.
    """
    if how == "last":
        return float(log_odds[-1])
    if how == "min":
        return float(log_odds.min())
    right, wrong = -np.logaddexp(0, -log_odds), -np.logaddexp(0, log_odds)
    if how == "mean":
        return float(np.logaddexp.reduce(right) - np.logaddexp.reduce(wrong))
    all_right = np.cumsum(right)
    first_wrong = wrong + np.concatenate([[0.0], all_right[:-1]])
    return float(all_right[-1] - np.logaddexp.reduce(first_wrong))
