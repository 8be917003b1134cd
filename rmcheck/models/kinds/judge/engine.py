"""What stands behind a judge: a language model, opened without weights, and loaded to be asked.

There are two ways to ask: for the log-odds of the next token (`OddsSession`), and for texts
(`AnswersSession`). What a judge reads out of the answers is no matter of the engine.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from rmcheck.models.checkpoint.settings import PrefixRule
from rmcheck.models.engines.asked import Way
from rmcheck.models.engines.http.asking import Replies
from rmcheck.models.engines.writing import SEED_BITS, Answer
from rmcheck.models.kinds.judge.read import Odds, Written, YesNo
from rmcheck.models.model import ConformanceItem, Loaded
from rmcheck.models.sample import Encoded, Sample, TooLong


class JudgeSession(ABC):
    """A language model that is ready to be asked.

    Attributes:
        weights: In memory, or a server that has them.
    """

    weights: Loaded

    @abstractmethod
    def encode(self, samples: Sequence[Sample], too_long: TooLong) -> list[Encoded]:
        """The question about each sample as the judge reads it.

        Raises:
            ScoringError: A question cannot be written, or is too long.
        """

    @abstractmethod
    def items(self, samples: Sequence[Encoded]) -> tuple[ConformanceItem, ...]:
        """What the engine itself has to prove or to say: precision, question, words."""


class OddsSession(JudgeSession):
    """Asked for the next token."""

    @property
    @abstractmethod
    def tolerance(self) -> float:
        """Largest change of log-odds by rounding, in nats, where they spread over a nat."""

    @property
    def window(self) -> int | None:
        """Tokens that attention sees, 0 for all; None where rows are computed in one way only."""
        return None

    @abstractmethod
    def odds(self, batch: Sequence[Encoded], way: Way = "padded", **how: int) -> Replies[Odds]:
        """Log-probabilities of both sides for each question.

        Args:
            batch: Any number.
            way: How rows are computed, where there is a choice.
            how: Further arguments of the way, such as `least` of `packed`.

        Raises:
            MemoryError: The batch does not fit.
        """

    @abstractmethod
    def likeliest(self, batch: Sequence[Encoded], count: int) -> list[dict[str, float]]:
        """The likeliest next tokens of each question with their log-probabilities, in nats."""


class AnswersSession(JudgeSession):
    """Asked for texts."""

    @property
    @abstractmethod
    def exact(self) -> bool:
        """Whether equal questions get equal answers, whatever else is asked at the time."""

    @abstractmethod
    def answers(self, batch: Sequence[Encoded], numbers: Sequence[int]) -> Replies[Answer]:
        """One answer to each question, drawn with `answer_seed` of its key and number.

        Args:
            batch: A question may be there several times.
            numbers: Of each answer among those to its question, from 0.

        Raises:
            MemoryError: The batch does not fit.
        """


class JudgeEngine(ABC):
    """A language model that can judge, opened: nothing is loaded.

    Attributes:
        prefix: Whether what questions begin with is computed once, as its user says.
    """

    prefix: PrefixRule = "off"

    @property
    def kept(self) -> bool:
        """Whether its fingerprint sees which weights answer."""
        return True

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name for tables."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """64 hex digits that change whenever an answer to the same question could."""

    @property
    @abstractmethod
    def description(self) -> Mapping[str, str]:
        """Facts for the report, as far as they are known without loading it."""

    @abstractmethod
    def for_odds(self, read: YesNo) -> OddsSession:
        """What there is to read is read, to be asked for these words.

        Raises:
            ConformanceError: A word is not one token of this judge.
            ModelError: It cannot be loaded.
        """

    @abstractmethod
    def for_answers(self, read: Written) -> AnswersSession:
        """What there is to read is read, to be asked for such texts.

        Raises:
            ModelError: It cannot be loaded.
        """


def answer_seed(key: bytes, index: int) -> int:
    """53 bits that only the question and the answer's number decide: BLAKE2b over both."""
    digest = hashlib.blake2b(key + b":%d" % index, digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - SEED_BITS)
