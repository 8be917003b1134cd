"""Judges whose answers are several rewards: a criterion each, or the same asked again."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import numpy as np

from rmcheck.metrics.components import component_column
from rmcheck.metrics.flips import repeat_columns
from rmcheck.models.kinds.judge.comparing import ComparingJudge
from rmcheck.models.kinds.judge.engine import JudgeEngine
from rmcheck.models.kinds.judge.file import JudgeFile
from rmcheck.models.kinds.judge.model import JudgeRewardModel, ReadingJudge
from rmcheck.models.kinds.judge.read import Read, Rubric, YesNo
from rmcheck.models.kinds.judge.read_lists import Compares
from rmcheck.models.kinds.judge.score import Known, ScoreJudge
from rmcheck.models.kinds.judge.yes_no import YesNoJudge
from rmcheck.models.model import Combined, MembersModel, RewardModel
from rmcheck.models.sample import Sample


class RubricJudge(MembersModel, JudgeRewardModel):
    """A judge whose answers grade several criteria: its parts, one criterion each.

    They are scored one after another. Whoever is asked first for a text keeps what its answers say
    of every criterion, about a hundred bytes an answer, so that the others ask for nothing.
    """

    def __init__(self, judge: JudgeFile, spec: str, engine: JudgeEngine | None = None) -> None:
        super().__init__(judge, spec, engine)
        assert isinstance(judge.read, Rubric)
        self.rubric = judge.read
        weights = np.array([one.weight for one in self.rubric.criteria])
        shares = zip(self.rubric.names, (weights / weights.sum()).tolist(), strict=True)
        self.components = dict(shares)
        known: Known = {}
        self._criteria = tuple(
            ScoreJudge(
                replace(judge, read=grade), _with(spec, "criterion", name), self.engine, known
            )
            for name, grade in zip(self.rubric.names, self.rubric.grades, strict=True)
        )

    @property
    def parts(self) -> tuple[RewardModel, ...]:
        """A judge of each criterion, in the order of the file."""
        return self._criteria

    def together(self, parts: Sequence[Combined], samples: Sequence[Sample]) -> Combined:
        """The weighted mean of the criteria, and each of them as a column."""
        weights = np.array([one.weight for one in self.rubric.criteria])
        scores = [part.rewards for part in parts]
        columns = dict(zip(map(component_column, self.components), scores, strict=True))
        warning = "; ".join(self.warnings(parts))
        return Combined(weights @ np.stack(scores) / weights.sum(), columns, warning)


AskedOnce = RubricJudge | ReadingJudge[Any]


class RepeatedJudge(MembersModel, JudgeRewardModel):
    """A judge that is asked again about every text: its parts are the answers, one after another.

    The reward is the mean; of one that compares, the mean rating. What each answer gives is a
    column, so that `verdict_flips` can say how often two of them disagree. The first answer is that
    of the same judge without `repeat`.
    """

    def __init__(self, judge: JudgeFile, spec: str) -> None:
        super().__init__(judge, spec)
        assert not isinstance(judge.read, YesNo)  # a next token is no draw
        reads: list[Read] = [judge.read.answer(i) for i in range(judge.read.repeat)]
        self._answers = tuple(self._answer(read, i) for i, read in enumerate(reads, 1))
        self.components = self._answers[0].components
        self.compares = self._answers[0].compares

    def _answer(self, read: Read, number: int) -> AskedOnce:
        spec = _with(self.spec, "answer", str(number))
        return judge_of(replace(self.judge, read=read), spec, self.engine)

    @property
    def parts(self) -> tuple[RewardModel, ...]:
        """A judge of each answer."""
        return self._answers

    def together(self, parts: Sequence[Combined], samples: Sequence[Sample]) -> Combined:
        """The mean of all answers, and each of them as a column."""
        names = repeat_columns(len(parts))
        columns = {name: one.rewards for name, one in zip(names, parts, strict=True)}
        for name in parts[0].columns:
            columns[name] = np.mean([one.columns[name] for one in parts], axis=0)
        mean = np.mean([one.rewards for one in parts], axis=0)
        return Combined(mean, columns, "; ".join(self.warnings(parts)))


def judge_of(judge: JudgeFile, spec: str, engine: JudgeEngine | None = None) -> AskedOnce:
    """The judge that reads what this file says, asked once."""
    read = judge.read
    if isinstance(read, Rubric):
        return RubricJudge(judge, spec, engine)
    if isinstance(read, YesNo):
        return YesNoJudge(judge, spec, engine)
    return (ComparingJudge if isinstance(read, Compares) else ScoreJudge)(judge, spec, engine)


def _with(spec: str, name: str, value: str) -> str:
    """A spec with one more setting."""
    return f"{spec}{'&' if '?' in spec else '?'}{name}={quote(value)}"
