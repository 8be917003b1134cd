"""What a suite wants scored, and reading it back."""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import overload

import numpy as np

from rmcheck.errors import StoreError
from rmcheck.models.model import RewardModel, Sample, TooLong
from rmcheck.pool.pool import Prompt
from rmcheck.store.scores import Store
from rmcheck.store.table import Found


class PoolSamples(Sequence[Sample]):
    """Every response of some prompts, prompt by prompt, as a sample that is made when asked for.

    What is in the store needs a key each, and no sample.
    """

    def __init__(self, prompts: Iterable[Prompt]) -> None:
        self._prompts = tuple(prompts)
        counts = (len(prompt.responses) for prompt in self._prompts)
        self._ends = list(accumulate(counts))
        self._last: tuple[int, list[Sample]] = (-1, [])  # those of one prompt are asked for in turn

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Sample]:
        return (sample for prompt in self._prompts for sample in Sample.all_of(prompt))

    @overload
    def __getitem__(self, at: int) -> Sample: ...

    @overload
    def __getitem__(self, at: slice) -> list[Sample]: ...

    def __getitem__(self, at: int | slice) -> Sample | list[Sample]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        at = range(len(self))[at]
        number = bisect_right(self._ends, at)
        if self._last[0] != number:
            self._last = number, Sample.all_of(self._prompts[number])
        made = self._last[1]
        return made[at - self._ends[number] + len(made)]

    @property
    def text_keys(self) -> tuple[bytes, ...]:
        """`Sample.text_key` of each."""
        return tuple(key for prompt in self._prompts for key in prompt.text_keys)

    def __repr__(self) -> str:
        return f"<{len(self)} samples of {len(self._prompts)} prompts>"


@dataclass(frozen=True)
class Request:
    """Samples that one model must score.

    Attributes:
        model: The model; it need not be loaded.
        samples: In the order in which the scores are wanted; may repeat.
        too_long: What to do with conversations longer than the model takes.
    """

    model: RewardModel
    samples: Sequence[Sample]
    too_long: TooLong = "error"

    @cached_property
    def keys(self) -> tuple[bytes, ...]:
        """What each sample is stored under, computed once."""
        if self.model.precomputed:
            return tuple(sample.row_key for sample in self.samples)
        if self.model.reads_golden:
            return tuple(golden_key(s.text_key, s.golden) for s in self.samples)
        if isinstance(self.samples, PoolSamples):
            return self.samples.text_keys
        return tuple(sample.text_key for sample in self.samples)

    @cached_property
    def members(self) -> "tuple[Request, ...]":
        """The same of each member of the model; of a model without members the request itself."""
        if self.model.members == (self.model,):
            return (self,)
        return tuple(replace(self, model=member) for member in self.model.members)

    def __repr__(self) -> str:
        return f"<Request of {len(self.samples)} samples from {self.model.name}>"


def golden_key(key: bytes, golden: float | None) -> bytes:
    """A key for fakes whose reward depends on the golden reward as well as on the text."""
    return hashlib.blake2b(key + repr(golden).encode(), digest_size=16).digest()


def read_scores(request: Request, store: Store) -> Found:
    """Scores, lengths and cuts in the order of the request's samples; none is missing.

    Raises:
        StoreError: The store cannot be read, or samples have no score in it; nothing is scored
            here.
    """
    found = store.open(request.model.fingerprint).lookup(request.keys, request.too_long)
    missing = np.flatnonzero(found.missing)
    if len(missing):
        first = request.samples[missing[0]]
        raise StoreError(
            f"{store!r}: {len(missing)} of {len(request.samples)} samples have no score of "
            f"{request.model.name}, the first is prompt {first.prompt_id!r} response "
            f"{first.index}. Score them first."
        )
    return found


def scores_of(
    model: RewardModel, samples: Sequence[Sample], store: Store, *, too_long: TooLong = "error"
) -> Found:
    """`read_scores` for samples that are at hand.

    Raises:
        StoreError: See `read_scores`.
    """
    return read_scores(Request(model, tuple(samples), too_long), store)
