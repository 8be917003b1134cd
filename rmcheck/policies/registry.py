"""Every kind of policy by its scheme; an engine is imported when its first policy is opened."""

from importlib import import_module
from pathlib import Path

from rmcheck.errors import UnknownModelError, near_miss
from rmcheck.models.spec import check_settings, parse_spec
from rmcheck.policies.policy import Policy

_BUILT_IN = {
    "hf": "rmcheck.policies.transformers_policy:TransformersPolicy",
    "vllm": "rmcheck.policies.vllm_policy:VllmPolicy",
    "http": "rmcheck.policies.http_policy:HttpPolicy",
    "fake": "rmcheck.policies.fake:FakePolicy",
}


def open_policy(spec: str, *, base: Path | None = None) -> Policy:
    """The policy that a spec names; nothing heavy is imported and no weights are loaded.

    Args:
        spec: `scheme:location?setting=value`, such as `hf:runs/sft-7b?dtype=bfloat16`.
        base: Folder that relative paths are relative to; None means the current directory.

    Raises:
        UnknownModelError: No such scheme, or nothing of that kind at the location.
        UsageError: A setting is unknown or has a value it cannot have.
        ConformanceError: The checkpoint can be seen to be wrong without loading it.
    """
    parsed = parse_spec(spec, (base or Path.cwd()).absolute())
    if parsed.scheme not in _BUILT_IN:
        raise UnknownModelError(
            f"{spec!r}: no policy has the scheme {parsed.scheme!r}."
            f"{near_miss(parsed.scheme, _BUILT_IN)} Schemes: {', '.join(_BUILT_IN)}."
        )
    module, _, name = _BUILT_IN[parsed.scheme].partition(":")
    policy_class: type[Policy] = getattr(import_module(module), name)
    check_settings(parsed, policy_class.settings)
    return policy_class.from_spec(parsed)
