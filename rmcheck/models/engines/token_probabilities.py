"""Log-probabilities of a language model's tokens, whichever engine runs it."""

from collections.abc import Sequence

import numpy as np

from rmcheck.models.engines.asked import Asked, Floats, ModelEngine, Way


class TokenProbabilities(ModelEngine):
    """Says which numbers make the probability of a response, or of an answer's words."""

    def log_probabilities(
        self,
        rows: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        way: Way = "padded",
        **how: int,
    ) -> Floats:
        """(len(rows),) log p(response | prompt) in nats, summed in float64.

        Args:
            rows: Token ids.
            responses: 1 at each token of the row that counts, else 0; 0 at the first.
            way: How the engine computes them.
            how: Further arguments of the way, such as `least` of `packed`.

        Raises:
            MemoryError: The rows do not fit.
        """
        asked = [response_tokens(*one) for one in zip(rows, responses, strict=True)]
        return np.array([numbers.sum() for numbers in self.numbers(asked, way, **how)])

    def next_token(
        self,
        rows: Sequence[Sequence[int]],
        tokens: Sequence[int],
        way: Way = "padded",
        **how: int,
    ) -> Floats:
        """(len(rows), len(tokens)) log-probabilities of these tokens after each row, in nats.

        Args:
            rows: Token ids, none empty.
            tokens: Different ids.
            way: How the engine computes them.
            how: Further arguments of the way, such as `least` of `packed`.

        Raises:
            MemoryError: The rows do not fit.
        """
        asked = [next_token(row, tokens) for row in rows]
        return np.concatenate(self.numbers(asked, way, **how))


def response_tokens(row: Sequence[int], response: Sequence[int]) -> Asked:
    """The log-probability of each marked token of a row, read at the token before it."""
    at = np.flatnonzero(response).tolist()
    return Asked(tuple(row), tuple(i - 1 for i in at), chosen=tuple(row[i] for i in at))


def next_token(row: Sequence[int], tokens: Sequence[int]) -> Asked:
    """The log-probabilities of these tokens after a row."""
    return Asked(tuple(row), (len(row) - 1,), columns=tuple(tokens))
