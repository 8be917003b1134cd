"""How a judge's answer becomes a reward: the log-odds of two words, or a number that it writes."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from sys import float_info
from typing import Self

import numpy as np

from rmcheck.errors import ScoringError
from rmcheck.models.engines.writing import Answer
from rmcheck.models.sample import Sample
from rmcheck.models.text.confined import ConfinedError, confined

# Letters of the end of an answer that is shown in an error, and that a JSON object is sought in.
_END, _LONGEST = 200, 100_000
# And of its beginning, where a pattern fails on it.
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class YesNo:
    """reward = log p(a word of `yes`) − log p(a word of `no`), of the judge's next token.

    A raw log-odds in nats, never a probability: higher is better, 0 is undecided.

    Attributes:
        yes: Words that speak for the response, each one token.
        no: Words that speak against it, each one token; none of `yes`.
        top_logprobs: Likeliest tokens that a server is asked for.
        censored_at_most: Share of texts of which a server may show one side only.
    """

    yes: tuple[str, ...]
    no: tuple[str, ...]
    top_logprobs: int = 20
    censored_at_most: float = 0.05

    @property
    def facts(self) -> dict[str, object]:
        """What changes rewards, for a fingerprint."""
        return {"yes": sorted(self.yes), "no": sorted(self.no), "top": self.top_logprobs}

    @property
    def formula(self) -> str:
        """The reward as a person writes it."""
        yes, no = (", ".join(map(repr, words)) for words in (self.yes, self.no))
        return f"log p({yes}) - log p({no}) of the next token"


@dataclass(frozen=True, kw_only=True)
class DrawnAnswers:
    """How answers are drawn, and what a text is worth of which none is parsed.

    Attributes:
        samples: Answers a text.
        start: Number of the first of them among all answers to a text.
        repeat: How often a text is judged anew, each time by so many answers.
        temperature: What logits are divided by; 0 takes the likeliest token.
        max_tokens: Most tokens of an answer.
        unparsed: Reward of a text of which no answer is parsed, outside of the range; None refuses
            every answer that is not parsed.
        unparsed_at_most: Share of texts that may have that reward.
    """

    samples: int = 1
    start: int = 0
    repeat: int = 1
    temperature: float = 0.0
    max_tokens: int = 512
    unparsed: float | None = None
    unparsed_at_most: float = 0.05

    def answer(self, number: int) -> Self:
        """One of the `repeat` times that a text is judged, from 0."""
        return replace(self, repeat=1, start=number * self.samples)

    @property
    def of_answers(self) -> str:
        """The end of a formula: how many answers a reward is the mean of."""
        count = self.samples * self.repeat
        return f", mean of {count} answers" if count > 1 else ""


@dataclass(frozen=True, kw_only=True)
class Written(DrawnAnswers, ABC):
    """reward = mean of the numbers that the judge writes, one an answer.

    Attributes:
        lowest: Least number that counts as parsed.
        highest: Greatest.
    """

    lowest: float
    highest: float

    @property
    @abstractmethod
    def formula(self) -> str:
        """The reward as a person writes it."""

    @property
    @abstractmethod
    def sought(self) -> str:
        """What is looked for in an answer, for messages."""

    @property
    def facts(self) -> dict[str, object]:
        """What changes rewards, for a fingerprint."""
        names = ("lowest", "highest", "samples", "temperature", "max_tokens", "unparsed")
        facts = {name: getattr(self, name) for name in names}
        # What judges without these have been named by stays.
        facts |= {"start": self.start} if self.start else {}
        return facts | ({"repeat": self.repeat} if self.repeat > 1 else {})

    @property
    def schema(self) -> Mapping[str, object] | None:
        """JSON schema of an answer, for engines that can be held to one; None for free text."""
        return None

    @abstractmethod
    def parsed(self, answer: str, sample: Sample) -> float | None:
        """The number that an answer gives this sample; None for none, or one out of the range.

        Raises:
            ScoringError: It cannot be looked for.
        """

    def numbers(self, answers: Sequence[Answer], sample: Sample) -> list[float | None]:
        """What each of several answers gives this sample; see `parsed`."""
        return [self.parsed(answer.text, sample) for answer in answers]

    def kept(self, answer: str) -> str:
        """What of an answer is enough to parse it again."""
        return answer

    def mean(self, numbers: Sequence[float | None]) -> float:
        """The mean of what is parsed; where nothing is, `unparsed`, or NaN where that is an error.

        Args:
            numbers: Of the answers to one text.
        """
        parsed = [number for number in numbers if number is not None]
        if parsed:
            return float(np.mean(parsed))
        return math.nan if self.unparsed is None else self.unparsed

    def _within(self, number: float) -> float | None:
        return number if self.lowest <= number <= self.highest else None

    @property
    def bounds(self) -> str:
        """The range, for messages."""
        return f"{self.lowest:g} to {self.highest:g}"


@dataclass(frozen=True)
class Matched(Written):
    """Reads what a pattern finds.

    Attributes:
        pattern: Regular expression with one group, which is what is read.
        last: Whether the last match in an answer counts; else the first.
    """

    pattern: str
    last: bool = True

    @property
    def facts(self) -> dict[str, object]:
        return {**super().facts, "pattern": self.pattern, "last": self.last}

    @property
    def match(self) -> str:
        """Which match counts, for a formula."""
        return f"{'last' if self.last else 'first'} match of {self.pattern!r}"

    def matched(self, answer: str) -> str | None:
        """What the group is; None where nothing matches.

        Raises:
            ScoringError: The pattern takes too long on this answer.
        """
        try:
            (found,) = confined("match", [answer], pattern=self.pattern, last=self.last)
        except ConfinedError as error:
            raise ScoringError(
                f"the pattern {self.pattern!r} fails on the answer {answer[:_SHOWN]!r}: {error}"
            ) from error
        return found if isinstance(found, str) else None


@dataclass(frozen=True)
class Score(Matched):
    """A number found by a pattern."""

    @property
    def formula(self) -> str:
        return f"{self.match} in {self.bounds}{self.of_answers}"

    @property
    def sought(self) -> str:
        return f"number from {self.bounds} by {self.pattern!r}"

    def parsed(self, answer: str, sample: Sample) -> float | None:
        try:
            return self._within(float(self.matched(answer) or ""))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class RubricCriterion:
    """One thing that an answer grades.

    Attributes:
        name: Its key in the answer.
        lowest: Least grade.
        highest: Greatest.
        weight: Its share of the reward, relative to the other weights.
    """

    name: str
    lowest: float
    highest: float
    weight: float = 1.0


@dataclass(frozen=True)
class Grade(Written):
    """The grade of one criterion, in an answer that is a JSON object of the grades of all.

    Attributes:
        name: The criterion.
        criteria: All of them, which the same answer grades.
    """

    name: str
    criteria: tuple[RubricCriterion, ...]

    @property
    def facts(self) -> dict[str, object]:
        """What changes rewards, for a fingerprint; weights change none of one criterion."""
        asked = [[one.name, one.lowest, one.highest] for one in self.criteria]
        return {**super().facts, "criterion": self.name, "criteria": asked}

    @property
    def formula(self) -> str:
        return f"{self.name!r} of the JSON object that is written, {self.bounds}{self.of_answers}"

    @property
    def sought(self) -> str:
        return f"JSON object with a number {self.name!r} from {self.bounds}"

    @property
    def schema(self) -> dict[str, object]:
        return {
            "type": "object",
            "properties": {
                one.name: {"type": "number", "minimum": one.lowest, "maximum": one.highest}
                for one in self.criteria
            },
            "required": [one.name for one in self.criteria],
            "additionalProperties": False,
        }

    def parsed(self, answer: str, sample: Sample) -> float | None:
        number = grades(answer).get(self.name)
        return None if number is None else self._within(number)

    def kept(self, answer: str) -> str:
        """The grades alone; the end of an answer that has none, for messages."""
        found = grades(answer)
        return json.dumps(found) if found else answer[-_END:]


@dataclass(frozen=True)
class Rubric(DrawnAnswers):
    """Several criteria that one answer grades; reward = their weighted mean.

    Attributes:
        criteria: With different names.
    """

    criteria: tuple[RubricCriterion, ...]

    @property
    def grades(self) -> tuple[Grade, ...]:
        """How each is read."""
        drawn = {one.name: getattr(self, one.name) for one in fields(DrawnAnswers)}
        return tuple(
            Grade(one.name, self.criteria, lowest=one.lowest, highest=one.highest, **drawn)
            for one in self.criteria
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the criteria."""
        return tuple(one.name for one in self.criteria)

    @property
    def formula(self) -> str:
        """The reward as a person writes it."""
        parts = " + ".join(f"{one.weight:g} {one.name!r}" for one in self.criteria)
        total = sum(one.weight for one in self.criteria)
        return f"({parts}) / {total:g} of the JSON object that is written{self.of_answers}"

    @property
    def facts(self) -> dict[str, object]:
        """What changes rewards, for a fingerprint."""
        weights = {one.name: one.weight for one in self.criteria}
        return {"grades": [grade.facts for grade in self.grades], "weights": weights}


Read = YesNo | Written | Rubric


@dataclass(frozen=True, slots=True)
class Odds:
    """The next token of a judge.

    Attributes:
        yes: log p of the words that speak for the response, in nats.
        no: log p of those against it.
        censored: No word of one side was among the tokens that a server showed. It stands at the
            least log-probability shown, which none of its words exceeds, so that the log-odds are
            too near to 0.
    """

    yes: float
    no: float
    censored: bool = False

    @property
    def reward(self) -> float:
        """Log-odds in nats."""
        return self.yes - self.no

    @property
    def mass(self) -> float:
        """p(yes) + p(no), which is 1 for a judge that answers in these words."""
        return math.exp(self.yes) + math.exp(self.no)


def shown_odds(read: YesNo, shown: Mapping[str, float]) -> Odds:
    """The verdict from the likeliest tokens that a server shows.

    A word that is not shown has at most the least probability that is, and is left out of its
    side's sum; a side without any word shown stands at that least probability.

    Args:
        read: The words.
        shown: Token to log-probability in nats.

    Raises:
        ScoringError: Neither side is among them, or a log-probability cannot be one.
    """
    if not all(math.isfinite(value) and value <= 1e-3 for value in shown.values()):
        raise ScoringError(f"log-probabilities that cannot be: {dict(shown)}")
    yes, no = ([shown[word] for word in side if word in shown] for side in (read.yes, read.no))
    if not (yes or no):
        raise ScoringError(
            "none of the words of `yes` and `no` is among the likeliest tokens, which are "
            f"{listed_tokens(shown)}"
        )
    least = min(shown.values())
    for_yes, for_no = (float(np.logaddexp.reduce(x)) if x else least for x in (yes, no))
    return Odds(for_yes, for_no, censored=not (yes and no))


def listed_tokens(shown: Mapping[str, float], most: int = 5) -> str:
    """The likeliest tokens with their probabilities, for a message."""
    ranked = sorted(shown.items(), key=lambda pair: -pair[1])[:most]
    return ", ".join(f"{token!r} {math.exp(value):.2g}" for token, value in ranked) or "none"


def grades(answer: str) -> dict[str, float]:
    """The numbers of the last JSON object in a text, by key; none where there is no object."""
    answer = answer[-_LONGEST:]
    decoder, found, at = json.JSONDecoder(), {}, answer.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(answer, at)
        except (ValueError, RecursionError):
            value, end = None, at + 1
        if isinstance(value, dict):
            found = value
        at = answer.find("{", end)
    return {
        name: float(value)
        for name, value in found.items()
        if type(value) in (int, float) and abs(value) <= float_info.max
    }
