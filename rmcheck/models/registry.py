"""Every kind of reward model by its scheme.

The table holds names, not classes: an engine is imported when its first model is opened.
Other packages add a scheme through the entry point group `rmcheck.models`: the entry's name is
the scheme and its object a `RewardModel` class with `settings` and `from_spec`.
"""

from dataclasses import replace
from importlib import import_module
from importlib.metadata import entry_points
from inspect import isabstract
from pathlib import Path

from rmcheck.errors import UnknownModelError, UsageError, near_miss
from rmcheck.models.engines.http.unasked import UnaskedError, UnaskedModel
from rmcheck.models.model import RewardModel
from rmcheck.models.spec import check_settings, parse_spec
from rmcheck.models.trust import require_trust

ENTRY_POINT_GROUP = "rmcheck.models"
_BUILT_IN = {
    "hf": "rmcheck.models.kinds.classifier.hf:TransformersRewardModel",
    "http": "rmcheck.models.kinds.classifier.http:HttpRewardModel",
    "scores": "rmcheck.models.kinds.scores_file:ScoresFile",
    "python": "rmcheck.models.kinds.functions.python:PythonRewardModel",
    "trl": "rmcheck.models.kinds.functions.trl:TrlRewardModel",
    "verl": "rmcheck.models.kinds.functions.verl:VerlRewardModel",
    "openrlhf": "rmcheck.models.kinds.functions.openrlhf:OpenRlhfRewardModel",
    "slime": "rmcheck.models.kinds.functions.slime:SlimeRewardModel",
    "verifiers": "rmcheck.models.kinds.functions.verifiers:VerifiersRubric",
    "fake": "rmcheck.models.kinds.fake:FakeRewardModel",
    "vllm": "rmcheck.models.kinds.classifier.vllm:VllmRewardModel",
    "implicit": "rmcheck.models.kinds.implicit.model:ImplicitRewardModel",
    "process": "rmcheck.models.kinds.process.model:ProcessRewardModel",
    "judge": "rmcheck.models.kinds.judge.opening:OpenedJudge",
    "ensemble": "rmcheck.models.kinds.ensemble:EnsembleRewardModel",
}


def model_schemes() -> tuple[str, ...]:
    """All schemes, the built-in ones first."""
    third_party = (entry.name for entry in entry_points(group=ENTRY_POINT_GROUP))
    return tuple(dict.fromkeys([*_BUILT_IN, *third_party]))


def open_model(spec: str, *, base: Path | None = None, given: bool = True) -> RewardModel:
    """The reward model that a spec names; nothing heavy is imported and no weights are loaded.

    Args:
        spec: `scheme:location?setting=value&setting=value`, such as
            `hf:runs/rm-7b/step-4200?dtype=bfloat16`.
        base: Folder that relative paths are relative to; None means the current directory.
        given: Whether the user named it; False where a file does, such as a suite.

    Raises:
        UnknownModelError: No such scheme, or nothing of that kind at the location.
        UsageError: A setting is unknown or has a value it cannot have, or a file names code.
        ConformanceError: The checkpoint can be seen to be wrong without loading it.
    """
    parsed = parse_spec(spec, (base or Path.cwd()).absolute(), given=given)
    cls = model_class(parsed.scheme, spec)
    check_settings(parsed, cls.settings)
    require_trust(parsed)
    try:
        model: RewardModel = cls.from_spec(replace(parsed, open=open_model))
    except UnaskedError:
        model = UnaskedModel(spec)
    model.given = given
    return model


def model_class(scheme: str, spec: str) -> type[RewardModel]:
    """The class behind a scheme; its engine is not imported yet.

    Args:
        scheme: What stands before the colon.
        spec: The model as the user named it, for messages.

    Raises:
        UnknownModelError: No such scheme.
        UsageError: Another package's entry point names no model.
    """
    if scheme in _BUILT_IN:
        module, _, name = _BUILT_IN[scheme].partition(":")
        found = getattr(import_module(module), name)
    else:
        entries = entry_points(group=ENTRY_POINT_GROUP, name=scheme)
        if not entries:
            known = model_schemes()
            raise UnknownModelError(
                f"{spec!r}: no model has the scheme {scheme!r}.{near_miss(scheme, known)} "
                f"Schemes: {', '.join(known)}."
            )
        entry = next(iter(entries))
        found = entry.load()
        if not (isinstance(found, type) and issubclass(found, RewardModel)):
            raise UsageError(f"entry point {entry.value!r} of {scheme!r} is no RewardModel class")
        if isabstract(found):
            lacking = ", ".join(sorted(found.__abstractmethods__))
            raise UsageError(
                f"entry point {entry.value!r} of {scheme!r} lacks {lacking}; a kind that has "
                "nothing to load derives from rmcheck.ReadyModel and writes score"
            )
    loaded: type[RewardModel] = found
    return loaded
