"""What the texts look like that best-of-n picks, by the proxy and by golden itself.

A proxy that rewards something golden does not care for shows it along the path: the longer one
chooses by it, the more of it the picked responses have.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rmcheck.metrics.best_of_n import bon_kl, tied_bon_weights
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.pool.traits import ResponseText, traits_of

# A word that fewer of the pool's responses have is rare; one that only one has, always.
RARE_SHARE = 0.001


@dataclass(frozen=True)
class Shift:
    """A mean over prompts with its 95 % interval.

    Attributes:
        value: The mean.
        lower: One end.
        upper: The other end.
    """

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class PickedTexts:
    """How one trait of the picked responses differs from that of all responses.

    Attributes:
        trait: What was counted; see `rmcheck.pool.traits`.
        n: Of best-of-n.
        kl: Nats from the policy, where no rewards tie.
        pool: Mean of the trait over all responses.
        sd: Its standard deviation within prompts, for a common scale.
        proxy: Change by the proxy's choice.
        golden: Change by golden's own choice.
        beyond: The proxy's change less golden's: what golden does not ask for.
    """

    trait: str
    n: int
    kl: float
    pool: float
    sd: float
    proxy: Shift
    golden: Shift
    beyond: Shift


RARE = "rare words"


def traits_with_rare(responses: Sequence[str]) -> dict[str, Floats]:
    """`traits_of` M responses, and the share of words that hardly any other of them has."""
    texts = [ResponseText(response) for response in responses]
    known = Counter(word for text in texts for word in set(text.words))
    least = max(2, RARE_SHARE * len(texts))
    rare = [sum(known[w] < least for w in text.words) / max(1, len(text.words)) for text in texts]
    return {**traits_of(texts), RARE: np.array(rare, dtype=np.float64)}


def picked_texts(
    rewards: Rewards, traits: Mapping[str, Floats], grid: Sequence[int]
) -> list[PickedTexts]:
    """How the traits change with n, on prompts with as many responses as the largest n.

    Exact best-of-n over all draws, ties at random. The interval is Student's, over independent
    units of prompts.

    Args:
        rewards: Of the pool.
        traits: Name to (M,) numbers in the order of the rewards.
        grid: Values of n, from 2.

    Returns:
        Trait by trait, n ascending; none where fewer than two units have so many responses.
    """
    numbers = replace(rewards, columns=dict(traits))
    parts: dict[str, list[Floats]] = {name: [] for name in traits}
    units = []
    for block in numbers.blocks(max(grid)):
        weights = [
            (tied_bon_weights(block.proxy, n), tied_bon_weights(block.golden, n)) for n in grid
        ]
        units.append(rewards.clusters[block.rows])
        for name, values in block.columns.items():
            center = values.mean(axis=1)
            moved = [
                np.einsum("ij,ij->i", weight, values) - center
                for pair in weights
                for weight in pair
            ]
            parts[name].append(np.stack([center, values.var(axis=1), *moved], axis=1))
    if not units:
        return []
    names = np.unique(np.concatenate(units), return_inverse=True)[1]
    if names.max() < 1:
        return []
    found = []
    for trait, rows in parts.items():
        table = np.concatenate(rows)
        for i, n in enumerate(grid):
            proxy, golden = table[:, 2 + 2 * i], table[:, 3 + 2 * i]
            shifts = [_shift(change, names) for change in (proxy, golden, proxy - golden)]
            pool, spread = table[:, 0].mean(), np.sqrt(table[:, 1].mean())
            found.append(PickedTexts(trait, n, bon_kl(n), float(pool), float(spread), *shifts))
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
