"""What a suite wants scored, and reading it back."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import overload

import numpy as np

from rmcheck.errors import PoolError, Problem, ScoringError, StoreError
from rmcheck.models.model import RewardModel
from rmcheck.models.sample import Sample, TooLong
from rmcheck.pool.asked import GOLDEN, AskedColumns, Given, columns_key, lacking
from rmcheck.pool.keys import Keys, NamedResponses, as_keys
from rmcheck.pool.pool import Pool, Prompt
from rmcheck.store.scores import Store
from rmcheck.store.table import Found


class PoolSamples(Sequence[Sample]):
    """Every response of a pool, prompt by prompt, as a sample that is made when asked for.

    What is in the store needs a key each, and no sample and no text.
    """

    def __init__(self, pool: Pool, hidden: frozenset[str] = GOLDEN) -> None:
        self._pool = pool
        self._hidden = hidden
        self._given: Given | None = None
        self._last: tuple[int, list[Sample]] = (-1, [])  # those of one prompt are asked for in turn

    def __len__(self) -> int:
        return int(self._pool.columns.indices.size)

    def __iter__(self) -> Iterator[Sample]:
        return (sample for prompt in self._pool.prompts for sample in self._samples(prompt))

    @overload
    def __getitem__(self, at: int) -> Sample: ...

    @overload
    def __getitem__(self, at: slice) -> list[Sample]: ...

    def __getitem__(self, at: int | slice) -> Sample | list[Sample]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        at = range(len(self))[at]
        ends = self._pool.columns.ends
        number = int(np.searchsorted(ends, at, side="right")) - 1
        last, made = self._last
        if last != number:
            made = self._samples(self._pool.prompts[number])
            self._last = number, made
        return made[at - int(ends[number])]

    def _samples(self, prompt: Prompt) -> list[Sample]:
        return Sample.all_of(prompt, self._given.of(prompt) if self._given else None)

    def reading(self, asked: AskedColumns) -> "PoolSamples":
        """The same samples with the columns that a model asks for.

        Raises:
            PoolError: The pool has not one of them.
        """
        given = Given(asked, self._pool, self._hidden)
        if problem := given.problem():
            raise PoolError([Problem(str(self._pool.path), problem)])
        samples = PoolSamples(self._pool, self._hidden)
        samples._given = given
        return samples

    @property
    def text_keys(self) -> Keys:
        """(M,) `Sample.text_key` of each."""
        return self._pool.keys

    @property
    def named(self) -> NamedResponses:
        """The samples as far as they are known without reading a text."""
        columns = self._pool.columns
        ids = columns.per_response(columns.prompt_ids).tolist()
        return NamedResponses(ids, columns.indices, self.text_keys)

    def __repr__(self) -> str:
        return f"<{len(self)} samples of {len(self._pool.prompts)} prompts>"


def named_responses(samples: Sequence[Sample]) -> NamedResponses:
    """Samples without their texts."""
    if isinstance(samples, PoolSamples):
        return samples.named
    return NamedResponses(
        [sample.prompt_id for sample in samples],
        np.array([sample.index for sample in samples], np.int64),
        as_keys([sample.text_key for sample in samples]),
    )


@dataclass(frozen=True)
class Request:
    """Samples that one model must score.

    Attributes:
        samples: In the order in which the scores are wanted; may repeat.
        too_long: What to do with conversations longer than the model takes.
    """

    model: RewardModel
    samples: Sequence[Sample]
    too_long: TooLong = "error"

    @cached_property
    def keys(self) -> Keys:
        """(len(samples),) what each sample is stored under, computed once."""
        if self.model.precomputed:
            return self.named.row_keys
        if self.model.reads_golden:
            return as_keys([golden_key(s.text_key, s.golden) for s in self.samples])
        if self.model.asked:
            return as_keys([columns_key(s.text_key, s.columns) for s in self.needed])
        if isinstance(self.samples, PoolSamples):
            return self.samples.text_keys
        return as_keys([sample.text_key for sample in self.samples])

    @cached_property
    def needed(self) -> Sequence[Sample]:
        """The samples as the model needs them: no texts where its members have read them.

        Raises:
            PoolError, ScoringError: The model asks for a column that there is not.
        """
        asked, samples = self.model.asked, self.samples
        if isinstance(samples, PoolSamples):
            if self.model.is_ensemble:
                return Sample.without_texts(samples.named)
            return samples.reading(asked) if asked else samples
        if column := lacking(asked, [sample.columns for sample in samples] if asked else []):
            raise ScoringError(
                f"{self.model.spec} asks for the column {column!r}, and these texts come without it"
            )
        return samples

    @cached_property
    def named(self) -> NamedResponses:
        """The samples without their texts."""
        return named_responses(self.samples)

    @cached_property
    def members(self) -> "tuple[Request, ...]":
        """The same of each member of the model; else what the model itself must score for it."""
        if self.model.is_ensemble:
            return tuple(member for part in self.parts for member in part.members)
        samples = self.model.questions(self.needed)
        return (self,) if samples is self.needed else (replace(self, samples=samples),)

    @cached_property
    def parts(self) -> "tuple[Request, ...]":
        """The same of each part of the model."""
        return tuple(replace(self, model=part) for part in self.model.parts)

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
