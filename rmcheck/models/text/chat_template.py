"""The chat template of a checkpoint, and the day that it believes to be today.

Some templates write the date into the conversation (`strftime_now`: Llama 3.2, SmolLM 3), so that
every day would have rewards of its own. Such a template reads the day that the spec names.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from rmcheck.errors import ConformanceError, UsageError
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.spec import ModelSpec
from rmcheck.models.text.confined import confined

_CLOCK = "strftime_now"
# Whatever spells these draws texts at random.
_CHANCE = ("random", "lipsum")
_FILE = "chat_template.jinja"


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """What writes a conversation as a text.

    Attributes:
        source: Jinja source; None means the tokenizer's own; the word `pair` means no template but
            the tokenizer's text pair.
        date: The day that it reads, `YYYY-MM-DD`; empty where it reads no clock.
    """

    source: str | None
    date: str = ""

    @property
    def facts(self) -> dict[str, object]:
        """What changes rewards, for a fingerprint."""
        dated = {"date": self.date} if self.date else {}
        return {"template": self.source, **dated}

    def described(self, named: str) -> str:
        """Where it comes from and which day it reads, for a person.

        Args:
            named: Value of the setting `template`; empty when not given.
        """
        dated = f", which reads the day {self.date}" if self.date else ""
        return (named or "the tokenizer's own") + dated


def dated_template(
    spec: ModelSpec, checkpoint: Checkpoint, source: str | None, day: str
) -> ChatTemplate:
    """The template with the day that it reads.

    Args:
        spec: For messages.
        checkpoint: Whose own template it is where `source` is None.
        source: As in `ChatTemplate`.
        day: Value of the setting `date`; empty when not given.

    Raises:
        UsageError: `day` is none, or the template reads no clock.
        ConformanceError: It reads the clock and no day is given, or it draws at random.
    """
    if day and not _is_day(day):
        raise UsageError(f"{spec.text}: date is {day!r}; it is a day such as 2024-07-26")
    text = own_source(checkpoint) if source is None else source
    found = _looked_at(text)
    where = f"{spec.text}: the chat template"
    for word in _CHANCE:
        if word in found["names"] or word in found["filters"]:
            raise ConformanceError(
                f"{where} draws at random ({word}), so that a text has no one reward; name one "
                "that does not: template=FILE.jinja"
            )
    reads_clock = _CLOCK in found["names"]
    if day and not reads_clock:
        raise UsageError(f"{where} reads no clock, so date={day} changes nothing; remove it")
    if reads_clock and not day:
        own = _own_day(found["words"])
        whose = ", its own where there is no clock" if own else ", such as one of its training"
        example = spec.with_setting("date", own or date.today().isoformat())
        raise ConformanceError(
            f"{where} reads the clock ({_CLOCK}): the same text would have another reward every "
            f"day. Say which day it reads{whose}: {example!r}"
        )
    return ChatTemplate(source, day)


def own_source(checkpoint: Checkpoint) -> str:
    """The template that transformers takes from a folder; empty where there is none."""
    file = checkpoint.text_path / _FILE
    if file.is_file():
        return file.read_text(encoding="utf-8", errors="replace")
    named = checkpoint.tokenizer_config.get("chat_template")
    if isinstance(named, list):
        several = [one for one in named if isinstance(one, dict)]
        named = next((o.get("template") for o in several if o.get("name") == "default"), "")
    return named if isinstance(named, str) else ""


def _looked_at(source: str) -> Mapping[str, Any]:
    """Names, filters and words of a template; of nearly all it is enough to look for letters."""
    nothing: Mapping[str, Any] = {"names": [], "filters": [], "words": []}
    if not any(word in source for word in (_CLOCK, *_CHANCE)):
        return nothing
    (found,) = confined("names", [None], source=source, chat=True)
    # What is no Jinja is refused with the first conversation.
    return nothing if "message" in found else dict(found)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _own_day(words: Iterable[str]) -> str:
    """A date among the words of a template, in one of its own forms, as `YYYY-MM-DD`."""
    words = list(words)
    for form in (word for word in words if "%" in word):
        for word in words:
            with suppress(ValueError):
                return datetime.strptime(word, form).date().isoformat()
    return ""
