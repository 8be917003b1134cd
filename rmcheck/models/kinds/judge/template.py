"""What a judge is asked: a Jinja template that makes one user turn of a prompt and a response."""

from collections.abc import Sequence

from rmcheck.errors import ScoringError
from rmcheck.models.model import Sample
from rmcheck.models.text.confined import ConfinedError, confined

VARIABLES = ("messages", "prompt", "response")


class JudgeTemplate:
    """A template over `messages` (all turns), `prompt` (the last user turn) and `response`.

    Any other name is a column of the pool. What stands in a prompt, a response or a column is text
    and never a part of the template.

    Args:
        source: Jinja source. A line that holds a block tag only leaves no empty line.

    Attributes:
        columns: The columns that it reads.

    Raises:
        ValueError: It is no template, does not read the response, or draws at random.
        MissingDependencyError: jinja2 is not installed, or too old.
    """

    def __init__(self, source: str) -> None:
        try:
            (found,) = confined("names", [None], source=source, chat=False)
        except ConfinedError as error:
            raise ValueError(f"it cannot be read: {error}") from error
        if "message" in found:
            raise ValueError(f"line {found['line']} is no Jinja: {found['message']}")
        read = set(found["reads"])
        problems = []
        if "response" not in read:
            problems.append("it does not show the response; write {{ response }}")
        if "random" in found["filters"]:
            problems.append("it draws at random, so that a text has no one reward")
        if problems:
            raise ValueError(" ".join(problems))
        self.source = source
        self._reads_prompt = "prompt" in read
        self.columns = tuple(sorted(read - set(VARIABLES)))

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
                f"{_named(samples[error.place])}: the judge's template fails: {error}"
            ) from error

    def _known(self, sample: Sample) -> dict[str, object]:
        turns = [{"role": m.role, "content": m.content} for m in sample.messages]
        asked = [turn["content"] for turn in turns if turn["role"] == "user"]
        if self._reads_prompt and not asked:
            raise ScoringError(
                f"{_named(sample)}: the judge's template reads the last user turn; it has none"
            )
        prompt = {"prompt": asked[-1]} if asked else {}
        missing = [name for name in self.columns if sample.columns.get(name) is None]
        if missing:
            raise ScoringError(
                f"{_named(sample)}: the judge's template reads {missing[0]!r}; there is no such "
                "column here"
            )
        columns = {name: sample.columns[name] for name in self.columns}
        return {**columns, "messages": turns, "response": sample.response, **prompt}


def _named(sample: Sample) -> str:
    return f"prompt {sample.prompt_id!r}, response {sample.index}"
