"""Which models judge which suites: all of it is known before anything is scored."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from rmcheck.errors import PoolError, Problem, RmcheckError, SuiteError, UsageError, near_miss
from rmcheck.metrics.serving import SERVING
from rmcheck.models.model import RewardModel
from rmcheck.models.registry import open_model
from rmcheck.models.trust import FUNCTIONS
from rmcheck.run.loaded import LoadedSuite, PlannedCheck
from rmcheck.scoring.request import Request
from rmcheck.suite.locate import check_problem, suite_problem
from rmcheck.wording import shown

Role = Literal["candidate", "baseline", "golden", "serving"]
OPTIONS = {
    "candidate": "model",
    "baseline": "baseline",
    "golden": "golden",
    "serving": "serving",
}
WHOLE = (
    "Its reward is one number. Components are the criteria of a judge, and several functions of a "
    "trainer."
)
# What a role is for, where the candidate itself would fill it and always meet its checks.
ANOTHER = {
    "baseline": "a drop is against another model",
    "golden": "a golden reward is another model's",
}


@dataclass(frozen=True, eq=False)
class PlannedSuite:
    """A suite with the models that its checks ask for.

    Attributes:
        loaded: The suite with its pool, or a part of it (`on`).
        models: Role to model: candidate, baseline, golden RM, serving engine, as far as the suite
            asks for them.
    """

    loaded: LoadedSuite
    models: Mapping[str, RewardModel]

    @property
    def path(self) -> Path:
        """The suite file."""
        return self.loaded.suite.path

    def on(self, part: LoadedSuite) -> "PlannedSuite":
        """The same models on a part of the suite."""
        return replace(self, loaded=part)

    def asking(self, role: str, model: RewardModel) -> "PlannedSuite":
        """The suite with one more model."""
        return replace(self, models={**self.models, role: model})

    @property
    def golden(self) -> str:
        """What golden is: the fingerprint of a golden RM, or where the column comes from."""
        model = self.models.get("golden")
        return golden_source(self.loaded) if model is None else model.fingerprint

    @property
    def identity(self) -> str:
        """What of models and data belongs into the signature of every check of the suite."""
        judged = {role: model for role, model in self.models.items() if role != "serving"}
        parts = [f"data:{self.loaded.fingerprint[:8]}"]
        parts += [f"{role}:{model.fingerprint[:8]}" for role, model in judged.items()]
        return "|".join([*parts, *self._columns])

    @cached_property
    def _columns(self) -> list[str]:
        """What rewards read of the rows, where they read more than the texts."""
        asking = (m for model in self.models.values() for m in model.members if m.asked)
        keys = [Request(model, self.loaded.samples).keys.tobytes() for model in asking]
        return [f"columns:{hashlib.sha256(b''.join(keys)).hexdigest()[:8]}"] if keys else []

    def served_by(self, check: PlannedCheck) -> str:
        """What of the serving engine belongs into the signature of a check: nothing for most."""
        if SERVING not in check.check.metric.columns:
            return ""
        return f"|serving:{self.models['serving'].fingerprint[:8]}"


@dataclass(frozen=True, eq=False)
class Plan:
    """The suites of a run and the models that judge them.

    Attributes:
        models: Role to model, as the user gave them.
        compares: False where nothing is judged, so that no serving engine is asked.
        root: Paths below this folder are shown relative to it.
    """

    models: Mapping[str, RewardModel]
    compares: bool
    root: Path
    suites: Mapping[Path, PlannedSuite] = field(default_factory=dict)

    def model(self, role: str) -> RewardModel:
        """The model that the user gave this role.

        Raises:
            UsageError: There is none; says the option.
        """
        if role not in self.models:
            option = f"--rmcheck-{OPTIONS[role]}"
            raise UsageError(f"no {role} model was given. Give one with {option}=SCHEME:LOCATION.")
        return self.models[role]

    def adding(self, path: Path, loaded: LoadedSuite) -> "Plan":
        """The plan with one more suite.

        Raises:
            SuiteError: Its golden RM or serving engine cannot be opened, or is the candidate; or a
                model asks for a column that the pool has not.
            UsageError: A check compares with a serving engine and none was given.
        """
        roles = ("candidate", "baseline") if loaded.compares else ("candidate",)
        models = {role: model for role, model in self.models.items() if role in roles}
        if loaded.suite.golden.model is not None:
            models["golden"] = self._golden(loaded, loaded.suite.golden.model)
        if self.compares and (loaded.suite.serving or loaded.serving_checks):
            models["serving"] = self.models.get("serving") or open_serving(
                loaded, self.models["candidate"], shown=shown(loaded.suite.path, self.root)
            )
        problems = [*_columns_missing(loaded, models), *_components_missing(loaded, models)]
        if problems:
            raise SuiteError(problems)
        return replace(self, suites={**self.suites, path: PlannedSuite(loaded, models)})

    def _golden(self, loaded: LoadedSuite, spec: str) -> RewardModel:
        """The golden RM of a suite; suites that name the same share it."""
        for suite in self.suites.values():
            if suite.loaded.suite.golden.model == spec:
                return suite.models["golden"]
        return open_golden(loaded, spec, self.models["candidate"] if self.compares else None)


def _columns_missing(loaded: LoadedSuite, models: Mapping[str, RewardModel]) -> Iterator[Problem]:
    """What models ask of the rows of a suite, and its pool cannot give."""
    members = {m.fingerprint: m for model in models.values() for m in model.members if m.asked}
    for member in members.values():
        try:
            loaded.samples.reading(member.asked)
        except PoolError as error:
            what = error.problems[0].message
            yield suite_problem(loaded.suite, f"{member.spec} reads columns: {what}", "pool")


def _components_missing(
    loaded: LoadedSuite, models: Mapping[str, RewardModel]
) -> Iterator[Problem]:
    """Components that checks name and the model that is judged has not."""
    for check in loaded.suite.checks:
        for role in ("candidate", *(("baseline",) if check.needs_baseline else ())):
            model = models.get(role)
            if model is None or check.component in (None, *model.components):
                continue
            near = near_miss(str(check.component), model.components)
            message = f"{role} {model.spec} has no component {check.component!r}.{near}"
            valid = f"Its components: {', '.join(model.components)}." if model.components else WHOLE
            yield check_problem(loaded.suite, check, message, "component", valid=valid)


def names_of(models: Mapping[str, RewardModel]) -> dict[str, str]:
    """Role to what its model is called among these."""
    return dict(zip(models, names_apart(list(models.values())), strict=True))


def golden_source(loaded: LoadedSuite) -> str:
    """Where golden comes from, in words."""
    golden = loaded.suite.golden
    judge = f", judge {golden.judge}" if golden.judge else ""
    return golden.model or f"column {golden.column}{judge}"


def names_apart(models: Sequence[RewardModel]) -> list[str]:
    """What to call models that are compared: their names, or their specs where two share a name.

    A checkpoint and the same checkpoint in bfloat16 have one name.
    """
    names = [model.name for model in models]
    return [model.spec if names.count(model.name) > 1 else model.name for model in models]


# -- opening models ---------------------------------------------------------------------------


def open_given(
    specs: Mapping[str, str | None], bases: Mapping[str, Path], *, compares: bool
) -> dict[str, RewardModel]:
    """The models that the user gave, by role.

    Args:
        specs: Role to spec, or None.
        bases: Role to the folder that relative paths in its spec start from, where that is not the
            current one.
        compares: Whether they are going to be compared with one another.

    Raises:
        UsageError: A model cannot be opened, or the candidate stands in a second role too.
    """
    models = {
        role: open_model(spec, base=bases.get(role))
        for role, spec in specs.items()
        if spec is not None
    }
    if "serving" in models:
        require_two_engines(models["candidate"], models["serving"])
    for role in models.keys() & ANOTHER.keys() if compares else ():
        require_another(models["candidate"], models[role], role)
    return models


def require_another(candidate: RewardModel, model: RewardModel, role: str) -> None:
    """Refuse the candidate, or a bundle of its scores, as its own baseline or golden RM.

    Raises:
        UsageError: It is.
    """
    if candidate.identity == model.identity:
        raise _one_model(candidate, model, ANOTHER[role])


def require_two_engines(first: RewardModel, second: RewardModel) -> None:
    """Refuse a model that would be compared with itself.

    Raises:
        UsageError: Both have one fingerprint.
    """
    if first.fingerprint == second.fingerprint:
        raise _one_model(first, second, "parity compares two engines")


def _one_model(first: RewardModel, second: RewardModel, why: str) -> UsageError:
    return UsageError(
        f"{first.spec} and {second.spec} are one model (fingerprint {first.identity[:8]}); {why}"
    )


def open_golden(loaded: LoadedSuite, spec: str, candidate: RewardModel | None) -> RewardModel:
    """The golden RM of a suite.

    Raises:
        SuiteError: It cannot be opened, is the candidate, or repeats a golden reward that there is
            none of.
    """
    with _suite_errors(loaded, "golden", "model"):
        opened = open_model(spec, given=False)
        if opened.reads_golden:
            raise UsageError(f"{spec} repeats the golden reward; it cannot give one")
        if candidate is not None:
            require_another(candidate, opened, "golden")
        return opened


def open_serving(loaded: LoadedSuite, candidate: RewardModel, *, shown: str) -> RewardModel:
    """The serving engine of a suite that compares with one.

    Raises:
        UsageError: The suite names none.
        SuiteError: It cannot be opened, or is the candidate.
    """
    if loaded.suite.serving is None:
        names = loaded.serving_checks
        raise UsageError(
            f"{shown}: {', '.join(names)} compare{'s' if len(names) == 1 else ''} with a serving "
            "engine, and none was given.\n  Name it in the suite, serving: {model: "
            "SCHEME:LOCATION}, give it with --rmcheck-serving=SCHEME:LOCATION, or set "
            "rmcheck_serving in the ini file."
        )
    with _suite_errors(loaded, "serving", "model"):
        opened = open_model(loaded.suite.serving.model, given=False)
        require_two_engines(candidate, opened)
        return opened


def open_named(loaded: LoadedSuite) -> None:
    """Open the models that a suite names where they lie in files of this machine.

    Servers are not asked, and no code of the user's is imported.

    Raises:
        SuiteError: One cannot be opened.
    """
    golden, serving = loaded.suite.golden.model, loaded.suite.serving
    if golden is not None and _in_files(golden):
        open_golden(loaded, golden, None)
    if serving is not None and _in_files(serving.model):
        with _suite_errors(loaded, "serving", "model"):
            open_model(serving.model)


def _in_files(spec: str) -> bool:
    return spec.partition(":")[0] not in ("http", "judge", *FUNCTIONS)


@contextmanager
def _suite_errors(loaded: LoadedSuite, *keys: str) -> Iterator[None]:
    """Show an error about a model at the place where the suite names it."""
    try:
        yield
    except RmcheckError as error:
        raise SuiteError([suite_problem(loaded.suite, str(error), *keys)]) from error
