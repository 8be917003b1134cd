"""Worlds of proxy and golden rewards in which the regret at any n can be known."""

from dataclasses import replace

import numpy as np

from rmcheck.metrics.rewards import Rewards
from rmcheck.metrics.scored import Scored

WORLDS = ("gaussian", "scales", "heavy", "hacked")


def world(kind, prompts, responses, seed):
    """(P, N) proxy and golden.

    `gaussian` has one correlation for all prompts; in `scales` prompts spread differently, proxy
    and golden in proportion; in `heavy` the proxy's errors are Student's t with 3 degrees of
    freedom; in `hacked` one response in a hundred fools the proxy.
    """
    rng = np.random.default_rng(seed)
    golden = rng.standard_normal((prompts, responses))
    if kind == "gaussian":
        return golden + 0.8 * rng.standard_normal(golden.shape), golden
    if kind == "scales":
        scale = rng.lognormal(0, 0.4, (prompts, 1))
        return scale * (golden + 0.8 * rng.standard_normal(golden.shape)), scale * golden
    if kind == "heavy":
        return golden + 0.4 * rng.standard_t(3, golden.shape), golden
    if kind == "hacked":
        noisy = golden + 0.8 * rng.standard_normal(golden.shape)
        return np.where(rng.random(golden.shape) < 0.01, 5.0 + noisy, noisy), golden
    raise ValueError(kind)


def partly_labelled(proxy, golden, *, inclusion=None, slices=None):
    """Rewards where some responses have no golden reward: NaN there.

    `inclusion` is the chance of each response to have one; else all of a prompt had the same.
    """
    known = [np.isfinite(row) for row in golden]
    chance = inclusion or [np.full(mask.size, mask.mean()) for mask in known]
    offsets = np.concatenate([[0], np.cumsum([mask.size for mask in known])])
    scored = Scored.from_labels(
        np.concatenate(list(proxy)), offsets, np.concatenate(known), np.concatenate(chance)
    )
    rows = [[row[mask] for row, mask in zip(of, known, strict=True)] for of in (proxy, golden)]
    return replace(Rewards.from_arrays(*rows, slices=slices), scored=scored)
