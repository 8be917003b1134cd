"""Which responses of a prompt a comparing judge is shown together, and in which order."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from rmcheck.models.sample import Sample


@dataclass(frozen=True, slots=True)
class ListSample(Sample):
    """Responses to one prompt in the order in which they are shown: the unit of comparing.

    Attributes:
        responses: Their texts.
        indices: Their positions in the prompt.
        at: Place of the response whose number is asked, which is `response`.
    """

    responses: tuple[str, ...] = ()
    indices: tuple[int, ...] = ()
    at: int = 0

    @classmethod
    def of(cls, shown: Sequence[Sample], at: int) -> "ListSample":
        """These samples of one prompt, in this order."""
        one, texts = shown[at], tuple(sample.response for sample in shown)
        places = tuple(sample.index for sample in shown)
        found = cls(
            one.prompt_id,
            one.index,
            one.messages,
            one.response,
            columns=_shared(shown),
            responses=texts,
            indices=places,
            at=at,
        )
        digest = hashlib.blake2b(b"".join(sample.text_key for sample in shown), digest_size=16)
        digest.update(b"list:%d" % at)
        object.__setattr__(found, "_text_key", digest.digest())
        return found

    @property
    def place(self) -> str:
        """Where it stands in its pool, for messages."""
        shown = ", ".join(map(str, self.indices))
        return f"prompt {self.prompt_id!r}, responses {shown} in this order"


def _shared(samples: Sequence[Sample]) -> Mapping[str, Any]:
    """The columns that all of them have alike."""
    first, *others = samples
    return {
        name: value
        for name, value in first.columns.items()
        if all(other.columns.get(name) == value for other in others)
    }


@dataclass(frozen=True)
class Compared:
    """What is compared of one prompt.

    Attributes:
        places: Of each different text where it stands among the samples: equal texts are one.
        lists: Numbers of different texts that are shown together, each list in this order and in
            the reverse.
    """

    places: tuple[tuple[int, ...], ...]
    lists: tuple[tuple[int, ...], ...]

    def shown(self, samples: Sequence[Sample]) -> Iterator[list[Sample]]:
        """Every list in both orders."""
        for numbers in self.lists:
            ordered = [samples[self.places[number][0]] for number in numbers]
            yield ordered
            yield ordered[::-1]


def compared(
    samples: Sequence[Sample], size: int, opponents: int, least: int = 2
) -> list[Compared]:
    """What is compared of each prompt.

    The texts of a prompt alone decide it, so that neither their order nor other prompts change it.

    Args:
        samples: Those with one `prompt_id` are the responses of a prompt.
        size: Most responses in one question.
        opponents: Of each response, where two are shown at a time and not all pairs are asked.
        least: Fewest texts about which something is asked.
    """
    prompts: dict[str, dict[bytes, list[int]]] = {}
    for place, sample in enumerate(samples):
        prompts.setdefault(sample.prompt_id, {}).setdefault(sample.text_key, []).append(place)
    found = []
    for texts in prompts.values():
        keys = sorted(texts)
        seed = hashlib.blake2b(b"".join(keys), digest_size=8).digest()
        lists = design(len(keys), size, opponents, int.from_bytes(seed, "big"))
        if len(keys) == 1 and least == 1:
            lists = [(0,)]
        found.append(Compared(tuple(tuple(texts[key]) for key in keys), tuple(lists)))
    return found


def design(count: int, size: int, opponents: int, seed: int) -> list[tuple[int, ...]]:
    """Lists of different numbers from 0 to `count` − 1.

    All in one list where they fit, else all pairs where each then has at most `opponents` others.
    Otherwise the numbers stand on a circle in random order, and from each of them on the same steps
    are taken: to the next one, which connects all of them, and to random others. Each number is in
    equally many lists: about `opponents` of two, or `size` of more.

    Args:
        count: How many there are.
        size: Of a list, 2 or more.
        opponents: Of each number in lists of two; 2 or more.
        seed: Of the order and the steps.
    """
    if count <= size:
        return [tuple(range(count))] if count > 1 else []
    if size == 2 and count - 1 <= opponents:
        return list(combinations(range(count), 2))
    rng = np.random.default_rng(seed)
    circle = rng.permutation(count).tolist()
    if size == 2:
        far = rng.permutation(np.arange(2, (count - 1) // 2 + 1))
        blocks = [(0, step) for step in (1, *far[: opponents // 2 - 1].tolist())]
    else:
        far = rng.permutation(np.arange(2, count))
        blocks = [(0, 1, *sorted(far[: size - 2].tolist()))]
    return [
        tuple(circle[(start + step) % count] for step in block)
        for block in blocks
        for start in range(count)
    ]
