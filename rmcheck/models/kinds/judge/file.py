"""The YAML file that describes a judge: `judge:FILE.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmcheck.config.document import MapNode
from rmcheck.config.kinds import (
    AsWritten,
    Kind,
    OneLine,
)
from rmcheck.config.section import (
    misspelt,
    read_section,
)
from rmcheck.config.source import Source
from rmcheck.models.kinds.judge.read import Read
from rmcheck.models.kinds.judge.read_rule import compares, read_rule
from rmcheck.models.kinds.judge.template import JudgeTemplate
from rmcheck.models.kinds.model_file import read_model_file
from rmcheck.parsing import user_path
from rmcheck.pool.limits import special_file

BEGIN = "A judge has `engine:`, `template:` or `prompt:`, and `read:`."
TEMPLATE = "Write template: FILE.jinja, or prompt: with the template itself."
# What a file may hold that a stranger's judge names is not for messages.
OUTSIDE = (
    "is no template that a judge can use; nothing of it is shown, since it stands outside of the "
    "judge file's folder"
)


@dataclass(frozen=True)
class JudgeFile:
    """A judge as its file describes it.

    Attributes:
        path: The file; relative paths in it are relative to its folder.
        engine: `scheme:location?setting=value`: what answers.
        question: Makes the user turn.
        system: The system turn; empty for none.
        read: How the answer becomes a reward.
    """

    path: Path
    engine: str
    question: JudgeTemplate
    system: str
    read: Read


JUDGE: Mapping[str, Kind | None] = {
    "engine": OneLine(example="hf:DIR, vllm:DIR or http:URL"),
    "template": OneLine(example="ask.jinja"),
    "prompt": AsWritten(),
    "system": AsWritten(),
    "read": None,
    "unparsed": None,
}


def read_judge_file(path: Path) -> JudgeFile:
    """The judge that a file describes.

    Raises:
        UnknownModelError: There is no such file.
        UsageError: The file is wrong; all problems are shown where they stand.
        MissingDependencyError: jinja2 is not installed.
    """
    source, top = read_model_file(path, "judge", BEGIN, tuple(JUDGE))
    found = read_section(top, JUDGE, ("engine", "read"), "the judge", source, "A judge")
    read = read_rule(top, source)
    shows = "responses" if compares(top) else "response"
    question = _question(top, found, path, source, shows)
    if question is None or read is None or source.problems:
        raise source.error()
    return JudgeFile(path, found["engine"], question, found.get("system", ""), read)


def _question(
    top: MapNode, found: Mapping[str, Any], path: Path, source: Source, shows: str
) -> JudgeTemplate | None:
    """The template: of a file, or inline."""
    given = [name for name in ("template", "prompt") if name in top.entries]
    if len(given) != 1:
        if not misspelt(top, ("template", "prompt"), JUDGE):
            span = top.entries[given[1]][0] if given else top.span
            source.add(
                span, f"a judge has one template, not {'two' if given else 'none'}", TEMPLATE
            )
        return None
    key = given[0]
    if key not in found:
        return None
    _, node = top.entries[key]
    try:
        if key == "prompt":
            return JudgeTemplate(found[key], shows)
        return _template(found[key], path, shows)
    except ValueError as error:
        source.add(node.span, f"{key}: {error}")
        return None


def _template(written: str, path: Path, shows: str) -> JudgeTemplate:
    """The template in a file.

    Raises:
        ValueError: There is none, or it cannot be used.
    """
    file = user_path(written, path.parent)
    if wrong := special_file(file):
        raise ValueError(f"{file} {wrong}")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ValueError(f"{file} cannot be read ({reason})") from error
    inside = file.resolve().is_relative_to(path.parent.resolve())
    try:
        template = JudgeTemplate(text, shows)
    except ValueError as error:
        raise ValueError(f"{file}: {error if inside else OUTSIDE}") from error
    if template.columns and not inside:  # a message would name those that the pool has not
        raise ValueError(f"{file}: {OUTSIDE}, and only one inside of it may read columns")
    return template
