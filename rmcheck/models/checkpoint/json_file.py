"""JSON files that others wrote beside weights."""

from pathlib import Path
from typing import Any

from rmcheck.errors import ModelError
from rmcheck.parsing import ParsingError, parse_json


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ModelError: It cannot be read, or holds something else.
    """
    try:
        value = parse_json(file.read_bytes())
    except (ParsingError, OSError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{file} holds no JSON object")
    return value
