"""Models that suites ask for: their golden RM, the engine that training will ask."""

from collections.abc import Iterator
from contextlib import contextmanager

from rmcheck.errors import RmcheckError, SuiteError, UsageError
from rmcheck.models.model import RewardModel
from rmcheck.models.registry import open_model
from rmcheck.run.loaded import LoadedSuite
from rmcheck.run.serving import one_model, require_two_engines
from rmcheck.suite.locate import suite_problem

# What a role is for, where the candidate itself would fill it and always meet its checks.
ANOTHER = {
    "baseline": "a drop is against another model",
    "golden": "a golden reward is another model's",
}


def require_another(candidate: RewardModel, model: RewardModel, role: str) -> None:
    """Refuse the candidate, or a bundle of its scores, as its own baseline or golden RM.

    Raises:
        UsageError: It is.
    """
    if candidate.identity == model.identity:
        raise one_model(candidate, model, ANOTHER[role])


def open_golden(loaded: LoadedSuite, spec: str, candidate: RewardModel | None) -> RewardModel:
    """The golden RM of a suite.

    Args:
        loaded: The suite.
        spec: The golden RM that it names.
        candidate: The model under test; None where nothing is judged.

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

    Args:
        loaded: The suite.
        candidate: The model under test.
        shown: The suite file as people see it.

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
    return not spec.startswith(("http:", "judge:", "python:"))


@contextmanager
def _suite_errors(loaded: LoadedSuite, *keys: str) -> Iterator[None]:
    """Show an error about a model at the place where the suite names it."""
    try:
        yield
    except RmcheckError as error:
        raise SuiteError([suite_problem(loaded.suite, str(error), *keys)]) from error
