"""Judges that compare the responses of a prompt: what they are asked, and the rewards of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rmcheck.errors import ScoringError, UsageError
from rmcheck.metrics.position import CONSISTENT, FIRST, INCONSISTENT
from rmcheck.models.checkpoint.settings import PrefixRule
from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.engines.http.asking import Replies
from rmcheck.models.kinds.judge.engine import AnswersSession
from rmcheck.models.kinds.judge.lists import Compared, ListSample, compared
from rmcheck.models.kinds.judge.read_lists import Compares
from rmcheck.models.kinds.judge.score import Known, ScoreProof, ScoreVerdicts
from rmcheck.models.model import Combined, ConformanceItem, Encoded, Sample
from rmcheck.models.proof.conformance import Checks


@dataclass(frozen=True)
class Comparison:
    """Which responses are shown together, and what follows from the answers.

    Attributes:
        spec: The model as the user named it.
        read: How an answer is read.
    """

    spec: str
    read: Compares

    def questions(self, samples: Sequence[Sample]) -> list[ListSample]:
        """Every list in both orders, once for each number that is kept of its answer."""
        return [
            ListSample.of(shown, at)
            for prompt in self._compared(samples)
            for shown in prompt.shown(samples)
            for at in range(self.read.rows(len(shown)))
        ]

    def combined(self, numbers: Floats, samples: Sequence[Sample]) -> Combined:
        """Rewards, and the columns of `position_consistency`.

        Args:
            numbers: (Q,) what was kept of the answers to `questions`.
            samples: The responses.

        Raises:
            UsageError: No prompt has two different responses.
            ScoringError: More answers than allowed have nothing to read.
        """
        if not numbers.size:
            raise UsageError(
                f"{self.spec}: a judge that compares needs two different responses to a prompt, "
                "and no prompt here has them (texts that a test scores are a prompt each)"
            )
        rewards = np.zeros(len(samples))
        columns = {name: np.zeros(len(samples)) for name in (CONSISTENT, INCONSISTENT, FIRST)}
        start = unread = questions = 0
        for prompt in self._compared(samples):
            told: list[Floats] = []
            shown = [order for numbers in prompt.lists for order in (numbers, numbers[::-1])]
            for order in shown:
                end = start + self.read.rows(len(order))
                told.append(self._said(numbers[start:end], len(order)))
                start = end
            found = self.read.rewards(len(prompt.places), shown, told)
            for places, reward in zip(prompt.places, found, strict=True):
                rewards[list(places)] = reward
            self._count(prompt, told, columns)
            unread += sum(bool(np.isnan(each).any()) for each in told)
            questions += len(told)
        return Combined(rewards, columns, self._unread(unread, questions))

    @property
    def design(self) -> str:
        """Which lists are asked, in words."""
        read = self.read
        if read.of > 2:
            return (
                f"up to {read.of} responses in one question, in an order and its reverse; of more, "
                f"each is in {read.of} such lists, which connect all"
            )
        return (
            f"pairs in both orders: all pairs of up to {read.opponents + 1} responses; of more, "
            f"each against {read.opponents // 2 * 2} others, which connect all"
        )

    def _compared(self, samples: Sequence[Sample]) -> list[Compared]:
        return compared(samples, self.read.of, self.read.opponents, self.read.least)

    def _said(self, numbers: Floats, size: int) -> Floats:
        """(size,) what an answer says of each response; NaN where it has nothing to read."""
        if self.read.unparsed is not None and (numbers == self.read.unparsed).any():
            return np.full(size, np.nan)
        return self.read.shares(numbers)

    def _count(self, prompt: Compared, told: Sequence[Floats], columns: dict[str, Floats]) -> None:
        """Add what both orders of each list agree in, in equal shares to its responses."""
        for number, shown in enumerate(prompt.lists):
            one, other = told[2 * number], told[2 * number + 1]
            if len(shown) < 2 or np.isnan(one).any() or np.isnan(other).any():
                continue
            same, of = self.read.agree(one, other[::-1])
            first = (self.read.first(one) + self.read.first(other)) / 2
            for text in shown:
                places = list(prompt.places[text])
                share = 1 / len(shown) / len(places)
                columns[CONSISTENT][places] += share * same
                columns[INCONSISTENT][places] += share * (of - same)
                columns[FIRST][places] += share * first * of

    def _unread(self, unread: int, questions: int) -> str:
        if not unread:
            return ""
        said = (
            f"{unread} of {questions} answers ({unread / questions:.1%}) have no {self.read.sought}"
        )
        if unread > self.read.unparsed_at_most * questions:
            raise ScoringError(
                f"{self.spec}: {said}; unparsed.at_most allows {self.read.unparsed_at_most:.1%}. "
                "Mend the template or the pattern, or raise max_tokens"
            )
        return f"{said}; {self.read.stand_in}"


class ListVerdicts(ScoreVerdicts):
    """What answers say of the responses of a list; each list is asked about once.

    Args:
        comparison: What is asked.
    """

    def __init__(self, comparison: Comparison) -> None:
        # Of an answer with several numbers the first batch that needs one keeps the answer.
        known: Known | None = {} if comparison.read.rows(2) > 1 or comparison.read.of > 2 else None
        super().__init__(comparison.spec, comparison.read, known)
        self._comparison = comparison
        self._questions: dict[bytes, bytes] = {}  # of a number that is not the first

    def encoded(self, rows: Sequence[Encoded]) -> list[Encoded]:
        """The questions, apart where another number of one answer is asked."""
        return [self._apart(row) for row in rows]

    def rewards(
        self, session: AnswersSession, batch: Sequence[Encoded], way: Way
    ) -> Replies[float]:
        """See `Verdicts.rewards`."""
        asked = [replace(one, key=self._questions.get(one.key, one.key)) for one in batch]
        return super().rewards(session, asked, way)

    def proof(
        self, session: AnswersSession, formula: str, encoded: Sequence[Encoded], prefix: PrefixRule
    ) -> "ListProof":
        """See `Verdicts.proof`."""
        return ListProof(self._comparison, session, formula, encoded)

    def _apart(self, row: Encoded) -> Encoded:
        at = row.sample.at if isinstance(row.sample, ListSample) else 0
        if not at:
            return row
        key = hashlib.blake2b(row.key + b":%d" % at, digest_size=16).digest()
        self._questions[key] = row.key
        return replace(row, key=key)


class ListProof(ScoreProof):
    """Answers about lists have something to read, which does not hang on what else is asked."""

    def __init__(
        self,
        comparison: Comparison,
        session: AnswersSession,
        formula: str,
        encoded: Sequence[Encoded],
    ) -> None:
        self._comparison = comparison
        super().__init__(comparison.spec, session, formula, encoded, comparison.read)

    def checks(self) -> Checks:
        """In the order of the page."""
        return (self.reward, self.engine, self.design, self.parsed, self.batch_invariance)

    def design(self) -> ConformanceItem:
        """Which responses are shown together."""
        return ConformanceItem("design", "note", self._comparison.design)
