"""What a judge is asked: a Jinja template that makes one user turn of a prompt and a response."""

from collections.abc import Sequence

from rmcheck.errors import ScoringError
from rmcheck.models.kinds.judge.lists import ListSample
from rmcheck.models.sample import Sample
from rmcheck.models.text.confined import ConfinedError, confined
from rmcheck.pool.tool_calls import apart, turns

# What a template must show of what it is about, and how.
SHOWN = {
    "response": "write {{ response }}",
    "responses": "write {{ responses[0] }} and {{ responses[1] }}, or a loop over them",
}


class JudgeTemplate:
    """A template over `messages` (all turns), `prompt` (the last user turn) and `response`.

    Where responses are compared it is over `responses`, a list of texts in the order shown. Any
    other name is a column of the pool. What stands in a prompt, a response or a column is text and
    never a part of the template.

    Args:
        source: Jinja source. A line that holds a block tag only leaves no empty line.
        shows: `response` or `responses`: what it must show.

    Attributes:
        variables: What it can read beside columns.
        columns: The columns that it reads.

    Raises:
        ValueError: It is no template, does not read the response, or draws at random.
        MissingDependencyError: jinja2 is not installed, or too old.
    """

    def __init__(self, source: str, shows: str = "response") -> None:
        try:
            (found,) = confined("names", [None], source=source, chat=False)
        except ConfinedError as error:
            raise ValueError(f"it cannot be read: {error}") from error
        if "message" in found:
            raise ValueError(f"line {found['line']} is no Jinja: {found['message']}")
        read = set(found["reads"])
        self.variables = ("messages", "prompt", shows)
        problems = []
        if shows not in read:
            reads = f" (it reads {', '.join(sorted(read))})" if read else ""
            problems.append(f"it does not show the {shows}; {SHOWN[shows]}{reads}")
        if "random" in found["filters"]:
            problems.append("it draws at random, so that a text has no one reward")
        if problems:
            raise ValueError(" ".join(problems))
        self.source, self._shows = source, shows
        self._reads_prompt = "prompt" in read
        self.columns = tuple(sorted(read - set(self.variables)))

    def texts(self, samples: Sequence[Sample]) -> list[str]:
        """The user turn of each sample.

        Raises:
            ScoringError: The template fails on a sample, or reads a user turn that it has not.
        """
        known = [self._known(sample) for sample in samples]
        try:
            return confined("judge", known, source=self.source)
        except ConfinedError as error:
            raise ScoringError(
                f"{samples[error.place].place}: the judge's template fails: {error}"
            ) from error

    def _known(self, sample: Sample) -> dict[str, object]:
        messages, _ = apart(turns(sample.messages))
        asked = [turn["content"] for turn in messages if turn["role"] == "user"]
        if self._reads_prompt and not asked:
            raise ScoringError(
                f"{sample.place}: the judge's template reads the last user turn; it has none"
            )
        prompt = {"prompt": asked[-1]} if asked else {}
        missing = [name for name in self.columns if sample.columns.get(name) is None]
        if missing:
            differs = ", or its responses differ in it" if isinstance(sample, ListSample) else ""
            raise ScoringError(
                f"{sample.place}: the judge's template reads {missing[0]!r}; there is no such "
                f"column here{differs}"
            )
        columns = {name: sample.columns[name] for name in self.columns}
        shown = list(sample.responses) if isinstance(sample, ListSample) else sample.response
        return {**columns, "messages": messages, self._shows: shown, **prompt}
