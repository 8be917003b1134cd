"""The judge that a spec names: `judge:FILE.yaml`, a criterion of it, or one of its answers."""

from dataclasses import replace
from typing import ClassVar, Self, cast

from rmcheck.errors import UsageError, near_miss
from rmcheck.models.kinds.judge.file import read_judge_file
from rmcheck.models.kinds.judge.model import JudgeRewardModel
from rmcheck.models.kinds.judge.read import Grade, Read, Rubric, YesNo
from rmcheck.models.kinds.judge.several import RepeatedJudge, judge_of
from rmcheck.models.spec import ModelSpec, Setting, whole_number


class OpenedJudge(JudgeRewardModel):
    """Opens the kind of judge that a file describes."""

    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("criterion", ("NAME",)),
        Setting("answer", ("N",)),
    )

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The judge that a spec names; its file is read, and no weights are."""
        judge = read_judge_file(spec.path)
        if name := spec.settings.get("criterion"):
            judge = replace(judge, read=_criterion(spec, judge.read, name))
        if "answer" in spec.settings:
            judge = replace(judge, read=_answer(spec, judge.read))
        again = not isinstance(judge.read, YesNo) and judge.read.repeat > 1
        opened = RepeatedJudge(judge, spec.text) if again else judge_of(judge, spec.text)
        return cast(Self, opened)


def _answer(spec: ModelSpec, read: Read) -> Read:
    """One answer of a judge that is asked again.

    Raises:
        UsageError: It is asked once, or not so often.
    """
    number = whole_number(spec, "answer", spec.settings["answer"], least=1)
    often = 1 if isinstance(read, YesNo) else read.repeat
    if isinstance(read, YesNo) or number > often:
        raise UsageError(f"{spec.text}: this judge is asked {often} times; see repeat: in its file")
    return read.answer(number - 1)


def _criterion(spec: ModelSpec, read: Read, name: str) -> Grade:
    """One criterion of a judge.

    Raises:
        UsageError: It has none of that name.
    """
    if not isinstance(read, Rubric):
        raise UsageError(f"{spec.text}: this judge reads no criteria; remove criterion=")
    if name not in read.names:
        raise UsageError(
            f"{spec.text}: no criterion {name!r}.{near_miss(name, read.names)} "
            f"Criteria: {', '.join(read.names)}."
        )
    return read.grades[read.names.index(name)]
