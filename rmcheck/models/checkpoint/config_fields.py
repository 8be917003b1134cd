"""The fields of a checkpoint's JSON files that are read here, and what each may be."""

from collections.abc import Callable, Mapping
from typing import Any

from rmcheck.parsing import ParsingError, user_path

_Test = Callable[[Any], bool]


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _are_ids(value: Any) -> bool:
    return type(value) is int or (isinstance(value, list) and all(type(i) is int for i in value))


def _are_labels(value: Any) -> bool:
    return isinstance(value, dict) and all(
        key.isascii() and key.isdigit() and len(key) < 10 for key in value
    )


_OBJECT = (_is_object, "an object")
_WHOLE = (_is_whole, "a whole number")
_IDS = (_are_ids, "a whole number or a list of them")
CONFIG: Mapping[str, tuple[_Test, str]] = {
    "architectures": (_are_names, "a list of names"),
    "auto_map": _OBJECT,
    "base_model_name_or_path": (_is_text, "the name of a folder"),  # of an adapter
    "eos_token_id": _IDS,
    "id2label": (_are_labels, "an object from whole numbers to names"),
    "model_type": (_is_text, "a text"),
    "modules_to_save": (_are_names, "a list of names"),
    "num_labels": _WHOLE,
    "original_max_position_embeddings": _WHOLE,
    "pad_token_id": (lambda value: type(value) is int, "a whole number"),
    "problem_type": (_is_text, "a text"),
    "quantization_config": _OBJECT,
    "revision": (_is_text, "a text"),
    "rope_parameters": _OBJECT,
    "rope_scaling": _OBJECT,
    "text_config": _OBJECT,
    "type_vocab_size": _WHOLE,
}


def wrong_fields(values: Mapping[str, Any], place: str = "") -> list[str]:
    """What is wrong with the fields of a config, a clause each; null counts as not there."""
    problems = [
        f"{place}{name} is {value!r:.60}; it is {words}"
        for name, (test, words) in CONFIG.items()
        if (value := values.get(name)) is not None and not test(value)
    ]
    for name in ("text_config", "rope_parameters", "rope_scaling"):
        if isinstance(values.get(name), dict):
            problems += wrong_fields(values[name], f"{place}{name}.")
    return problems


def weight_names(index: Mapping[str, Any]) -> list[str]:
    """The files that a safetensors index names, sorted.

    Raises:
        ParsingError: It names what can be no file.
    """
    named = index.get("weight_map", {})
    if not isinstance(named, dict) or not all(isinstance(name, str) for name in named.values()):
        raise ParsingError("weight_map is an object from tensors to files")
    names = sorted(set(named.values()))
    for name in names:
        user_path(name)
    return names
