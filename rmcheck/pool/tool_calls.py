"""Calls of tools in conversations, and the tools on offer, in the form of OpenAI's chats.

    {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function",
        "function": {"name": "look", "arguments": {"what": "slate"}}}]}
    {"role": "tool", "tool_call_id": "c1", "content": "a stone"}

`arguments` may be JSON in a text, as OpenAI has it; they are kept as an object, as chat templates
want them. The tools stand in the field `tools` of the row, or of its first turn.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rmcheck.errors import UsageError
from rmcheck.parsing import ParsingError, parse_json
from rmcheck.pool.pool import Message, Prompt
from rmcheck.pool.row import Row, malformed

CALLS, TOOLS = "tool_calls", "tools"
# What turns of a conversation with tools may have beside them.
_NAMES = ("tool_call_id", "name")
_DEEPEST = 100


def further(turn: Row, content: str, *, first: bool) -> dict[str, Any]:
    """What a chat template may read of a turn beside who says what.

    Args:
        turn: As it stands in the data.
        content: Its field that says what.
        first: Whether it is the first one, which may hold the tools on offer.

    Raises:
        RowFault: A call or a tool is not in the form of OpenAI's chats.
    """
    if "function_call" in turn:
        raise malformed(
            f"field {turn.place + 'function_call'!r} is an older form, which no chat template "
            f"reads; write it as {CALLS!r}: "
            '[{"type": "function", "function": {"name": …, "arguments": {…}}}]'
        )
    found: dict[str, Any] = {}
    if turn.values.get(CALLS):
        # Some templates look for calls only where there is no text.
        found |= {} if content in turn else {"content": None}
        found[CALLS] = [_call(one) for one in turn.rows(CALLS)]
    found |= {n: turn.values[n] for n in _NAMES if isinstance(turn.values.get(n), str)}
    if first and (tools := _tools(turn)):
        found[TOOLS] = tools
    return found


def with_tools(row: Row, prompt: Prompt) -> Prompt:
    """The prompt of a row with the tools that the row offers, if it offers any.

    Raises:
        RowFault: One of them has no name.
    """
    tools = _tools(row)
    if not (tools and prompt.messages):
        return prompt
    first, *others = prompt.messages
    more = {TOOLS: tools} | json.loads(first.more or "{}")
    return replace(
        prompt,
        messages=(replace(first, more=as_more(more)), *others),
        columns={**prompt.columns, TOOLS: tools},
    )


def as_more(found: Mapping[str, Any]) -> str:
    """`Message.more` of what `further` found; empty for nothing."""
    return json.dumps(found, ensure_ascii=False, default=str) if found else ""


def turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The turns as pools have them; the first holds the tools on offer, if there are any."""
    return [message.turn for message in messages]


def apart(conversation: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], Any]:
    """Turns as a chat template reads them, and the tools on offer; None where there are none."""
    found = [dict(turn) for turn in conversation]
    tools = found[0].pop(TOOLS, None) if found else None
    return found, tools


def as_asked(messages: Sequence[Message]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Turns and further fields of a request to an OpenAI-compatible server.

    What it writes is taken as it is, and not as a call.
    """
    found, tools = apart(turns(messages))
    for call in (call for turn in found for call in turn.get(CALLS, ())):
        arguments = call["function"]["arguments"]
        call["function"]["arguments"] = json.dumps(arguments, ensure_ascii=False)
    return found, {TOOLS: tools, "tool_choice": "none"} if tools else {}


def texts_alone(prompt: Prompt) -> list[dict[str, str]]:
    """The turns of a prompt for what takes texts alone.

    Raises:
        UsageError: It calls tools, or offers them.
    """
    if any(message.more for message in prompt.messages):
        raise UsageError(
            f"prompt {prompt.prompt_id!r} calls tools or offers them, and models are trained here "
            "on texts alone; leave it out"
        )
    return turns(prompt.messages)


def without_ids(more: str) -> str:
    """`Message.more` without the names that calls were given when they were made."""
    if not more:
        return ""
    found = json.loads(more)
    found.pop("tool_call_id", None)
    for call in found.get(CALLS, ()):
        call.pop("id", None)
    return as_more(found)


def _call(call: Row) -> dict[str, Any]:
    kind = call.values.get("type", "function")
    if kind != "function":
        raise malformed(f"field {call.place + 'type'!r} is {kind!r}; a call is of a 'function'")
    function = call.row("function") if "function" in call else call
    named = {"id": call.text("id")} if "id" in call else {}
    about = {"name": function.text("name"), "arguments": _arguments(function)}
    return {**named, "type": kind, "function": about}


def _arguments(function: Row) -> dict[str, Any]:
    given = function.values.get("arguments", {})
    if isinstance(given, str):
        given = _parsed(given or "{}")
    if not isinstance(given, Mapping):
        wrong = function.values["arguments"]
        raise function.wrong("arguments", wrong, "an object, or JSON of one")
    return dict(_known(given, function))


def _tools(row: Row) -> list[Any] | None:
    """The tools on offer; None where the field is missing, or something else of that name."""
    given = row.values.get(TOOLS)
    given = _parsed(given) if isinstance(given, str) else given
    if not (isinstance(given, list) and all(isinstance(one, Mapping) for one in given)):
        return None
    for i, tool in enumerate(given):
        function = tool.get("function", tool)
        if not (isinstance(function, Mapping) and isinstance(function.get("name"), str)):
            raise malformed(
                f"field {row.place + TOOLS!r}[{i}] names no function; expected "
                '{"type": "function", "function": {"name": …, "parameters": {…}}}'
            )
    return list(_known(given, row))


def _parsed(text: str) -> Any:
    try:
        return parse_json(text)
    except ParsingError:
        return None


def _known(value: Any, row: Row, depth: int = 0) -> Any:
    """The value; of a Parquet file without nulls, since all its objects have all fields of any.

    Raises:
        RowFault: It is nested deeper than templates and JSON can follow.
    """
    if depth > _DEEPEST:
        raise malformed(f"field {row.place}* is nested deeper than {_DEEPEST} levels")
    if isinstance(value, Mapping):
        full = row.file.lower().endswith(".parquet")
        kept = {name: v for name, v in value.items() if not (full and v is None)}
        return {name: _known(v, row, depth + 1) for name, v in kept.items()}
    return [_known(v, row, depth + 1) for v in value] if isinstance(value, list) else value
