"""Columns of the pool as parameters of a function."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from rmcheck.models.sample import Sample
from rmcheck.pool.asked import AskedColumns
from rmcheck.pool.tool_calls import apart, turns


def asked_by(
    parameters: Sequence[inspect.Parameter], *, skip: int = 0, known: Collection[str] = ()
) -> AskedColumns:
    """The columns that parameters name.

    Args:
        parameters: Of a function.
        skip: How many of them, from the first on, are filled by position.
        known: Names of those that are filled with something else.
    """
    filled = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)
    named = [p for p in parameters[skip:] if p.kind not in filled and p.name not in known]
    rest = [p for p in named if p.kind is inspect.Parameter.VAR_KEYWORD]
    named = [p for p in named if p not in rest]
    return AskedColumns(
        tuple(p.name for p in named if p.default is inspect.Parameter.empty),
        tuple(p.name for p in named if p.default is not inspect.Parameter.empty),
        bool(rest),
    )


def by_column(samples: Sequence[Sample]) -> dict[str, list[Any]]:
    """Column to its values, of samples that have the same columns."""
    return {name: [s.columns[name] for s in samples] for name in samples[0].columns}


def conversation(sample: Sample) -> list[dict[str, Any]]:
    """The prompt as messages; tools on offer are the column `tools`."""
    messages, _ = apart(turns(sample.messages))
    return messages


def accepted(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What a function takes by name of what its trainer gives."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return dict(given)
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return dict(given)
    names = {p.name for p in parameters}
    return {name: value for name, value in given.items() if name in names}
