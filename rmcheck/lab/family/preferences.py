"""Pairs of responses for the training of reward models, from a pool in any format."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UsageError
from rmcheck.pool.pool import Pool, Prompt
from rmcheck.pool.tool_calls import texts_alone


@dataclass(frozen=True, slots=True)
class Preference:
    """One prompt with the better and the worse of two responses, as TRL takes it.

    Attributes:
        prompt: The conversation, as `{"role": ..., "content": ...}`.
        chosen: The better response, one message of the assistant.
        rejected: The worse one.
    """

    prompt: list[dict[str, str]]
    chosen: list[dict[str, str]]
    rejected: list[dict[str, str]]

    def flipped(self) -> "Preference":
        """The same pair with the wrong label."""
        return Preference(self.prompt, self.rejected, self.chosen)


@dataclass(frozen=True)
class PreferenceData:
    """What a family is trained on.

    Attributes:
        pairs: In the order of the pool.
        prompt_of: (pairs,) number of the prompt that each pair belongs to.
        prompts: Number of prompts with a pair.
        ties: Pairs that were left out because both have one label.
    """

    pairs: tuple[Preference, ...]
    prompt_of: NDArray[np.int64]
    prompts: int
    ties: int

    def shard(self, number: int, of: int, seed: int) -> NDArray[np.bool_]:
        """(pairs,) whether a pair belongs to a shard; a prompt is in exactly one.

        Args:
            number: Of the shard, from 1.
            of: How many there are.
            seed: Of the permutation that deals the prompts out.
        """
        place = np.random.default_rng([seed, of]).permutation(self.prompts)
        return np.asarray(place[self.prompt_of] % of == number - 1)


def preference_data(pool: Pool, column: str, most: int | None, seed: int) -> PreferenceData:
    """Pairs in which one response has a higher label than the other.

    Args:
        pool: Prompts with two or more labelled responses.
        column: The label; higher is better.
        most: Pairs of a prompt at most, drawn at random; None takes all.
        seed: Of the draw.

    Raises:
        UsageError: The pool has no such column, or no pair with a difference.
    """
    if column not in pool.label_columns:
        known = ", ".join(pool.label_columns) or "none"
        raise UsageError(f"{pool.path}: no label column {column!r}; columns: {known}")
    rng = np.random.default_rng(seed)
    pairs: list[Preference] = []
    owners: list[int] = []
    ties = prompts = 0
    for prompt in pool.prompts:
        found, tied = _pairs_of(prompt, column)
        ties += tied
        if most is not None and len(found) > most:
            found = [found[i] for i in sorted(rng.choice(len(found), most, replace=False))]
        pairs += found
        owners += [prompts] * len(found)
        prompts += bool(found)
    if not pairs:
        raise UsageError(f"{pool.path}: no prompt has two responses with different {column!r}")
    return PreferenceData(tuple(pairs), np.array(owners, dtype=np.int64), prompts, ties)


def _pairs_of(prompt: Prompt, column: str) -> tuple[list[Preference], int]:
    labels: Sequence[float | None] = prompt.labels.get(column, ())
    asked = texts_alone(prompt)
    found, ties = [], 0
    for i, j in combinations(range(len(labels)), 2):
        a, b = labels[i], labels[j]
        if a is None or b is None:
            continue
        if a == b:
            ties += 1
            continue
        better, worse = (i, j) if a > b else (j, i)
        found.append(
            Preference(asked, _said(prompt.responses[better]), _said(prompt.responses[worse]))
        )
    return found, ties


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
