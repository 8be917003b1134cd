"""Reward models that are language models asked for a verdict: `judge:FILE.yaml`."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np

from rmcheck.errors import ModelError, UnknownModelError, UsageError, near_miss
from rmcheck.models.checkpoint.fingerprint import fingerprint
from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.engines.http.asking import Replies, rewards_of
from rmcheck.models.kinds.engine_session import EngineSession
from rmcheck.models.kinds.judge.engine import JudgeEngine, JudgeSession
from rmcheck.models.kinds.judge.file import JudgeFile
from rmcheck.models.kinds.judge.folder import FolderJudge
from rmcheck.models.kinds.judge.read import Grade, Written, YesNo
from rmcheck.models.kinds.judge.server import ServerJudge
from rmcheck.models.model import Loaded, RewardModel, Session
from rmcheck.models.sample import Encoded, Sample, TooLong
from rmcheck.models.spec import parse_spec
from rmcheck.pool.asked import AskedColumns

AskedT = TypeVar("AskedT", bound=JudgeSession, covariant=True)
ReadT = TypeVar("ReadT", bound=YesNo | Written)
JudgeT = TypeVar("JudgeT", bound="ReadingJudge[Any]", covariant=True)
_ENGINES: dict[str, type[FolderJudge] | type[ServerJudge]] = {
    "hf": FolderJudge,
    "vllm": FolderJudge,
    "http": ServerJudge,
}


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
    `messages`, `prompt` (the last user turn), `response` and columns of the pool; the judge's own
    chat template is applied once, with its generation prompt. How the answer becomes a reward:
    `YesNo`, `Score`.

    A score is drawn with a seed that the question and the answer's number decide, so that batches
    and resumed runs do not change it. Of several answers those that are parsed are averaged; a text
    without any has no reward, or that of `unparsed`, which lies outside of the range and is counted
    in every pool.

    With several criteria one answer grades all of them, and the reward is their weighted mean:

        read: {criteria: {correct: {range: [1, 5], weight: 2}, clear: {range: [1, 5]}}}

    Each is then scored and kept as a model of its own, `judge:FILE.yaml?criterion=correct`.

    Args:
        judge: The file, read.
        spec: The model as the user named it.
        engine: What answers, where it is open already.

    Raises:
        UnknownModelError: There is no such file, or nothing where its engine should be.
        UsageError: The file is wrong, or a setting of its engine.
        ModelError, ConformanceError: Its engine cannot be trusted.
        MissingDependencyError: jinja2 is not installed.
    """

    scheme: ClassVar[str] = "judge"

    def __init__(self, judge: JudgeFile, spec: str, engine: JudgeEngine | None = None) -> None:
        self.judge = judge
        self.spec = spec
        self.engine = engine or _opened(judge)
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

    @property
    def asked(self) -> AskedColumns:
        """The columns that the template reads."""
        return AskedColumns(
            needed=self.judge.question.columns, variables=self.judge.question.variables
        )

    @property
    def name(self) -> str:
        """The file's stem, the criterion if there is one, and the engine's name."""
        read = self.judge.read
        part = f" {read.name}" if isinstance(read, Grade) else ""
        if isinstance(read, Written) and read.start:
            part += f" answer {read.start // read.samples + 1}"
        return f"{self.judge.path.stem}{part} by {self.engine.name}"

    @property
    def description(self) -> Mapping[str, str]:
        """The reward, the file, and the engine's facts."""
        facts = {"reward": self.judge.read.formula, "judge": str(self.judge.path)}
        return {**facts, **self.engine.description}


class ReadingJudge(JudgeRewardModel, Generic[ReadT]):
    """A judge of whose answers one thing is read.

    Attributes:
        read: How the answer becomes a reward.
    """

    read: ReadT

    def __init__(self, judge: JudgeFile, spec: str, engine: JudgeEngine | None = None) -> None:
        super().__init__(judge, spec, engine)
        self.read = cast(ReadT, judge.read)

    def load(self) -> Session:
        try:
            return self._loaded()
        except ModelError as error:
            raise type(error)(f"{self.spec}: {error}") from error

    @abstractmethod
    def _loaded(self) -> Session:
        """The engine, ready to be asked in the way that is needed."""

    def _alike(self, rewards: Floats, samples: Sequence[Sample]) -> str:
        """What to say where different responses all have one reward; else empty."""
        if len({sample.response for sample in samples}) < 2 or np.ptp(rewards):
            return ""
        return (
            f"all {len(samples)} texts have the reward {rewards[0]:g}; does the judge read the "
            "response?"
        )


@dataclass(eq=False)
class ReadingSession(EngineSession[JudgeT, Loaded], Generic[JudgeT, AskedT]):
    """A judge that is ready to be asked."""

    asked: AskedT

    def encode(self, samples: Sequence[Sample], too_long: TooLong = "error") -> list[Encoded]:
        return self.asked.encode(samples, too_long)

    @abstractmethod
    def _replies(self, batch: Sequence[Encoded], way: Way) -> Replies[float]:
        """The reward of each text, or why it has none.

        Raises:
            ScoringError: Too many texts have a reward that only stands in for one.
            MemoryError: The batch does not fit.
        """

    def _rewards(self, batch: Sequence[Encoded], way: Way) -> Floats:
        return np.array(rewards_of(self._replies(batch, way), self.model.spec, batch))


def _opened(judge: JudgeFile) -> JudgeEngine:
    try:
        spec = parse_spec(judge.engine, judge.path.parent.absolute(), given=False)
        if spec.scheme not in _ENGINES:
            near = near_miss(spec.scheme, _ENGINES)
            known = ", ".join(f"{name}:" for name in _ENGINES)
            raise UsageError(f"no judge runs on {spec.scheme!r}.{near} Engines: {known}")
        return _ENGINES[spec.scheme].opened(spec, judge)
    except (UnknownModelError, UsageError, ModelError) as error:
        raise type(error)(f"{judge.path}: engine: {error}") from error
