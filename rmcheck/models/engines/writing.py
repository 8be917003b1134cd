"""Language models that write: what an engine draws, and what is left of it for a reader."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

# A seed of so many bits is a whole number that every engine and every JSON reader takes as it is.
SEED_BITS = 53


@dataclass(frozen=True, slots=True)
class Answer:
    """What a language model wrote.

    Attributes:
        text: The answer without special tokens; may be empty.
        cut: Whether it reached the most tokens asked for before the model ended it.
    """

    text: str
    cut: bool = False


class Sampler(Protocol):
    """A loaded language model that draws tokens."""

    def sample(
        self,
        rows: Sequence[Sequence[int]],
        seeds: Sequence[int],
        *,
        temperature: float,
        max_tokens: int,
    ) -> list[list[int]]:
        """Sampled token ids after each row, without the one that ended it.

        A row's tokens depend on its ids and seed; on the rest of the batch by rounding alone.
        A row with `max_tokens` ids was cut.

        Args:
            rows: Token ids, none empty.
            seeds: One a row, below 2^63.
            temperature: What logits are divided by; 0 takes the likeliest token.
            max_tokens: Most tokens after each row.

        Raises:
            MemoryError: The batch does not fit.
            ModelError: Logits are not finite, or the engine fails.
        """
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...
