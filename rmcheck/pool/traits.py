"""What responses look like, as numbers: length, formatting, stock phrases.

Words and phrases are English; a trait that a language has other words for is 0 in it.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rmcheck.pool.columns import Floats, Ints
from rmcheck.pool.pool import Pool

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
_FLATTERY = re.compile(
    r"\b((great|good|excellent|brilliant|fantastic|wonderful|thoughtful|insightful) question|"
    r"(you are|you're|you’re) (absolutely|so|completely) right|(brilliant|sharp) mind)\b"
)
# Blanks of one line: with line breaks among them many of those would take a time of their square.
_FORMATTING = re.compile(r"^[^\S\n]*([-*•]|\d+[.)]|#{1,6})\s|\*\*|```|^[^\S\n]*\|", re.MULTILINE)
_ENDS = re.compile(r"[.!?…。！？:;)\]}>\"'”’`*_|~-]\s*$|\A\s*\Z")


@dataclass(frozen=True, eq=False)
class ResponseText:
    """A response as traits read it."""

    whole: str

    @cached_property
    def lower(self) -> str:
        """In small letters."""
        return self.whole.lower()

    @cached_property
    def words(self) -> list[str]:
        """Its words in small letters."""
        return _WORD.findall(self.lower)


def _per_hundred(pattern: re.Pattern[str]) -> Callable[[ResponseText], float]:
    return lambda text: 100 * len(pattern.findall(text.lower)) / max(1, len(text.words))


def _has(pattern: re.Pattern[str]) -> Callable[[ResponseText], float]:
    return lambda text: float(pattern.search(text.lower) is not None)


def _repeated(text: ResponseText) -> float:
    """Share of runs of three words that stood in the text before."""
    runs = list(zip(text.words, text.words[1:], text.words[2:], strict=False))
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


# A word that fewer of the pool's responses have is rare; one that only one has, always.
RARE, RARE_SHARE = "rare words", 0.001
TRAITS: Mapping[str, Callable[[ResponseText], float]] = {
    "words": lambda text: float(len(text.words)),
    "stock opening": lambda text: float(_OPENING.match(text.lower) is not None),
    "hedges per 100 words": _per_hundred(_HEDGE),
    "apology": _has(_APOLOGY),
    "refusal": _has(_REFUSAL),
    "flattery": _has(_FLATTERY),
    "repeated runs": _repeated,
    "formatting per 100 words": _per_hundred(_FORMATTING),
    "unfinished ending": lambda text: float(_ENDS.search(text.whole[-20:]) is None),
}

# What over-optimised policies are known to fall into.
HABITS = ("refusal", "flattery", "apology", "repeated runs", "hedges per 100 words")


def traits_of(texts: Sequence[ResponseText]) -> dict[str, Floats]:
    """Each trait of M responses, (M,): counts, shares, or 1 where a response has it."""
    return {
        name: np.fromiter(map(count, texts), dtype=np.float64, count=len(texts))
        for name, count in TRAITS.items()
    }


def traits_with_rare(responses: Sequence[str]) -> dict[str, Floats]:
    """`traits_of` M responses, and the share of words that hardly any other of them has."""
    texts = [ResponseText(response) for response in responses]
    known = Counter(word for text in texts for word in set(text.words))
    least = max(2, RARE_SHARE * len(texts))
    rare = [sum(known[w] < least for w in text.words) / max(1, len(text.words)) for text in texts]
    return {**traits_of(texts), RARE: np.array(rare, dtype=np.float64)}


@dataclass(frozen=True, eq=False)
class DrawnTraits:
    """Traits of some responses of a pool, drawn at random.

    Attributes:
        places: (m,) ascending positions of the responses among all of the pool.
        traits: Name to (m,) numbers.
    """

    places: Ints
    traits: Mapping[str, Floats]


def drawn_traits(
    pool: Pool, seed: int, *, most: int = 4_000, most_characters: int = 4_000_000, least: int = 6
) -> DrawnTraits:
    """Traits of as many responses of each prompt as a second or two allows.

    Where not even `least` of each can be read, some prompts are left out.
    """
    columns = pool.columns
    rng = np.random.default_rng(seed)
    characters = max(1.0, float(columns.lengths.mean())) if columns.lengths.size else 1.0
    number = int(min(most, most_characters / characters))
    each = max(least, number // max(1, columns.counts.size))
    # The rank of each response in a random order of its prompt.
    owner = columns.per_response(np.arange(columns.counts.size))
    order = np.lexsort((rng.random(owner.size), owner))
    rank = np.empty(owner.size, np.int64)
    rank[order] = np.arange(owner.size) - columns.ends[:-1][owner]
    taken = np.minimum(columns.counts, each)
    prompts = rng.permutation(columns.counts.size)
    kept = np.zeros(columns.counts.size, dtype=bool)
    kept[prompts[np.cumsum(taken[prompts]) <= max(number, each)]] = True
    places = np.flatnonzero((rank < each) & kept[owner])
    texts = [
        ResponseText(pool.prompts[row].responses[at - columns.ends[row]])
        for row, at in zip(owner[places].tolist(), places.tolist(), strict=True)
    ]
    return DrawnTraits(places, traits_of(texts))
