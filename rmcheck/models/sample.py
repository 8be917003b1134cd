"""What is scored: a prompt with one of its responses, and as a model reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import PartialScoringError, ScoringError
from rmcheck.pool.keys import NamedResponses
from rmcheck.pool.pool import Message, Prompt, text_keys
from rmcheck.wording import listed

# What to do with a conversation longer than the model takes: refuse it, or cut tokens from the
# beginning ("left", keeps the response) or from the end ("right").
TooLong = Literal["error", "left", "right"]
_NONE: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt with one of its responses: the unit of scoring.

    Attributes:
        prompt_id: Name of the prompt in its pool.
        index: Position of the response in its prompt.
        messages: The conversation.
        response: The answer to score.
        golden: Its golden reward where known; only fakes with known faults look at it.
        columns: Further columns of its row, for models that ask for them (`RewardModel.asked`).
    """

    prompt_id: str
    index: int
    messages: tuple[Message, ...]
    response: str
    golden: float | None = None
    columns: Mapping[str, Any] = field(default_factory=lambda: _NONE, compare=False)
    # No argument, so that no changed copy takes it over.
    _text_key: bytes = field(default=b"", init=False, repr=False, compare=False)

    @classmethod
    def all_of(
        cls, prompt: Prompt, columns: Sequence[Mapping[str, Any]] | None = None
    ) -> "list[Sample]":
        """One for each response of a prompt, with the columns of each."""
        samples = []
        rows = columns or [_NONE] * len(prompt.responses)
        for index, response, key, row in zip(
            prompt.indices, prompt.responses, prompt.text_keys, rows, strict=True
        ):
            sample = cls(prompt.prompt_id, index, prompt.messages, response, None, row)
            object.__setattr__(sample, "_text_key", key)
            samples.append(sample)
        return samples

    @classmethod
    def without_texts(cls, rows: NamedResponses) -> "list[Sample]":
        """As far as they are known where nobody needs their texts."""
        samples = []
        places = zip(rows.prompt_ids, rows.indices.tolist(), rows.text_keys.tolist(), strict=True)
        for prompt_id, index, key in places:
            sample = cls(prompt_id, index, (), "")
            object.__setattr__(sample, "_text_key", key)
            samples.append(sample)
        return samples

    @property
    def place(self) -> str:
        """Where it stands in its pool, for messages."""
        return f"prompt {self.prompt_id!r}, response {self.index}"

    @property
    def text_key(self) -> bytes:
        """16 bytes that name the conversation and response: `rmcheck.pool.pool.text_keys`."""
        return self._text_key or text_keys(self.messages, (self.response,))[0]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A sample as its model reads it.

    Attributes:
        key: 16 bytes that name the model's input (the token ids); equal inputs score once.
        length: Tokens the model will read (characters / 4 for models of text).
        ids: Token ids; empty for models of text.
        type_ids: Token type ids where the tokenizer's text pair gives them, or, for `implicit:`, 1
            at the tokens of the response and 0 elsewhere, or, for `process:`, also 2 where a step
            is read; empty otherwise.
        cut: Tokens removed because the conversation was too long; 0 for nearly all.
        sample: The sample itself.
    """

    key: bytes
    length: int
    ids: tuple[int, ...]
    type_ids: tuple[int, ...]
    cut: int
    sample: Sample


def named_prompts(samples: Sequence[Sample], shown: int = 5) -> str:
    """The prompts of some samples for a message: the first few, and how many more there are."""
    return listed(dict.fromkeys(repr(sample.prompt_id) for sample in samples), shown)


def checked_ids(encoded: list[Encoded], vocabulary: int | None, model: str) -> list[Encoded]:
    """The samples as they are, where the model has an embedding for each of their ids.

    Raises:
        ScoringError: It has not; a GPU would be lost to all later models of the process.
    """
    outside = [e for e in encoded if vocabulary is not None and max(e.ids) >= vocabulary]
    if outside:
        raise ScoringError(
            f"{model}: the tokenizer gives ids up to {max(max(e.ids) for e in outside)}, but the "
            f"model has {vocabulary} embeddings: it is not the tokenizer that the model was "
            "trained with, or tokens were added and the model was not resized "
            f"(prompts {named_prompts([e.sample for e in outside])})"
        )
    return encoded


def checked_rewards(
    rewards: NDArray[np.float64], batch: Sequence[Encoded], model: str
) -> NDArray[np.float64]:
    """The rewards as they are, one for each sample of the batch and all finite.

    Raises:
        ScoringError: Their number differs from the batch's.
        PartialScoringError: Some are NaN or infinite; it carries the others.
    """
    if rewards.shape != (len(batch),):
        raise ScoringError(f"{model}: {len(batch)} samples, but rewards of shape {rewards.shape}")
    finite = np.isfinite(rewards)
    bad = np.flatnonzero(~finite)
    if bad.size:
        first = batch[int(bad[0])].sample
        named = named_prompts([batch[int(i)].sample for i in bad])
        raise PartialScoringError(
            f"{model}: the reward of {first.place} is {rewards[bad[0]]}; {bad.size} of "
            f"{len(batch)} rewards in this batch are not finite (prompts {named})",
            {int(i): float(rewards[i]) for i in np.flatnonzero(finite)},
            goes_on=False,
        )
    return rewards
