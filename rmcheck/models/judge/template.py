"""What a judge is asked: a Jinja template that makes one user turn of a prompt and a response."""

from typing import Any

from rmcheck.errors import MissingDependencyError, ScoringError, near_miss
from rmcheck.models.model import Sample

VARIABLES = ("messages", "prompt", "response")


class JudgeTemplate:
    """A template over `messages` (all turns), `prompt` (the last user turn) and `response`.

    What stands in a prompt or response is text and never a part of the template.

    Args:
        source: Jinja source. A line that holds a block tag only leaves no empty line.

    Raises:
        ValueError: It is no template, reads something else, or does not read the response.
        MissingDependencyError: jinja2 is not installed.
    """

    def __init__(self, source: str) -> None:
        jinja2, sandbox, meta = _jinja()
        environment = sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
        )
        try:
            read = meta.find_undeclared_variables(environment.parse(source))
        except jinja2.TemplateSyntaxError as error:
            raise ValueError(f"line {error.lineno} is no Jinja: {error.message}") from error
        problems = [
            f"it reads {name!r}, which is not there.{near_miss(name, VARIABLES)} "
            f"Variables: {', '.join(VARIABLES)}."
            for name in sorted(read - set(VARIABLES))
        ]
        if "response" not in read:
            problems.append("it does not show the response; write {{ response }}")
        if problems:
            raise ValueError(" ".join(problems))
        self.source = source
        self._reads_prompt = "prompt" in read
        self._template: Any = environment.from_string(source)
        self._errors: tuple[type[Exception], ...] = (jinja2.TemplateError, TypeError, ValueError)

    def text(self, sample: Sample) -> str:
        """The user turn.

        Raises:
            ScoringError: The template fails on this sample, or reads a user turn that it has not.
        """
        turns = [{"role": m.role, "content": m.content} for m in sample.messages]
        asked = [turn["content"] for turn in turns if turn["role"] == "user"]
        where = f"prompt {sample.prompt_id!r}, response {sample.index}"
        if self._reads_prompt and not asked:
            raise ScoringError(
                f"{where}: the judge's template reads the last user turn; it has none"
            )
        known = {"messages": turns, "response": sample.response}
        if asked:
            known["prompt"] = asked[-1]
        try:
            return str(self._template.render(known))
        except self._errors as error:
            raise ScoringError(f"{where}: the judge's template fails: {error}") from error


def _jinja() -> tuple[Any, Any, Any]:
    try:
        import jinja2
        from jinja2 import meta, sandbox
    except ImportError as error:
        raise MissingDependencyError(
            "judges need jinja2 for their templates. Install it with: pip install jinja2"
        ) from error
    return jinja2, sandbox, meta
