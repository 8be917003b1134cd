"""Write the pages that come from the code: metrics, suite keys, commands, errors.

`python docs/reference.py` writes them anew after one of these changed; a test compares.
"""

import argparse
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from rmcheck import cli, errors
from rmcheck.metrics.registry import HOMES, metric_class
from rmcheck.probes.edits import questions_of
from rmcheck.probes.probe import Probe
from rmcheck.probes.probe_file import shipped_probes
from rmcheck.probes.templates import filled
from rmcheck.suite.meaning import Meaning, meaning
from rmcheck.suite.schema import suite_schema

FOLDER = Path(__file__).parent
# What probes are shown on.
PROMPT = "Why do leaves turn red in autumn?"
RESPONSE = "Trees take the green out of their leaves. What is left is yellow and red."
WRITTEN = "<!-- Written by docs/reference.py; change the docstrings. -->"


def prose(text: str) -> str:
    """A docstring as Markdown: what looks like markup outside of code is text."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"([_*<|\[\]])", r"\\\1", p) for p in parts)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def metrics() -> str:
    """A table of all metrics, and a section for each."""
    found = [meaning(metric_class(name)) for name in sorted(HOMES)]
    rows = [(f"[`{m.name}`](#{m.name})", m.better, prose(m.summary)) for m in found]
    sections = "\n".join(_metric(m) for m in found)
    return f"""# Metrics

{WRITTEN}

All are computed inside a prompt and combined over prompts; rewards of different prompts are never
compared. Best-of-n is exact, without replacement, for every n up to the number of responses, with
ties shared.

{table(("metric", "better", ""), rows)}
{sections}"""


def _metric(m: Meaning) -> str:
    lines = [f"## `{m.name}`", "", prose(m.summary), "", prose(m.body), ""]
    if m.caution:
        lines += [f"**When not to believe it.** {prose(m.caution)}", ""]
    if m.settings:
        rows = [(f"`{s.name}`", s.default or "required", prose(s.text)) for s in m.settings]
        lines += [table(("setting", "default", ""), rows)]
    return "\n".join([*lines, f"Source: {prose(m.reference)}", ""])


def suite_keys() -> str:
    """Every key of a suite file, from its JSON Schema."""
    sections = "\n".join(_section(name, part) for name, part in _objects("A suite", suite_schema()))
    return f"""# Keys of a suite

{WRITTEN}

[Write a suite](suite.md) shows them at work. `rmcheck validate --schema` prints the same as JSON
Schema for editors. The settings of a metric, which stand in its check, are on the page of
[metrics](metrics.md).

{sections}"""


def _objects(name: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each object of a schema with keys of its own, under the name of its key."""
    if schema.get("properties"):
        yield name, schema
    for key, below in schema.get("properties", {}).items():
        if not isinstance(below, dict):
            continue
        if key == "checks":
            kinds = below["items"]
            yield from _objects("A check of a log: `checks`", kinds["then"])
            yield from _objects("A check of a probe: `checks`", kinds["else"]["then"])
            yield from _objects("A check of a metric: `checks`", kinds["else"]["else"])
        else:
            yield from _objects(f"`{key}`", below)


def _section(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", [])
    rows = []
    for key, kind in schema["properties"].items():
        needed = "required" if key in required else ""
        rows.append((f"`{key}`", _kind(kind), needed, prose(kind.get("description", ""))))
    return f"## {name}\n\n{table(('key', 'value', '', ''), rows)}"


def _kind(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema and len(schema["enum"]) <= 6:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    kind = schema.get("type", "")
    if "enum" in schema or ("oneOf" in schema and not kind):
        return "a name"
    return {"array": "list", "object": "keys"}.get(kind, kind)


def commands() -> str:
    """Every command, with its arguments and options."""
    sections = "\n".join(_commands())
    return f"""# Commands

{WRITTEN}

The gate is `pytest --rmcheck`; its options are [a page of their own](options.md). Exit codes are in
[In CI](ci.md#exit-codes).

{sections}"""


def _commands() -> Iterator[str]:
    modules = {name: f"rmcheck.cli.{name}" for name in cli.COMMANDS}
    ours = (e for e in entry_points(group=cli.ENTRY_POINT_GROUP) if e.value.startswith("rmcheck."))
    modules |= {entry.name: entry.value for entry in sorted(ours)}
    for name, module in modules.items():
        command = argparse.ArgumentParser(prog=f"rmcheck {name}")
        importlib.import_module(module).add_arguments(command)
        yield from _command(command, cli.COMMANDS.get(name, ""), modules)


def _command(
    command: argparse.ArgumentParser, text: str, alone: Mapping[str, str]
) -> Iterator[str]:
    """A section, and one for each command below it that is not a command of its own too."""
    said = prose(command.description or text)
    rows, below = [], []
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            below = list(action.choices.values())
        elif not isinstance(action, argparse._HelpAction):
            rows.append((f"`{_argument(action)}`", prose(_help(action))))
    listed = table(("argument", ""), rows) if rows else ""
    both = [f"`{one.prog}`" for one in below if one.prog.split()[-1] in alone]
    told = f"{', '.join(both)} are the commands without `lab`.\n\n" if both else ""
    yield f"## `{command.prog}`\n\n{said}\n\n{told}{listed}"
    for one in below:
        if one.prog.split()[-1] not in alone:
            yield from _command(one, "", {})


def _argument(action: argparse.Action) -> str:
    words = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    metavar = words if isinstance(words, str) else " ".join(words)
    return " ".join([*action.option_strings[-1:], *([metavar] if metavar else [])])


def _help(action: argparse.Action) -> str:
    return (action.help or "") % {**vars(action), "prog": "rmcheck"}


def errors_page() -> str:
    """Every error that a user can meet."""
    tree = (errors.__doc__ or "").split("\n\n", 2)[2].rstrip()
    classes = [
        cls
        for _, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, errors.RmcheckError) and cls.__module__ == errors.__name__
    ]
    sections = "\n".join(
        f"## `{cls.__name__}`\n\n{prose(inspect.getdoc(cls).split(chr(10) * 2)[0])}\n"
        for cls in sorted(classes, key=lambda cls: inspect.getsourcelines(cls)[1])
    )
    return f"""# Errors

{WRITTEN}

An error of rmcheck says where, which value, and what instead, without a traceback. In Python each
is a class of `rmcheck.errors`, all under `RmcheckError`:

```text
{tree}
```

{sections}"""


def probes() -> str:
    """A table of all probes that are shipped, and a section for each."""
    found = [*shipped_probes().values()]
    rows = [(f"[`{p.name}`](#{p.name})", _direction(p), prose(p.about)) for p in found]
    sections = "\n".join(_probe(probe) for probe in found)
    return f"""# All probes

{WRITTEN.replace("the docstrings", "rmcheck/probes/shipped")}

[Probes](probes.md) says how they are measured, and how to add your own. All texts are written by
this project.

{table(("probe", "the edit must not", ""), rows)}
{sections}"""


def _direction(probe: Probe) -> str:
    if probe.asks:
        return "beat the honest answer"
    return {"not_raise": "raise the reward", "not_lower": "lower it"}[probe.must]


def _probe(probe: Probe) -> str:
    lines = [f"## `{probe.name}`", "", prose(probe.about), ""]
    if probe.doubt:
        lines += [f"**When not to believe it.** {prose(probe.doubt)}", ""]
    if probe.asks:
        honest, bad = next(questions_of(probe))
        asked = honest.messages[-1].content
        shown = f"asked:  {asked}\nhonest: {honest.response}\nbad:    {bad.response}"
        lines += [f"{len(probe.items)} questions; one of them:"]
    else:
        values = {"response": RESPONSE, "prompt": PROMPT}
        texts = [filled(template, values) for template in probe.edits]
        shown = next(text for text in texts if text)
        lines += [f"{len(texts)} texts; one of them:" if len(texts) > 1 else "For example:"]
    return "\n".join([*lines, "", "```text", shown, "```", ""])


PAGES = {
    "all-probes.md": probes,
    "metrics.md": metrics,
    "suite-keys.md": suite_keys,
    "commands.md": commands,
    "errors.md": errors_page,
}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
