"""Judges that answer in two words: the reward is the log-odds of their next token."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import ClassVar

import numpy as np

from rmcheck.errors import ScoringError
from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.engines.http.asking import Replies
from rmcheck.models.kinds.judge.engine import OddsSession
from rmcheck.models.kinds.judge.model import ReadingJudge, ReadingSession
from rmcheck.models.kinds.judge.proof import JudgeProof
from rmcheck.models.kinds.judge.read import Odds, YesNo, listed_tokens
from rmcheck.models.model import Combined, ConformanceItem
from rmcheck.models.proof.conformance import LEAST_MASS, Checks
from rmcheck.models.sample import Encoded, Sample

# Tokens shown of what a judge would say.
_TOP = 5


class YesNoJudge(ReadingJudge[YesNo]):
    """The reward is log-odds in nats."""

    def _loaded(self) -> "YesNoSession":
        asked = self.engine.for_odds(self.read)
        return YesNoSession(self, asked.weights, asked)

    def combined(self, scores: Floats, samples: Sequence[Sample]) -> Combined:
        """The log-odds as they are.

        Raises:
            ScoringError: Different responses all have the same log-odds.
        """
        if said := self._alike(scores, samples):
            raise ScoringError(f"{self.spec}: {said}")
        return Combined(scores)


@dataclass(eq=False)
class YesNoSession(ReadingSession[YesNoJudge, OddsSession]):
    """Counts the texts that were judged, and those of them of which one side was not shown."""

    _judged: int = 0
    _censored: int = 0
    _counting: Lock = field(default_factory=Lock)

    def _replies(self, batch: Sequence[Encoded], way: Way) -> Replies[float]:
        """See `ReadingSession._replies`.

        Raises:
            ScoringError: A server shows one side only for more texts than `censored_at_most`
                allows; one is allowed unless that is 0.
            MemoryError: The batch does not fit.
        """
        replies = self.asked.odds(batch, way)
        read = self.model.read
        share = read.censored_at_most
        with self._counting:
            self._judged += len(replies.found)
            self._censored += sum(odds.censored for odds in replies.found.values())
            asked, censored = self._judged, self._censored
        if censored > (max(1.0, share * asked) if share else 0.0):
            raise ScoringError(
                f"{self.model.spec}: of {censored} of {asked} texts the server shows words of one "
                f"side only among its {read.top_logprobs} likeliest tokens, and "
                f"read.censored_at_most allows {share:.1%}. Ask for more (top_logprobs), add the "
                "words that it answers with, or use an engine in this process"
            )
        return replies.mapped(lambda odds: odds.reward)

    def _proof(self, encoded: Sequence[Encoded]) -> "YesNoProof":
        return YesNoProof(self, encoded)


class YesNoProof(JudgeProof[YesNoSession]):
    """Both sides can be read, from the words that the judge would say, in every way alike."""

    numbers: ClassVar[str] = "log-odds"
    measure: ClassVar[str] = " nats"
    once = "what questions begin with is computed once a batch"
    whole = "every question is computed whole"

    def __init__(self, session: YesNoSession, encoded: Sequence[Encoded]) -> None:
        self._prefix = session.model.engine.prefix
        # Of each sample alone; fewer where a side is not shown at all.
        self._odds: list[Odds] = []
        super().__init__(session, encoded, session.asked.tolerance)

    def checks(self) -> Checks:
        """In the order of the page."""
        if len(self._odds) < len(self._samples):
            return (self.reward, self.engine, self.silent)
        return (
            self.reward,
            self.engine,
            self.mass,
            self.censored,
            self.batch_invariance,
            self.sharing,
            self.depends,
        )

    def silent(self) -> ConformanceItem:
        """A side that is never shown has no log-odds at all: the tokens say why."""
        shown = listed_tokens(self._session.asked.likeliest(self._samples[:1], _TOP)[0], _TOP)
        return ConformanceItem(
            "words",
            "fail",
            f"neither side is among the likeliest tokens of every text (prompt "
            f"{self._samples[0].sample.prompt_id!r}: {shown}); let the template ask for the words "
            "of read, or read the words that the judge says",
        )

    def mass(self) -> ConformanceItem:
        """How much of the judge's next token the words are."""
        masses = np.array([odds.mass for odds in self._odds])
        detail = (
            f"p(yes) + p(no) is {np.median(masses):.2g} in the median of {len(masses)} texts, "
            f"{masses.min():.2g} at least"
        )
        if np.median(masses) >= LEAST_MASS:
            return ConformanceItem("mass", "pass", detail)
        least = self._samples[int(masses.argmin())]
        shown = listed_tokens(self._session.asked.likeliest([least], _TOP)[0], _TOP)
        return self._warned(
            "mass",
            f"{detail}. The judge would rather say something else (prompt "
            f"{least.sample.prompt_id!r}: {shown}), and its log-odds may mean little; let the "
            "template ask for these words, or read the words that it says",
        )

    def censored(self) -> ConformanceItem | None:
        """Texts of which a server shows one side only."""
        count = sum(odds.censored for odds in self._odds)
        if not count:
            return None
        read = self._session.model.read
        return ConformanceItem(
            "censored",
            "note",
            f"{count} of {len(self._odds)} texts show words of one side only among the "
            f"{read.top_logprobs} likeliest tokens; the other side stands at the least "
            "probability shown, so that these log-odds are too near to 0. At most "
            f"{read.censored_at_most:.1%} of a run's texts may be so",
        )

    @property
    def _window(self) -> int | None:
        return self._session.asked.window

    def depends(self) -> ConformanceItem:
        """Different responses get different rewards."""
        return self._depends("fail")

    def _read(
        self, samples: Sequence[Encoded], way: Way = "padded", **how: int
    ) -> Sequence[Floats]:
        odds = self._session.asked.odds(samples, way, **how).every(self._spec, samples)
        return [np.array([one.reward]) for one in odds]

    def _read_alone(self) -> Sequence[Floats]:
        rewards = []
        for sample in self._samples:
            reply = self._session.asked.odds([sample])
            if reply.stopped:
                raise ScoringError(f"{self._spec}: {reply.stopped}")
            self._odds += reply.found.values()
            rewards += [np.array([one.reward for one in reply.found.values()] or [np.nan])]
        return rewards

    def _check(self, numbers: Floats, samples: Sequence[Encoded]) -> None:
        if len(self._odds) == len(self._samples):
            super()._check(numbers, samples)
