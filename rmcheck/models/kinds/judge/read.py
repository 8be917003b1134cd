"""How a judge's answer becomes a reward: the log-odds of two words, or a number that it writes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rmcheck.errors import ScoringError
from rmcheck.models.text.confined import ConfinedError, confined


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


@dataclass(frozen=True, slots=True)
class Score:
    """reward = mean of the numbers that the judge writes, one an answer.

    Attributes:
        pattern: Regular expression with one group, which is the number.
        lowest: Least number that counts as parsed.
        highest: Greatest.
        samples: Answers a text.
        temperature: What logits are divided by; 0 takes the likeliest token.
        max_tokens: Most tokens of an answer.
        last: Whether the last match in an answer counts; else the first.
        unparsed: Reward of a text of which no answer is parsed, outside of the range; None refuses
            every answer that is not parsed.
        unparsed_at_most: Share of texts that may have that reward.
    """

    pattern: str
    lowest: float
    highest: float
    samples: int = 1
    temperature: float = 0.0
    max_tokens: int = 512
    last: bool = True
    unparsed: float | None = None
    unparsed_at_most: float = 0.05

    @property
    def facts(self) -> dict[str, object]:
        """What changes rewards, for a fingerprint."""
        names = ("pattern", "lowest", "highest", "samples", "temperature", "max_tokens", "last")
        return {name: getattr(self, name) for name in (*names, "unparsed")}

    @property
    def formula(self) -> str:
        """The reward as a person writes it."""
        which = "last" if self.last else "first"
        mean = f", mean of {self.samples} answers" if self.samples > 1 else ""
        return f"{which} match of {self.pattern!r} in {self.lowest:g} to {self.highest:g}{mean}"

    def parsed(self, answer: str) -> float | None:
        """The number in an answer; None where there is none, or one out of the range.

        Raises:
            ScoringError: The pattern takes too long on this answer.
        """
        try:
            (match,) = confined("match", [answer], pattern=self.pattern, last=self.last)
        except ConfinedError as error:
            raise ScoringError(
                f"the pattern {self.pattern!r} fails on the answer {answer[:60]!r}: {error}"
            ) from error
        try:
            number = float(match)
        except (TypeError, ValueError):
            return None
        return number if self.lowest <= number <= self.highest else None

    def mean(self, numbers: Sequence[float | None]) -> float:
        """The mean of what is parsed; where nothing is, `unparsed`, or NaN where that is an error.

        Args:
            numbers: Of the answers to one text.
        """
        parsed = [number for number in numbers if number is not None]
        if parsed:
            return float(np.mean(parsed))
        return math.nan if self.unparsed is None else self.unparsed


Read = YesNo | Score


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
