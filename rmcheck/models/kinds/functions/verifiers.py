"""Rubrics of the package verifiers: `verifiers:module:rubric`."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self, cast

from rmcheck.errors import UnknownModelError, UsageError
from rmcheck.models.checkpoint.fingerprint import fingerprint
from rmcheck.models.kinds.functions.columns import accepted, asked_by, conversation
from rmcheck.models.kinds.functions.function import SETTINGS, FunctionModel
from rmcheck.models.kinds.functions.modules import importable, imported_name
from rmcheck.models.kinds.functions.rows import RowFunctionModel
from rmcheck.models.kinds.functions.several import WeightedRewards
from rmcheck.models.sample import Sample
from rmcheck.models.spec import ModelSpec, Setting
from rmcheck.pool.asked import AskedColumns

# Parameters that stand for a whole group of completions.
_OF_GROUPS = frozenset({"states", "prompts", "completions", "answers", "tasks", "infos"})
_GIVEN = frozenset({"prompt", "completion", "state"})


class VerifiersRubric(WeightedRewards):
    """A `Rubric` or `RubricGroup`: each of its functions with its weight.

    The name is a rubric in the module, an environment that has one, or a function that makes
    either, such as `load_environment`. Functions get by name what the package gives them: `prompt`
    and `completion` as messages, `answer`, `info` and `task` from columns of these names, a `state`
    that holds them, the parser and other objects of the rubric, and further columns. Functions of
    whole groups are refused. A function that raises is an error here, where the package counts 0.

    Reference:
        verifiers, `verifiers/rubrics/rubric.py`, as in its versions 0.1 to 0.3; tasks of 0.4 are
        refused.
    """

    scheme: ClassVar[str] = "verifiers"
    settings: ClassVar[tuple[Setting, ...]] = SETTINGS

    def __init__(self, spec: ModelSpec) -> None:
        module = _RubricModule(spec)
        super().__init__(spec.text, *_members(spec, module))
        self.fingerprint = fingerprint({"rubric": module.fingerprint, "sum": self.fingerprint})

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The rubric that a spec names; its module is imported, since it says what is in it.

        Raises:
            UnknownModelError: There is no such module, or nothing of that name in it.
            UsageError: The name is no rubric, is empty, or has functions of groups.
        """
        return cls(spec)


class _RubricModule(FunctionModel):
    """Finds and fingerprints the module; nothing is called."""

    scheme = VerifiersRubric.scheme

    def asks(self, parameters: Sequence[inspect.Parameter]) -> AskedColumns:
        return AskedColumns()

    def call(self, function: Callable[..., Any], samples: Sequence[Sample]) -> Any:
        raise AssertionError("the rubrics are called, not their module")

    @cached_property
    def rubrics(self) -> list[Any]:
        """The rubrics of the name."""
        with importable(self._base):
            found = imported_name(self.spec, self._module, self._function_name)
            if _is_of_tasks(found):
                raise self._of_tasks()
            try:
                made = found() if inspect.isroutine(found) else found
            # Whatever the user's code raises.
            except Exception as error:
                raise UnknownModelError(
                    f"{self.spec}: {self.name} raised {type(error).__name__}: {error}"
                ) from error
        if _is_of_tasks(made):
            raise self._of_tasks()
        rubrics = list(_flat(getattr(made, "rubric", made)))
        if not rubrics:
            raise UsageError(
                f"{self.spec}: {self.name} is {type(made).__name__}, which has no reward functions;"
                " name a Rubric, an environment that has one, or what makes one"
            )
        return rubrics

    def _of_tasks(self) -> UsageError:
        return UsageError(
            f"{self.spec}: {self.name} is of verifiers 0.4 (verifiers.v1), where a reward is a "
            "method of a task and reads the trace of a run in its harness, which no pool has; "
            "write what it says of an answer as a function, and name that: trl:module:function"
        )


def _is_of_tasks(found: Any) -> bool:
    """Whether something is a task, a set of tasks or an `@vf.reward` of verifiers 0.4."""
    kinds = (found if isinstance(found, type) else type(found)).__mro__
    of_v1 = any(kind.__module__.startswith("verifiers.v1") for kind in kinds)
    return of_v1 or hasattr(found, "_vf_weight")


def _flat(rubric: Any) -> Iterator[Any]:
    """The rubrics of a group, or the rubric itself."""
    for one in getattr(rubric, "rubrics", [rubric]):
        if isinstance(getattr(one, "funcs", None), list) and one.funcs:
            yield one


def _members(
    spec: ModelSpec, module: _RubricModule
) -> tuple[list[RowFunctionModel], list[str], list[float]]:
    """A model of each function, its name and its weight."""
    found = [
        (function, float(weight), dict(getattr(rubric, "class_objects", {})))
        for rubric in module.rubrics
        for function, weight in zip(rubric.funcs, rubric.weights, strict=True)
    ]
    names = [getattr(f, "__name__", repr(f)) for f, _, _ in found]
    for name, (function, _, _) in zip(names, found, strict=True):
        if inspect.signature(function).parameters.keys() & _OF_GROUPS:
            raise UsageError(
                f"{spec.text}: {name} judges a group of completions at once, so that a response "
                "has no reward of its own"
            )
    members = [
        _RubricFunction(spec, module, name, function, objects)
        for name, (function, _, objects) in zip(names, found, strict=True)
    ]
    return cast(list[RowFunctionModel], members), names, [weight for _, weight, _ in found]


class _RubricFunction(RowFunctionModel):
    """One function of a rubric."""

    scheme = VerifiersRubric.scheme

    def __init__(
        self,
        spec: ModelSpec,
        module: _RubricModule,
        name: str,
        function: Callable[..., Any],
        objects: Mapping[str, Any],
    ) -> None:
        super().__init__(spec)
        self._own, self._of_rubric, self._objects = function, name, objects
        self.fingerprint = fingerprint({"rubric": module.fingerprint, "function": name})
        self.spec = f"{spec.text} ({name})"

    @property
    def name(self) -> str:
        return self._of_rubric

    @cached_property
    def asked(self) -> AskedColumns:
        return self.asks(list(inspect.signature(self._own).parameters.values()))

    def asks(self, parameters: Sequence[inspect.Parameter]) -> AskedColumns:
        found = asked_by(parameters, known=_GIVEN | self._objects.keys())
        # A state holds all columns of its row.
        state = any(p.name == "state" for p in parameters)
        optional = [n for n in ("info", "task") if n in found.needed]
        needed = tuple(name for name in found.needed if name not in optional)
        return AskedColumns(needed, (*found.optional, *optional), found.rest or state)

    def _imported(self) -> Callable[..., Any]:
        return self._own

    def call_row(self, function: Callable[..., Any], sample: Sample) -> Any:
        prompt = conversation(sample)
        completion = [{"role": "assistant", "content": sample.response}]
        row = {"answer": "", "info": {}, "task": "default"}
        row |= {name: value for name, value in sample.columns.items() if value is not None}
        state = {**row, "prompt": prompt, "completion": completion, "input": row, "trajectory": []}
        given = {**row, "prompt": prompt, "completion": completion, "state": state, **self._objects}
        return function(**accepted(function, given))
