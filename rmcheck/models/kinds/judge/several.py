"""Judges whose answers are several rewards: a criterion each, or the same asked again."""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from rmcheck.metrics.components import component_column
from rmcheck.metrics.flips import repeat_columns
from rmcheck.models.kinds.judge.engine import JudgeEngine
from rmcheck.models.kinds.judge.file import JudgeFile
from rmcheck.models.kinds.judge.model import JudgeRewardModel, ReadingJudge
from rmcheck.models.kinds.judge.read import Read, Rubric, YesNo
from rmcheck.models.kinds.judge.score import Known
from rmcheck.models.model import Combined, MembersModel, RewardModel, Sample


class RubricJudge(MembersModel, JudgeRewardModel):
    """A judge whose answers grade several criteria: its members, one criterion each.

    They are scored one after another. Whoever is asked first for a text keeps what its answers say
    of every criterion, about a hundred bytes an answer, so that the others ask for nothing.

    Args:
        judge: The file, read.
        spec: The model as the user named it.
    """

    def __init__(self, judge: JudgeFile, spec: str, engine: JudgeEngine | None = None) -> None:
        super().__init__(judge, spec, engine)
        assert isinstance(judge.read, Rubric)
        self.rubric = judge.read
        weights = np.array([one.weight for one in self.rubric.criteria])
        shares = zip(self.rubric.names, (weights / weights.sum()).tolist(), strict=True)
        self.components = dict(shares)
        known: Known = {}
        self._members = tuple(
            ReadingJudge(
                replace(judge, read=grade), _with(spec, "criterion", name), self.engine, known
            )
            for name, grade in zip(self.rubric.names, self.rubric.grades, strict=True)
        )

    @property
    def members(self) -> tuple[RewardModel, ...]:
        """A judge of each criterion, in the order of the file."""
        return self._members

    def combined(self, scores: NDArray[np.float64], samples: Sequence[Sample]) -> Combined:
        """The weighted mean of the criteria, and each of them as a column.

        Raises:
            ScoringError: More texts than `unparsed.at_most` allows have no grade of a criterion.
        """
        pairs = zip(self._members, scores, strict=True)
        own = [member.combined(row[None], samples) for member, row in pairs]
        warnings = [
            f"{name}: {each.warning}"
            for name, each in zip(self.rubric.names, own, strict=True)
            if each.warning
        ]
        weights = np.array([one.weight for one in self.rubric.criteria])
        columns = dict(zip(map(component_column, self.components), scores, strict=True))
        return Combined(weights @ scores / weights.sum(), columns, "; ".join(warnings))


class RepeatedJudge(MembersModel, JudgeRewardModel):
    """A judge that is asked again about every text: its members are the answers, one after another.

    The reward is the mean. What each answer gives is a column, so that `verdict_flips` can say how
    often two of them disagree. The first answer is that of the same judge without `repeat`.

    Args:
        judge: The file, read.
        spec: The model as the user named it.
    """

    def __init__(self, judge: JudgeFile, spec: str) -> None:
        super().__init__(judge, spec)
        assert not isinstance(judge.read, YesNo)  # a next token is no draw
        reads: list[Read] = [judge.read.answer(i) for i in range(judge.read.repeat)]
        self._answers = tuple(self._answer(read, i) for i, read in enumerate(reads, 1))
        self.components = self._answers[0].components

    def _answer(self, read: Read, number: int) -> RubricJudge | ReadingJudge:
        kind = RubricJudge if isinstance(read, Rubric) else ReadingJudge
        spec = _with(self.spec, "answer", str(number))
        return kind(replace(self.judge, read=read), spec, self.engine)

    @property
    def members(self) -> tuple[RewardModel, ...]:
        """A judge of each answer, and of each criterion in it."""
        return tuple(member for answer in self._answers for member in answer.members)

    def combined(self, scores: NDArray[np.float64], samples: Sequence[Sample]) -> Combined:
        """The mean of all answers, and each of them as a column.

        Raises:
            ScoringError: More texts than `unparsed.at_most` allows have no parsed answer.
        """
        parts = np.split(scores, len(self._answers))
        pairs = zip(self._answers, parts, strict=True)
        each = [answer.combined(part, samples) for answer, part in pairs]
        names = repeat_columns(len(each))
        columns = {name: one.rewards for name, one in zip(names, each, strict=True)}
        for name in each[0].columns:
            columns[name] = np.mean([one.columns[name] for one in each], axis=0)
        warnings = [f"answer {i}: {one.warning}" for i, one in enumerate(each, 1) if one.warning]
        return Combined(
            np.mean([one.rewards for one in each], axis=0), columns, "; ".join(warnings)
        )


def _with(spec: str, name: str, value: str) -> str:
    """A spec with one more setting."""
    return f"{spec}{'&' if '?' in spec else '?'}{name}={quote(value)}"
