"""Checks of metric settings; every message names the setting, the value and what is valid."""

import math
from collections.abc import Sequence

from rmcheck.errors import UsageError, near_miss


def require_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a value that is not one of `choices`.

    Raises:
        UsageError: With the near miss and the valid words.
    """
    if value in choices:
        return
    hint = near_miss(str(value), choices)
    raise UsageError(f"{name} is {value!r}.{hint} Valid: {', '.join(choices)}.")


def require_whole_number(name: str, value: object, at_least: int) -> None:
    """Refuse anything but an int of at least `at_least` (a bool is not an int here).

    Raises:
        UsageError: With the value and the bound.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise UsageError(f"{name} is {value!r}; valid: a whole number, {at_least} or more.")


def require_flag(name: str, value: object) -> None:
    """Refuse anything but true or false.

    Raises:
        UsageError: With the value.
    """
    if not isinstance(value, bool):
        raise UsageError(f"{name} is {value!r}; valid: true, false.")


def require_number(name: str, value: object, at_least: float) -> None:
    """Refuse anything but a finite number of at least `at_least`.

    Raises:
        UsageError: With the value and the bound.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < at_least:  # type: ignore[arg-type,operator]
        raise UsageError(f"{name} is {value!r}; valid: a finite number, {at_least:g} or more.")
