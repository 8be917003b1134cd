"""vLLM as a language model that is scored by: token ids in, log-probabilities out."""

from collections.abc import Sequence

from rmcheck.models.engines.asked import Asked, Floats
from rmcheck.models.engines.vllm.engine import answering
from rmcheck.models.engines.vllm.generation import VllmGenerator


class VllmCausal(VllmGenerator):
    """A loaded language model, closed by its first failure; see `VllmGenerator`."""

    def numbers(self, rows: Sequence[Asked]) -> list[Floats]:
        """See `VllmGenerator.numbers`.

        Raises:
            ScoringError: vLLM fails, which closes it.
        """
        with answering(self, str(self.checkpoint.path)):
            return super().numbers(rows)
