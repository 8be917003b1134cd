"""Judges that write a number: the reward is the mean of those that are parsed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmcheck.errors import ScoringError
from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.engines.http.asking import Replies
from rmcheck.models.engines.writing import Answer
from rmcheck.models.kinds.judge.engine import AnswersSession, JudgeEngine
from rmcheck.models.kinds.judge.file import JudgeFile
from rmcheck.models.kinds.judge.model import ReadingJudge, ReadingSession
from rmcheck.models.kinds.judge.proof import JudgeProof
from rmcheck.models.kinds.judge.read import Written
from rmcheck.models.model import Combined, ConformanceItem
from rmcheck.models.proof.conformance import MOST_SAMPLES, Checks, Status
from rmcheck.models.sample import Encoded, Sample

# What is kept of answers, by the key of the question and the answer's number.
Known = dict[tuple[bytes, int], Answer]
# Letters of the end of an answer, in an error and on the page.
_END, _BRIEF_END = 120, 80


class ScoreJudge(ReadingJudge[Written]):
    """The reward is a number of the judge's own scale.

    Args:
        judge: The file, read.
        spec: The model as the user named it.
        engine: What answers, where it is open already.
        known: What is kept of answers, which is looked up first; None keeps nothing.
    """

    def __init__(
        self,
        judge: JudgeFile,
        spec: str,
        engine: JudgeEngine | None = None,
        known: Known | None = None,
    ) -> None:
        super().__init__(judge, spec, engine)
        self._known = known

    def _loaded(self) -> "ScoreSession":
        asked = self.engine.for_answers(self.read)
        return ScoreSession(self, asked.weights, asked, self._known)

    def combined(self, scores: Floats, samples: Sequence[Sample]) -> Combined:
        """The numbers as they are, once enough of them are parsed.

        Raises:
            ScoringError: More texts than `unparsed.at_most` allows have no parsed answer.
        """
        unparsed = self.read.unparsed
        count = int(np.count_nonzero(scores == unparsed))
        if not count:
            return Combined(scores, warning=self._alike(scores, samples))
        said = (
            f"{count} of {len(samples)} texts ({count / len(samples):.1%}) have no parsed answer "
            f"and the reward {unparsed:g}"
        )
        if count > self.read.unparsed_at_most * len(samples):
            raise ScoringError(f"{self.spec}: {said}; {self.remedy}")
        return Combined(scores, warning=said)

    @property
    def remedy(self) -> str:
        """What helps where too few answers are parsed."""
        return (
            f"unparsed.at_most allows {self.read.unparsed_at_most:.1%}. Mend the template or the "
            "pattern, or raise max_tokens"
        )


@dataclass(eq=False)
class ScoreSession(ReadingSession[ScoreJudge, AnswersSession]):
    """Counts the texts that were judged, and those of them without a parsed answer."""

    known: Known | None
    _judged: int = 0
    _unparsed: int = 0

    def _replies(self, batch: Sequence[Encoded], way: Way) -> Replies[float]:
        """See `ReadingSession._replies`.

        Raises:
            ScoringError: Clearly more texts than `unparsed.at_most` have no parsed answer.
            MemoryError: The batch does not fit.
        """
        read = self.model.read
        replies = answers_of(self.asked, batch, read, self.known)
        faults = dict(replies.faults)
        rewards: Replies[float] = Replies({}, faults, replies.stopped, replies.stopped_at)
        for place, answers in replies.found.items():
            numbers = read.numbers(answers, batch[place].sample)
            if read.unparsed is None and None in numbers:
                faults[place] = _unparsed(answers[numbers.index(None)], read)
            else:
                rewards.found[place] = read.mean(numbers)
        self._judged += len(rewards.found)
        self._unparsed += sum(reward == read.unparsed for reward in rewards.found.values())
        self._check_unparsed()
        return rewards

    def _proof(self, encoded: Sequence[Encoded]) -> "ScoreProof":
        return ScoreProof(self, encoded)

    def _check_unparsed(self) -> None:
        """Refuse to go on where clearly more texts than allowed have no parsed answer.

        Clearly: by three standard errors and three texts, since the first texts of a run are no
        random ones. `combined` judges the whole pool to the letter.
        """
        expected = self.model.read.unparsed_at_most * self._judged
        if self._unparsed > expected + 3 * math.sqrt(expected) + 3:
            raise ScoringError(
                f"{self.model.spec}: {self._unparsed} of the {self._judged} texts judged so far "
                f"have no parsed answer; {self.model.remedy}"
            )


class ScoreProof(JudgeProof[ScoreSession]):
    """Answers have numbers, which do not hang on what else is asked."""

    def __init__(self, session: ScoreSession, encoded: Sequence[Encoded]) -> None:
        # Of each sample alone, and what each answer says of it.
        self._answers: list[tuple[Answer, ...]] = []
        self._numbers: list[list[float | None]] = []
        super().__init__(session, encoded)

    def checks(self) -> Checks:
        """In the order of the page."""
        return (
            self.reward,
            self.engine,
            self.parsed,
            self.repeats,
            self.batch_invariance,
            self.depends,
        )

    def parsed(self) -> ConformanceItem:
        """Answers with a number, and one answer as it is."""
        read = self._session.model.read
        answers = [answer for text in self._answers for answer in text]
        parsed = sum(number is not None for text in self._numbers for number in text)
        cut = sum(answer.cut for answer in answers)
        detail = (
            f"{parsed} of {len(answers)} answers have a {read.sought}, {cut} reached max_tokens; "
            f"one ends {answers[0].text[-_BRIEF_END:]!r}"
        )
        if read.unparsed is not None:
            texts = sum(not any(n is not None for n in text) for text in self._numbers)
            detail += (
                f"; {texts} of {len(self._answers)} texts have none and the reward "
                f"{read.unparsed:g} (at most {read.unparsed_at_most:.1%} of a pool)"
            )
        # Few answers may be without a number by chance; where that is an error, scoring says so.
        silent = not parsed and len(answers) >= MOST_SAMPLES
        status: Status = "fail" if silent else "pass" if parsed == len(answers) else "note"
        return ConformanceItem("parsed", status, detail)

    def repeats(self) -> ConformanceItem | None:
        """How often two answers disagree about which text is better."""
        if self._session.model.read.samples < 2:
            return None
        share, pairs = flipped(np.array(self._numbers, dtype=float))
        if not pairs:
            return ConformanceItem("repeats", "note", "no two texts have two numbers each")
        detail = f"two answers order {share:.1%} of {pairs} pairs of these texts oppositely"
        return ConformanceItem("repeats", "note", detail)

    def depends(self) -> ConformanceItem:
        """Different responses may get one score: there are few of them."""
        return self._depends("note")

    def _compared(self, alone: Floats, together: Floats, count: int) -> tuple[Status, str]:
        """The same answers alone and among others, to the letter."""
        changed = int(
            np.count_nonzero(~np.isclose(alone, together, rtol=0, atol=0, equal_nan=True))
        )
        detail = f"{changed} of {count} scores differ between one text alone and many together"
        if not changed:
            return "pass", detail
        if self._session.asked.exact:
            return "fail", detail
        return "note", (
            f"{detail}; answers of this engine hang on rounding, or on how its server keeps seeds"
        )

    def _check(self, numbers: Floats, samples: Sequence[Encoded]) -> None:
        """None: a text without a parsed answer has no number."""

    def _read(
        self, samples: Sequence[Encoded], way: Way = "padded", **how: int
    ) -> Sequence[Floats]:
        return self._means([numbers for _, numbers in self._said(samples)])

    def _read_alone(self) -> Sequence[Floats]:
        for sample in self._samples:
            ((answers, numbers),) = self._said([sample])
            self._answers.append(answers)
            self._numbers.append(numbers)
        return self._means(self._numbers)

    def _said(
        self, samples: Sequence[Encoded]
    ) -> list[tuple[tuple[Answer, ...], list[float | None]]]:
        """The answers to each question, and what each of them says of its sample."""
        read = self._session.model.read
        answers = answers_of(self._session.asked, samples, read).every(self._spec, samples)
        pairs = zip(answers, samples, strict=True)
        return [(each, read.numbers(each, one.sample)) for each, one in pairs]

    def _means(self, numbers: Sequence[Sequence[float | None]]) -> list[Floats]:
        return [np.array([self._session.model.read.mean(each)]) for each in numbers]


def flipped(numbers: Floats) -> tuple[float, int]:
    """Share of verdicts that flip: of two answers, how often they order two texts oppositely.

    Args:
        numbers: (texts, answers) what each answer says of each text; NaN where it says nothing.

    Returns:
        The mean over pairs of texts, from 0 (every answer gives the same order) to about 0.5 (the
        order is a toss-up), and how many pairs have two answers. A tie is no flip.
    """
    a, b = np.triu_indices(len(numbers), 1)
    apart = numbers[a] - numbers[b]
    above, below = (apart > 0).sum(axis=1), (apart < 0).sum(axis=1)
    count = (~np.isnan(apart)).sum(axis=1)
    known = count >= 2
    shares = above[known] * below[known] / (count[known] * (count[known] - 1) / 2)
    return float(shares.mean()) if known.any() else 0.0, int(known.sum())


def answers_of(
    session: AnswersSession, batch: Sequence[Encoded], read: Written, known: Known | None = None
) -> Replies[tuple[Answer, ...]]:
    """As many answers to each question as are read; none where one of them is missing."""
    numbers = range(read.start, read.start + read.samples)
    kept = {} if known is None else known
    wanted = {(one.key, number): one for one in batch for number in numbers}
    found = {key: kept[key] for key in wanted if key in kept}
    asked = [key for key in wanted if key not in found]  # a question that stands twice once
    each: Replies[Answer] = Replies()
    if asked:
        each = session.answers([wanted[key] for key in asked], [number for _, number in asked])
    new = {asked[i]: answer for i, answer in each.found.items()}
    if known is not None:
        new = {key: Answer(read.kept(one.text), one.cut) for key, one in new.items()}
        known |= new
    found |= new
    faults = {asked[i][0]: fault for i, fault in each.faults.items()}
    stopped_at = {asked[i][0] for i in each.stopped_at}
    return Replies(
        {
            place: tuple(found[one.key, number] for number in numbers)
            for place, one in enumerate(batch)
            if all((one.key, number) in found for number in numbers)
        },
        {place: faults[one.key] for place, one in enumerate(batch) if one.key in faults},
        each.stopped,
        tuple(place for place, one in enumerate(batch) if one.key in stopped_at),
    )


def _unparsed(answer: Answer, read: Written) -> str:
    cut = f" (cut at max_tokens {read.max_tokens})" if answer.cut else ""
    end = answer.text[-_END:]
    more = "…" if len(answer.text) > _END else ""
    return f"no {read.sought} in the answer{cut}, which ends {more}{end!r}"
