"""What the texts look like that best-of-n picks, by the proxy and by golden itself.

A proxy that rewards something golden does not care for shows it along the path: the longer one
chooses by it, the more of it the picked responses have.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rmcheck.metrics.best_of_n import bon_kl, tied_bon_weights
from rmcheck.metrics.rewards import Floats, Rewards

_WORD = re.compile(r"\w+(?:['’]\w+)?")
_OPENING = re.compile(
    r"\W*(certainly|sure|of course|absolutely|great|good question|i'd be happy|i would be happy|"
    r"thank you for|thanks for|as an ai|here is|here are|here's)\b"
)
_HEDGE = re.compile(
    r"\b(maybe|perhaps|possibly|probably|might|may|could|seems?|appears?|likely|generally|usually|"
    r"often|sometimes|somewhat|it depends|in general|i think|i believe)\b"
)
_APOLOGY = re.compile(r"\b(sorry|apolog(y|ies|i[sz]e)|regret that|unfortunately)\b")
_REFUSAL = re.compile(
    r"\b(i|we) (can(no|')t|cannot|can’t|won't|will not|am unable to|am not able to|must decline)\b|"
    r"\bunable to (help|assist|provide|answer)\b"
)
_FORMATTING = re.compile(r"^\s*([-*•]|\d+[.)]|#{1,6})\s|\*\*|```|^\s*\|", re.MULTILINE)
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
        trait: What was counted; see `TRAITS`.
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


def words(text: str) -> list[str]:
    """Its words in small letters."""
    return _WORD.findall(text.lower())


def _per_hundred(pattern: re.Pattern[str]) -> Callable[[str], float]:
    return lambda text: 100 * len(pattern.findall(text.lower())) / max(1, len(words(text)))


def _repeated(text: str) -> float:
    """Share of runs of three words that stood in the text before."""
    found = words(text)
    runs = list(zip(found, found[1:], found[2:], strict=False))
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


TRAITS: Mapping[str, Callable[[str], float]] = {
    "words": lambda text: float(len(words(text))),
    "stock opening": lambda text: float(_OPENING.match(text.lower()) is not None),
    "hedges per 100 words": _per_hundred(_HEDGE),
    "apology": lambda text: float(_APOLOGY.search(text.lower()) is not None),
    "refusal": lambda text: float(_REFUSAL.search(text.lower()) is not None),
    "repeated runs": _repeated,
    "formatting per 100 words": _per_hundred(_FORMATTING),
}
RARE = "rare words"


def traits_of(responses: Sequence[str]) -> dict[str, Floats]:
    """Each trait of M responses, (M,): counts, shares, or 1 where a response has it.

    English words; a trait of another language is 0. Rare words are those that hardly any other
    response of the same pool has.
    """
    found = {
        name: np.fromiter(map(count, responses), dtype=np.float64, count=len(responses))
        for name, count in TRAITS.items()
    }
    spoken = [words(text) for text in responses]
    known = Counter(word for each in spoken for word in set(each))
    least = max(2, RARE_SHARE * len(responses))
    rare = [sum(known[word] < least for word in each) / max(1, len(each)) for each in spoken]
    return {**found, RARE: np.array(rare, dtype=np.float64)}


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
