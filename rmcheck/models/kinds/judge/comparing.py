"""Judges that compare the responses of a prompt: what they are asked, and the rewards of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rmcheck.errors import ScoringError, UsageError
from rmcheck.metrics.position import CONSISTENT, FIRST, INCONSISTENT
from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.engines.http.asking import Replies
from rmcheck.models.kinds.judge.lists import Compared, ListSample, compared
from rmcheck.models.kinds.judge.read_lists import Compares
from rmcheck.models.kinds.judge.score import Known, ScoreJudge, ScoreProof, ScoreSession
from rmcheck.models.model import Combined, ConformanceItem
from rmcheck.models.proof.conformance import Checks
from rmcheck.models.sample import Encoded, Sample, TooLong


class ComparingJudge(ScoreJudge):
    """A judge that is shown several responses to a prompt, in both orders.

    A reward hangs on the other responses of its prompt in the pool. What is scored and kept is each
    list of texts in its order, so that a run goes on where it stopped, and responses that are added
    cost only what is new.
    """

    compares = True
    read: Compares

    def questions(self, samples: Sequence[Sample]) -> list[ListSample]:
        """Every list in both orders, once for each number that is kept of its answer."""
        return [
            ListSample.of(shown, at)
            for prompt in self._compared(samples)
            for shown in prompt.shown(samples)
            for at in range(self.read.rows(len(shown)))
        ]

    def _loaded(self) -> "ListSession":
        # Of an answer with several numbers the first batch that needs one keeps the answer.
        known: Known | None = {} if self.read.rows(2) > 1 or self.read.of > 2 else None
        asked = self.engine.for_answers(self.read)
        return ListSession(self, asked.weights, asked, known)

    def combined(self, scores: Floats, samples: Sequence[Sample]) -> Combined:
        """Rewards, and the columns of `position_consistency`.

        Args:
            scores: (Q,) what was kept of the answers to `questions`.
            samples: The responses.

        Raises:
            UsageError: No prompt has two different responses.
            ScoringError: More answers than allowed have nothing to read.
        """
        if not scores.size:
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
                told.append(self._said(scores[start:end], len(order)))
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
            raise ScoringError(f"{self.spec}: {said}; {self.remedy}")
        return f"{said}; {self.read.stand_in}"


@dataclass(eq=False)
class ListSession(ScoreSession):
    """Remembers which question each number is read from that is not the first of its answer."""

    model: ComparingJudge
    _questions: dict[bytes, bytes] = field(default_factory=dict)

    def encode(self, samples: Sequence[Sample], too_long: TooLong = "error") -> list[Encoded]:
        """The question about each list, apart where another number of one answer is asked."""
        return [self._apart(row) for row in super().encode(samples, too_long)]

    def _replies(self, batch: Sequence[Encoded], way: Way) -> Replies[float]:
        asked = [replace(one, key=self._questions.get(one.key, one.key)) for one in batch]
        return super()._replies(asked, way)

    def _proof(self, encoded: Sequence[Encoded]) -> "ListProof":
        return ListProof(self, encoded)

    def _apart(self, row: Encoded) -> Encoded:
        at = row.sample.at if isinstance(row.sample, ListSample) else 0
        if not at:
            return row
        key = hashlib.blake2b(row.key + b":%d" % at, digest_size=16).digest()
        self._questions[key] = row.key
        return replace(row, key=key)


class ListProof(ScoreProof):
    """Answers about lists have something to read, which does not hang on what else is asked."""

    _session: ListSession

    def checks(self) -> Checks:
        """In the order of the page."""
        return (self.reward, self.engine, self.design, self.parsed, self.batch_invariance)

    def design(self) -> ConformanceItem:
        """Which responses are shown together."""
        return ConformanceItem("design", "note", self._session.model.design)
