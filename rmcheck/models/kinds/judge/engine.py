"""What stands behind a judge: a language model that is asked a question about a response."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

from rmcheck.models.kinds.judge.read import Odds, Score, YesNo
from rmcheck.models.model import ConformanceItem, Encoded, EngineFacts, Sample, TooLong
from rmcheck.models.proof.conformance import Proven
from rmcheck.models.spec import Setting
from rmcheck.models.workers import Workers

_T = TypeVar("_T")
# A whole number that every engine and every JSON reader takes as it is.
_SEED_BITS = 53


@dataclass(frozen=True, slots=True)
class Answer:
    """What a judge writes.

    Attributes:
        text: The answer without special tokens.
        cut: Whether it reached `max_tokens` before the judge ended it.
    """

    text: str
    cut: bool = False


@dataclass
class Replies(Generic[_T]):
    """What is known about each text of a batch, by its position.

    Attributes:
        found: Of the texts that were judged.
        faults: Of those that could not be: why.
        stopped: Why nothing more was asked; empty when everything was.
        stopped_at: Positions that it stopped at.
    """

    found: dict[int, _T] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    stopped: str = ""
    stopped_at: tuple[int, ...] = ()


class JudgeEngine(ABC):
    """A language model that judges.

    Attributes:
        scheme: What stands before the colon in a judge's `engine`.
        settings: What may stand after the question mark.
        kept: Whether its fingerprint sees which weights answer.
        exact: Whether equal questions get equal answers, whatever else is asked at the time.
        tolerance: Largest change of log-odds by rounding, in nats.
        shares_prefixes: Whether what questions of a batch begin with is computed once; `sharing`
            decides.
    """

    scheme: ClassVar[str]
    settings: ClassVar[tuple[Setting, ...]] = ()
    kept: bool = True
    exact: bool = True
    tolerance: float = 0.0
    shares_prefixes: bool = False

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
        """Facts for the report."""

    @property
    def facts(self) -> EngineFacts:
        """See `RewardModel.facts`."""
        return EngineFacts()

    @abstractmethod
    def load(self) -> None:
        """Read what there is to read. Does nothing when it is loaded.

        Raises:
            ConformanceError: The judge cannot give such verdicts.
            ModelError: It cannot be loaded.
        """

    @abstractmethod
    def encode(self, samples: Sequence[Sample], too_long: TooLong) -> list[Encoded]:
        """The question about each sample as the judge reads it.

        Raises:
            ScoringError: A question cannot be written, or is too long.
        """

    def sharing(self, samples: Sequence[Encoded], allowed: float) -> Proven:
        """Whether to compute once what questions begin with, found out where an engine can.

        Args:
            samples: At least one.
            allowed: Largest change of log-odds, in nats.
        """
        return Proven((), False)

    @abstractmethod
    def odds(self, batch: Sequence[Encoded], read: YesNo) -> Replies[Odds]:
        """Log-probabilities of both sides for each question.

        Raises:
            MemoryError: The batch does not fit.
        """

    @abstractmethod
    def answers(self, batch: Sequence[Encoded], read: Score) -> Replies[tuple[Answer, ...]]:
        """`read.samples` answers to each question, the i-th drawn with `answer_seed(key, i)`.

        Raises:
            MemoryError: The batch does not fit.
        """

    @abstractmethod
    def likeliest(self, batch: Sequence[Encoded], count: int) -> list[dict[str, float]]:
        """The likeliest next tokens of each question with their log-probabilities, in nats."""

    @abstractmethod
    def items(self, samples: Sequence[Encoded]) -> tuple[ConformanceItem, ...]:
        """What the engine itself has to prove or to say: precision, question, words."""

    def workers(self) -> Workers:
        """Who asks for verdicts; see `RewardModel.workers`."""
        return Workers()

    @abstractmethod
    def close(self) -> None:
        """Release everything. It can be loaded again."""


def warned(name: str, warning: str) -> ConformanceItem:
    """An item that does not stop the run, and that the report says beside every number."""
    return ConformanceItem(name, "note", f"warning: {warning}")


def answer_seed(key: bytes, index: int) -> int:
    """53 bits that only the question and the answer's number decide: BLAKE2b over both."""
    digest = hashlib.blake2b(key + b":%d" % index, digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - _SEED_BITS)
