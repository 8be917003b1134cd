"""What strangers wrote, run with limits: templates and regular expressions.

`rmcheck.models.text.confined` starts this file as a process of its own, which imports nothing of
rmcheck.
It is asked in lines of JSON: the program, the limit of time and a number of runs, then the value of
each run. Each run is answered with one line, `{"value": …}` or `{"error": …}`.
"""

import json
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cache
from typing import Any

# Bytes of address space, where the operating system has such a limit.
MEMORY = 2 << 30
# Characters that a template may write: so many, and so many for each byte that it was given.
LEAST_ROOM, ROOM_PER_BYTE = 1 << 18, 20

Run = Callable[[Any], Any]


class _ReadsClockError(Exception):
    """A template asks what day it is."""


def main() -> None:
    """Answer until the other side closes or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory()
    asked, told = sys.stdin.buffer, sys.stdout.buffer
    while header := asked.readline():
        facts = json.loads(header)
        # All are read before any is answered, so that neither side waits for the other to read.
        runs = [asked.readline() for _ in range(facts["runs"])]
        program = json.dumps(facts["program"])
        for run in runs:
            told.write(json.dumps(_answer(program, run, facts["seconds"])).encode() + b"\n")
            told.flush()  # at once: the next run may be the last


def _limit_memory() -> None:
    # Windows has no such module, and macOS refuses the limit.
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _limit_time(seconds: float) -> None:
    """Of the processor; without a handler the signal ends the process."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _answer(program: str, run: bytes, seconds: float) -> dict[str, Any]:
    _limit_time(seconds)
    try:
        value = _made(program)(json.loads(run))
        most = LEAST_ROOM + ROOM_PER_BYTE * len(run)
        if isinstance(value, str) and len(value) > most:
            return {"error": f"it writes {len(value):,} characters; at most {most:,} are taken"}
        return {"value": value}
    except MemoryError:
        return {"error": f"it takes more than {MEMORY >> 30} GiB of memory"}
    # A template is a program of its own: it may raise anything.
    except Exception as error:
        known = type(error).__module__.partition(".")[0] in {"jinja2", __name__}
        return {"error": str(error) if known else f"{type(error).__name__}: {error}"}
    finally:
        _limit_time(0)


@cache
def _made(program: str) -> Run:
    facts = json.loads(program)
    return _PROGRAMS[facts.pop("kind")](**facts)


def _chat(source: str, date: str, variables: Mapping[str, Any]) -> Run:
    """The text of a conversation: its `messages`, and the `tools` on offer."""
    template = _chat_environment(date).from_string(source)

    def written(conversation: dict[str, Any]) -> Any:
        first: TypeError | None = None
        for messages in _forms(conversation["messages"]):
            try:
                return template.render(**conversation | {"messages": messages}, **variables)
            except TypeError as error:
                first = first or error
        raise first or AssertionError

    return written


def _forms(messages: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """A conversation as it is, and as templates want it that would fail on its calls.

    DeepSeek's join arguments to texts, as OpenAI writes them; gpt-oss's look into the text of a
    turn that has none.
    """
    yield messages
    if any(turn.get("tool_calls") or turn.get("content", "") is None for turn in messages):
        for as_text, spoken in ((True, False), (False, True), (True, True)):
            yield [_form(turn, as_text, spoken) for turn in messages]


def _form(turn: dict[str, Any], as_text: bool, spoken: bool) -> dict[str, Any]:
    found = turn | {"content": turn["content"] or ""} if spoken else turn
    if not (as_text and turn.get("tool_calls")):
        return found
    calls = [call | {"function": _with_text(call["function"])} for call in turn["tool_calls"]]
    return found | {"tool_calls": calls}


def _with_text(function: dict[str, Any]) -> dict[str, Any]:
    return function | {"arguments": json.dumps(function["arguments"], ensure_ascii=False)}


def _judge(source: str) -> Run:
    """A judge's question, of its variables."""
    template = _judge_environment().from_string(source)
    return lambda variables: template.render(variables)


def _match(pattern: str, last: bool) -> Run:
    """The first group of the first or last match in a text; null where there is none."""
    expression = re.compile(pattern)

    def found(text: str) -> str | None:
        groups = [match.group(1) for match in expression.finditer(text)]
        return groups[-1 if last else 0] if groups else None

    return found


def _names(source: str, chat: bool) -> Run:
    """What a template reads: its variables, filters and words; or the line that is no template."""
    from jinja2 import TemplateSyntaxError, meta, nodes

    environment = _chat_environment("") if chat else _judge_environment()
    environment.filters["random"] = str  # to be told by its name

    def found(_: None) -> dict[str, Any]:
        try:
            tree = environment.parse(source)
        except TemplateSyntaxError as error:
            return {"line": error.lineno, "message": error.message}
        return {
            "reads": sorted(meta.find_undeclared_variables(tree)),
            "names": sorted({node.name for node in tree.find_all(nodes.Name)}),
            "filters": sorted({node.name for node in tree.find_all(nodes.Filter)}),
            "words": [n.value for n in tree.find_all(nodes.Const) if isinstance(n.value, str)],
        }

    return found


_PROGRAMS: Mapping[str, Callable[..., Run]] = {
    "chat": _chat,
    "judge": _judge,
    "match": _match,
    "names": _names,
}


def _chat_environment(date: str) -> Any:
    """The environment of transformers, but for chance and the clock."""
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        """`{% generation %}` marks what a model writes; its text is written as it is."""

        tags = {"generation"}  # noqa: RUF012 - as its base class has it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("written"), [], [], body).set_lineno(line)

        def written(self, caller: Callable[[], str]) -> str:
            return caller()

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def strftime_now(form: str) -> str:
        if not date:
            raise _ReadsClockError("it reads the clock, and no date= says which day that is")
        return datetime.fromisoformat(date).strftime(form)

    def tojson(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    environment = _sandbox(extensions=[Generation, "jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = tojson
    environment.globals |= {"raise_exception": raise_exception, "strftime_now": strftime_now}
    return environment


def _judge_environment() -> Any:
    from jinja2 import StrictUndefined

    return _sandbox(undefined=StrictUndefined)


def _sandbox(**options: Any) -> Any:
    """A sandbox in which nothing is left to chance."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, **options)
    del environment.filters["random"], environment.globals["lipsum"]
    return environment


if __name__ == "__main__":
    main()
