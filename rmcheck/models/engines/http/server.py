"""What the families of servers have in common: who they are, what they are asked and answer."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from rmcheck.models.engines.http.client import WrongAnswerError

# JSON of a page of the server, or None where it has none.
Look = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """What a server tells of itself; a field is empty where it does not.

    Attributes:
        model: Name that requests must give.
        root: Where the server took the weights from.
        version: Of the server, and of the weights where it counts them.
        max_length: Most tokens it takes.
        max_batch: Most texts it takes in one request.
    """

    model: str = ""
    root: str = ""
    version: str = ""
    max_length: int | None = None
    max_batch: int | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """One text as servers may want it.

    Attributes:
        ids: Its token ids.
        text: The same as text, for servers that tokenise themselves; else empty.
        pair: Prompt and response, for models that were trained on a text pair.
    """

    ids: tuple[int, ...]
    text: str = ""
    pair: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a server answered.

    Attributes:
        logits: For each text its logits by name: a label, or the position in words.
        tokens: Tokens that the server read in all, where it says so.
    """

    logits: tuple[Mapping[str, float], ...]
    tokens: int | None = None


class Server(ABC):
    """One family of servers.

    Args:
        identity: What the server told of itself.
        pair: Whether texts are pairs of prompt and response.
        endpoint: Which of its endpoints is used, where there are several.

    Raises:
        UsageError: The family has no way to score that.
    """

    name: ClassVar[str]
    endpoints: ClassVar[tuple[str, ...]] = ()
    # Whether it cuts what is too long without a word, so that the limit must be known.
    cuts_silently: ClassVar[bool] = False
    # Whether one that takes text adds the special tokens of its tokenizer.
    adds_special: ClassVar[bool] = True
    # Whether a request can ask for raw logits or for probabilities.
    switches_activation: ClassVar[bool] = False

    def __init__(self, identity: Identity, *, pair: bool = False, endpoint: str = "") -> None:
        self.identity = identity
        self.pair = pair
        self.endpoint = endpoint

    @classmethod
    @abstractmethod
    def identify(cls, look: Look, model: str) -> Identity | None:
        """Who the server is, or None if it is not of this family.

        Args:
            look: Asks the server for a page.
            model: The model that the user named, or empty.

        Raises:
            UsageError: The server does not have that model.
        """

    @property
    @abstractmethod
    def takes(self) -> Literal["ids", "text"]:
        """What a text is sent as."""

    @property
    @abstractmethod
    def raw_by(self) -> str:
        """Why its scores should be raw logits, in words."""

    @abstractmethod
    def request(self, inputs: Sequence[Input], *, raw: bool) -> tuple[str, dict[str, Any]]:
        """Path and body that ask for the scores of these texts.

        Args:
            inputs: At least one.
            raw: Raw logits; False asks for probabilities, where the server has that choice.
        """

    @abstractmethod
    def reading(self, answer: Any, count: int) -> Reading:
        """What the server said about `count` texts, in their order.

        Raises:
            WrongAnswerError: It cannot be that.
        """

    def untyped(self) -> "Server | None":
        """The same server asked in a way that gives all tokens of a pair one type, if it has one.

        Models that tell prompt and response apart by type ids must answer differently then.
        """
        return None


def listed(answer: Any, field: str, count: int) -> list[Any]:
    """The list that an answer holds, one entry a text.

    Raises:
        WrongAnswerError: It has no such list, or of another length.
    """
    found = answer.get(field) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        fields = ", ".join(answer) if isinstance(answer, dict) else f"a {type(answer).__name__}"
        raise WrongAnswerError(f"the answer has no list {field!r}; it has {fields or 'nothing'}")
    return counted(found, count)


def counted(found: list[Any], count: int) -> list[Any]:
    """The list as it is, one entry a text.

    Raises:
        WrongAnswerError: It has another length.
    """
    if len(found) != count:
        raise WrongAnswerError(f"{len(found)} scores for {count} texts")
    return found


def number(value: Any, place: int) -> float:
    """A logit, NaN and infinity as they are: the text that has them is named later.

    Raises:
        WrongAnswerError: It is no number.
    """
    # Servers whose JSON knows no NaN write null.
    if value is None:
        return math.nan
    if type(value) not in (float, int):
        raise WrongAnswerError(f"the score of text {place} is {value!r:.60}, not a number")
    try:
        return float(value)
    except OverflowError:  # JSON may spell a whole number that no float is as large as
        return math.inf if value > 0 else -math.inf


def numbered(values: Any, place: int) -> dict[str, float]:
    """Logits by their position.

    Raises:
        WrongAnswerError: They are no list of numbers, or there is none.
    """
    if not isinstance(values, list) or not values:
        raise WrongAnswerError(f"the score of text {place} is {values!r:.60}, not a list of logits")
    return {str(i): number(value, place) for i, value in enumerate(values)}


def field(values: Any, name: str, place: int) -> Any:
    """A field of the answer about one text.

    Raises:
        WrongAnswerError: It is not there.
    """
    if not isinstance(values, dict) or name not in values:
        raise WrongAnswerError(f"the answer about text {place} has no {name!r}: {values!r:.60}")
    return values[name]


def whole(value: Any) -> int | None:
    """A count that a server tells, or None where it tells none."""
    return value if type(value) is int and value > 0 else None


def text_of(page: Any, name: str) -> str:
    """A word that a page tells, or nothing."""
    value = page.get(name) if isinstance(page, dict) else None
    return str(value) if value else ""
