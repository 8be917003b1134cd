"""What the texts look like that an optimised policy picks, by the proxy and by golden itself.

A proxy that rewards something golden does not care for shows it along the path: the longer one
chooses by it, the more of it the picked responses have.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rmcheck.metrics.best_of_n import bon_kl, tied_bon_weights
from rmcheck.metrics.rewards import Block, Floats, Rewards
from rmcheck.metrics.tilting import Tilt, tilted_weights

# Gives (p, N) weights of the responses of a block, as the proxy and as golden would have them.
Weigh = Callable[[Block], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Shift:
    """A mean over prompts with its 95 % interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class PickedTexts:
    """How one trait of the picked responses differs from that of all responses.

    Attributes:
        trait: What was counted; see `rmcheck.pool.traits`.
        n: Of best-of-n; None of a KL-regularised policy.
        kl: Nats from the policy; of best-of-n, where no rewards tie.
        pool: Mean of the trait over all responses.
        sd: Its standard deviation within prompts, for a common scale.
        proxy: Change by the proxy's choice.
        golden: Change by golden's own choice.
        beyond: The proxy's change less golden's: what golden does not ask for.
    """

    trait: str
    n: int | None
    kl: float
    pool: float
    sd: float
    proxy: Shift
    golden: Shift
    beyond: Shift


def picked_texts(
    rewards: Rewards, traits: Mapping[str, Floats], grid: Sequence[int]
) -> list[PickedTexts]:
    """How the traits change with n, on prompts with as many responses as the largest n.

    Exact best-of-n over all draws, ties at random. The interval is Student's, over independent
    units of prompts.

    Returns:
        Trait by trait, n ascending; none where fewer than two units have so many responses.
    """
    return _changes(rewards, traits, [(n, bon_kl(n), _best_of(n)) for n in grid], max(grid))


def tilted_texts(
    rewards: Rewards, traits: Mapping[str, Floats], kls: Sequence[float]
) -> list[PickedTexts]:
    """How the traits change with the KL of policies that are tilted towards proxy or golden.

    Both are at the same mean KL over the pool, with one β for all prompts. See `picked_texts`.

    Raises:
        UndefinedMetricError: The pool cannot reach a KL, or its rewards are constant.
    """
    blocks = list(rewards.blocks(2))
    proxy = Tilt.of([block.proxy for block in blocks], "proxy")
    golden = Tilt.of([block.golden for block in blocks], "golden")
    return _changes(rewards, traits, [(None, kl, _tilted(proxy, golden, kl)) for kl in kls], 2)


def _best_of(n: int) -> Weigh:
    return lambda block: (tied_bon_weights(block.proxy, n), tied_bon_weights(block.golden, n))


def _tilted(proxy: Tilt, golden: Tilt, kl: float) -> Weigh:
    first, second = (tilt.beta_at_kl(kl) * tilt.sd for tilt in (proxy, golden))
    return lambda block: (tilted_weights(block.proxy, first), tilted_weights(block.golden, second))


def _changes(
    rewards: Rewards,
    traits: Mapping[str, Floats],
    policies: Sequence[tuple[int | None, float, Weigh]],
    least: int,
) -> list[PickedTexts]:
    """Trait by trait the change under each policy, on prompts with `least` responses."""
    numbers = replace(rewards, columns=dict(traits))
    parts: dict[str, list[Floats]] = {name: [] for name in traits}
    units = []
    for block in numbers.blocks(least):
        weights = [weight for _, _, weigh in policies for weight in weigh(block)]
        units.append(rewards.clusters[block.rows])
        for name, values in block.columns.items():
            center = values.mean(axis=1)
            moved = [np.einsum("ij,ij->i", weight, values) - center for weight in weights]
            parts[name].append(np.stack([center, values.var(axis=1), *moved], axis=1))
    if not units:
        return []
    names = np.unique(np.concatenate(units), return_inverse=True)[1]
    if names.max() < 1:
        return []
    found = []
    for trait, rows in parts.items():
        table = np.concatenate(rows)
        for i, (n, kl, _) in enumerate(policies):
            proxy, golden = table[:, 2 + 2 * i], table[:, 3 + 2 * i]
            shifts = [_shift(change, names) for change in (proxy, golden, proxy - golden)]
            pool, spread = table[:, 0].mean(), np.sqrt(table[:, 1].mean())
            found.append(PickedTexts(trait, n, kl, float(pool), float(spread), *shifts))
    return found


def _shift(changes: Floats, units: np.ndarray) -> Shift:
    """The mean over prompts, with the error of other units."""
    from scipy.stats import t

    mean = changes.mean()
    count = int(units.max()) + 1
    off = np.bincount(units, changes - mean, minlength=count)
    error = np.sqrt(count / (count - 1) * (off**2).sum()) / changes.size
    reach = t.ppf(0.975, count - 1) * error
    return Shift(float(mean), float(mean - reach), float(mean + reach))
