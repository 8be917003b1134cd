"""What a suite wants scored, and reading it back."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from rmcheck.errors import StoreError
from rmcheck.models.model import RewardModel, Sample, TooLong
from rmcheck.pool.pool import Prompt
from rmcheck.store.scores import Store
from rmcheck.store.table import Found


@dataclass(frozen=True)
class Request:
    """Samples that one model must score.

    Attributes:
        model: The model; it need not be loaded.
        samples: In the order in which the scores are wanted; may repeat.
        too_long: What to do with conversations longer than the model takes.
    """

    model: RewardModel
    samples: tuple[Sample, ...]
    too_long: TooLong = "error"

    @cached_property
    def keys(self) -> tuple[bytes, ...]:
        """What each sample is stored under, computed once."""
        if self.model.precomputed:
            return tuple(sample.row_key for sample in self.samples)
        if self.model.reads_golden:
            return tuple(golden_key(s.text_key, s.golden) for s in self.samples)
        return tuple(sample.text_key for sample in self.samples)

    @cached_property
    def members(self) -> "tuple[Request, ...]":
        """The same of each member of the model; of a model without members the request itself."""
        if self.model.members == (self.model,):
            return (self,)
        return tuple(replace(self, model=member) for member in self.model.members)

    def __repr__(self) -> str:
        return f"<Request of {len(self.samples)} samples from {self.model.name}>"


def samples_of(prompts: Iterable[Prompt]) -> list[Sample]:
    """(M,) every response of every prompt, prompt by prompt."""
    return [sample for prompt in prompts for sample in Sample.all_of(prompt)]


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
