"""Reward models that are language models asked for a verdict: `judge:FILE.yaml`."""

import math
import threading
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import (
    ModelError,
    PartialScoringError,
    ScoringError,
    UnknownModelError,
    UsageError,
    near_miss,
)
from rmcheck.models.checkpoint.fingerprint import fingerprint
from rmcheck.models.engines.http.asking import Outcome, complaint
from rmcheck.models.kinds.judge.conformance import prove
from rmcheck.models.kinds.judge.engine import Answer, JudgeEngine, Replies
from rmcheck.models.kinds.judge.file import JudgeFile, read_judge_file
from rmcheck.models.kinds.judge.read import Score, YesNo
from rmcheck.models.kinds.judge.server_judge import ServerJudge
from rmcheck.models.kinds.judge.transformers_judge import TransformersJudge
from rmcheck.models.kinds.judge.vllm_judge import VllmJudge
from rmcheck.models.model import (
    Combined,
    Encoded,
    EngineFacts,
    RewardModel,
    Sample,
    TooLong,
    checked_rewards,
)
from rmcheck.models.spec import ModelSpec, Setting, parse_spec
from rmcheck.models.workers import Workers

_ENGINES: dict[str, type[TransformersJudge] | type[VllmJudge] | type[ServerJudge]] = {
    "hf": TransformersJudge,
    "vllm": VllmJudge,
    "http": ServerJudge,
}
# Letters shown of the end of an answer.
_SHOWN = 120


class JudgeRewardModel(RewardModel):
    r"""A language model behind a template, as a reward model.

        engine: hf:checkpoints/judge-7b?dtype=bfloat16    # or vllm:DIR, or http:URL?model=NAME
        template: judge.jinja                             # or prompt: | with the template itself
        system: You are a strict grader.                  # optional
        read: {yes: [Yes, " Yes"], no: [No, " No"]}       # log-odds of the next token
        # or
        read: {score: 'Score:\s*(\d+)', range: [1, 10], samples: 4, temperature: 1.0}
        unparsed: {reward: 0, at_most: 0.05}              # or error, the default

    Relative paths in the file are relative to its folder. The template makes the user turn of
    `messages`, `prompt` (the last user turn) and `response`; the judge's own chat template is
    applied once, with its generation prompt. How the answer becomes a reward: `YesNo`, `Score`.

    A score is drawn with a seed that the question and the answer's number decide, so that batches
    and resumed runs do not change it. Of several answers those that are parsed are averaged; a text
    without any has no reward, or that of `unparsed`, which lies outside of the range and is counted
    in every pool.

    Args:
        judge: The file, read.

    Raises:
        UnknownModelError: There is no such file, or nothing where its engine should be.
        UsageError: The file is wrong, or a setting of its engine.
        ModelError, ConformanceError: Its engine cannot be trusted.
        MissingDependencyError: jinja2 is not installed.
    """

    scheme: ClassVar[str] = "judge"
    settings: ClassVar[tuple[Setting, ...]] = ()

    def __init__(self, judge: JudgeFile) -> None:
        self.judge = judge
        self.spec = f"judge:{judge.path}"
        self.engine = _opened(judge)
        self.kept = self.engine.kept
        self.fingerprint = fingerprint(
            {
                "scheme": self.scheme,
                "engine": self.engine.fingerprint,
                "question": judge.question.source,
                "system": judge.system,
                "read": judge.read.facts,
            }
        )
        # Texts that were judged, and those of them whose reward only stands in for a verdict.
        self._asked = self._doubtful = 0
        self._counting = threading.Lock()
        self._warning = ""

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The judge that a spec names; its file is read, and no weights are."""
        model = cls(read_judge_file(spec.path))
        model.spec = spec.text
        return model

    @property
    def name(self) -> str:
        """The file's stem and the engine's name."""
        return f"{self.judge.path.stem} by {self.engine.name}"

    @property
    def description(self) -> Mapping[str, str]:
        """The reward, the file, the engine's facts, and what the page warns of."""
        facts = {"reward": self.judge.read.formula, "judge": str(self.judge.path)}
        warning = {"warning": self._warning} if self._warning else {}
        return {**facts, **self.engine.description, **warning}

    @property
    def facts(self) -> EngineFacts:
        """Those of the engine."""
        return self.engine.facts

    def load(self) -> None:
        """Load the engine. Does nothing when it is loaded.

        Raises:
            MissingDependencyError: An engine package is not installed.
            ModelError: The engine cannot be loaded.
            ConformanceError: A word of `read` is not one token of this judge.
        """
        try:
            self.engine.load()
        except ModelError as error:
            raise type(error)(f"{self.spec}: {error}") from error

    def encode(self, samples: Sequence[Sample], too_long: TooLong = "error") -> list[Encoded]:
        """The question about each sample; nothing is cut whatever `too_long` says.

        Raises:
            ScoringError: A question cannot be written, or is too long; the prompts are named.
        """
        return self.engine.encode(samples, too_long)

    def prove(self, encoded: Sequence[Encoded]) -> None:
        """Fill the conformance page; see `rmcheck.models.kinds.judge.conformance`."""
        proven = prove(self.spec, self.engine, self.judge.read, encoded)
        self.conformance, self._warning = proven.items, proven.warning
        self.shares_prefixes = self.engine.shares_prefixes

    def score(self, batch: Sequence[Encoded]) -> NDArray[np.float64]:
        """(len(batch),) raw log-odds in nats, or numbers of the judge's own scale.

        Raises:
            PartialScoringError: Some texts have no reward; it holds the rewards of the others.
            ScoringError: A server shows one side only for more texts than `censored_at_most`
                allows, or clearly more than `unparsed.at_most` have no parsed answer.
            MemoryError: The batch does not fit.
        """
        if not batch:
            return np.zeros(0)
        read = self.judge.read
        judged = (
            self._log_odds(batch, read) if isinstance(read, YesNo) else self._means(batch, read)
        )
        if len(judged.found) < len(batch):
            outcome = Outcome(
                faults=judged.faults, stopped=judged.stopped, stopped_at=judged.stopped_at
            )
            raise PartialScoringError(
                complaint(self.spec, outcome, batch), judged.found, goes_on=not judged.stopped
            )
        rewards = np.array([judged.found[place] for place in range(len(batch))])
        return checked_rewards(rewards, batch, self.spec)

    def combined(self, scores: NDArray[np.float64], samples: Sequence[Sample]) -> Combined:
        """The rewards as they are, once they depend on responses and enough of them are parsed.

        Raises:
            ScoringError: Different responses all have the same log-odds, or more texts than
                `unparsed.at_most` allows have no parsed answer.
        """
        read, rewards = self.judge.read, scores[0]
        alike = len({s.response for s in samples}) > 1 and not np.ptp(rewards)
        said = (
            f"all {len(samples)} texts have the reward {rewards[0]:g}; does the judge read the "
            "response?"
            if alike
            else ""
        )
        if isinstance(read, YesNo):
            if alike:
                raise ScoringError(f"{self.spec}: {said}")
            return Combined(rewards)
        count = int(np.count_nonzero(rewards == read.unparsed))
        if not count:
            return Combined(rewards, warning=said)
        said = (
            f"{count} of {len(samples)} texts ({count / len(samples):.1%}) have no parsed answer "
            f"and the reward {read.unparsed:g}"
        )
        if count > read.unparsed_at_most * len(samples):
            raise ScoringError(f"{self.spec}: {said}; {_remedy(read)}")
        return Combined(rewards, warning=said)

    def workers(self) -> Workers:
        """Those of the engine."""
        return self.engine.workers()

    def close(self) -> None:
        """Release the engine; the model can be loaded again."""
        self.engine.close()

    def _log_odds(self, batch: Sequence[Encoded], read: YesNo) -> Replies[float]:
        judged = self.engine.odds(batch, read)
        with self._counting:
            self._asked += len(judged.found)
            self._doubtful += sum(verdict.censored for verdict in judged.found.values())
        self._check_censored(read)
        rewards = {place: verdict.reward for place, verdict in judged.found.items()}
        return Replies(rewards, judged.faults, judged.stopped, judged.stopped_at)

    def _check_censored(self, read: YesNo) -> None:
        """Refuse rewards of which too many are bounds; one is allowed unless the share is 0."""
        share = read.censored_at_most
        if self._doubtful <= (max(1.0, share * self._asked) if share else 0.0):
            return
        raise ScoringError(
            f"{self.spec}: of {self._doubtful} of {self._asked} texts the server shows words of "
            f"one side only among its {read.top_logprobs} likeliest tokens, and "
            f"read.censored_at_most allows {share:.1%}. Ask for more (top_logprobs), add the words "
            "that it answers with, or use an engine in this process"
        )

    def _check_unparsed(self, read: Score) -> None:
        """Refuse to go on where clearly more texts than allowed have no parsed answer.

        Clearly: by three standard errors and three texts, since the first texts of a run are no
        random ones. `combined` judges the whole pool to the letter.
        """
        expected = read.unparsed_at_most * self._asked
        if self._doubtful > expected + 3 * math.sqrt(expected) + 3:
            raise ScoringError(
                f"{self.spec}: {self._doubtful} of the {self._asked} texts judged so far have no "
                f"parsed answer; {_remedy(read)}"
            )

    def _means(self, batch: Sequence[Encoded], read: Score) -> Replies[float]:
        judged = self.engine.answers(batch, read)
        means: Replies[float] = Replies({}, dict(judged.faults), judged.stopped, judged.stopped_at)
        for place, answers in judged.found.items():
            numbers = [read.parsed(answer.text) for answer in answers]
            parsed = [number for number in numbers if number is not None]
            if parsed and (read.unparsed is not None or len(parsed) == len(numbers)):
                means.found[place] = float(np.mean(parsed))
            elif read.unparsed is not None:
                means.found[place] = read.unparsed
            else:
                means.faults[place] = _unparsed(answers[numbers.index(None)], read)
        self._asked += len(means.found)
        self._doubtful += sum(reward == read.unparsed for reward in means.found.values())
        self._check_unparsed(read)
        return means


def _unparsed(answer: Answer, read: Score) -> str:
    cut = f" (cut at max_tokens {read.max_tokens})" if answer.cut else ""
    bounds = f"{read.lowest:g} to {read.highest:g}"
    end = answer.text[-_SHOWN:]
    more = "…" if len(answer.text) > _SHOWN else ""
    return (
        f"no number from {bounds} by {read.pattern!r} in the answer{cut}, which ends {more}{end!r}"
    )


def _remedy(read: Score) -> str:
    return (
        f"unparsed.at_most allows {read.unparsed_at_most:.1%}. Mend the template or the pattern, "
        "or raise max_tokens"
    )


def _opened(judge: JudgeFile) -> JudgeEngine:
    try:
        spec = parse_spec(judge.engine, judge.path.parent.absolute(), given=False)
        if spec.scheme not in _ENGINES:
            near = near_miss(spec.scheme, _ENGINES)
            known = ", ".join(f"{name}:" for name in _ENGINES)
            raise UsageError(f"no judge runs on {spec.scheme!r}.{near} Engines: {known}")
        return _ENGINES[spec.scheme](spec, judge)
    except (UnknownModelError, UsageError, ModelError) as error:
        raise type(error)(f"{judge.path}: engine: {error}") from error
