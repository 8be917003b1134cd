"""A language model behind an OpenAI-compatible server: which one, and what it is asked."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from sys import float_info
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import numpy as np

from rmcheck.errors import ScoringError, UnknownModelError, UsageError
from rmcheck.models.engines.http.address import address, api_key
from rmcheck.models.engines.http.asking import STOPS, Replies, asked
from rmcheck.models.engines.http.client import (
    Client,
    Patience,
    RefusedError,
    UnreachableError,
    WrongAnswerError,
)
from rmcheck.models.engines.writing import Answer
from rmcheck.models.model import EngineFacts, Loaded
from rmcheck.models.spec import ModelSpec, Setting, whole_number

_T = TypeVar("_T")
# A chat, as roles and contents; or the token ids of one.
Turns = Sequence[Mapping[str, str]]
Ids = tuple[int, ...]
_MODELS = "/v1/models"
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
# Servers that take what a checkpoint's generation config says unless a request says otherwise, and
# the fields, foreign to OpenAI's own API, that say so.
_WITH_DEFAULTS = {"vllm", "sglang"}
_NO_DEFAULTS = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
# What most servers call the most tokens of an answer, and what OpenAI's newer models call it.
_MOST, _MOST_OF_NEWER = "max_tokens", "max_completion_tokens"
# How patiently a server is asked.
PATIENCE = (
    Setting("concurrency", ("N",), "8"),
    Setting("timeout", ("SECONDS",), "600"),
    Setting("tries", ("N",), "6"),
)


class ChatServer(Loaded):
    """One model of a server; opening one asks for the list of models.

    Args:
        client: The server's address.
        model: Name of the model; empty for the only one.
        spec: For messages.
        concurrency: Most requests at a time.

    Attributes:
        model: Its name.
        root: Where the server says that its weights come from; empty where it does not.
        max_length: Most tokens by what the server says; None where it does not.

    Raises:
        UnknownModelError: No server answers there, or it has no such model.
        UsageError: `model` is needed.
    """

    def __init__(self, client: Client, model: str, spec: str, concurrency: int = 1) -> None:
        self.client, self.spec, self.concurrency = client, spec, concurrency
        listed = self._listed()
        if not model and len(listed) != 1:
            known = f"it has {', '.join(listed)}" if listed else "it does not tell which it has"
            raise UsageError(f"{spec}: say which model answers, model=NAME; {known}")
        self.model = model or next(iter(listed))
        page = listed.get(self.model, {})
        if listed and not page:
            raise UnknownModelError(
                f"{spec}: no model {self.model!r}. Models: {', '.join(listed)}."
            )
        self.root = str(page.get("root") or "")
        length = page.get("max_model_len")
        self.max_length = length if isinstance(length, int) else None
        self._most = _MOST
        self._more = _NO_DEFAULTS if page.get("owned_by") in _WITH_DEFAULTS else {}

    @classmethod
    def named(cls, spec: ModelSpec, values: Mapping[str, str]) -> Self:
        """The server at the address of a spec.

        Args:
            spec: The address; `/v1` at its end makes no difference.
            values: Of the setting `model`, and of those of `PATIENCE`.

        Raises:
            UsageError: Also where a value is no whole number, or the address is none.
        """
        concurrency, timeout, tries = (
            whole_number(spec, setting.name, values[setting.name], least=1) for setting in PATIENCE
        )
        patience = Patience(timeout=timeout, tries=tries, deadline=timeout * tries)
        url = address(spec).rstrip("/").removesuffix("/v1")
        client = Client(url, api_key(spec), patience)
        return cls(client, values["model"], spec.text, concurrency)

    @property
    def facts(self) -> EngineFacts:
        """The server's machine computes."""
        return EngineFacts("server")

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    @property
    def name(self) -> str:
        """The address and the model."""
        return f"{urlsplit(self.client.url).netloc}/{self.model.rpartition('/')[2]}"

    def identity(self, version: str) -> dict[str, object]:
        """What it tells, for a fingerprint, and the address where no version is given."""
        facts: dict[str, object] = {"model": self.model, "root": self.root, "version": version}
        return facts if version else facts | {"address": self.client.url}

    def each(
        self,
        count: int,
        ask: Callable[[int], _T],
        *,
        stops: tuple[type[ScoringError], ...] = STOPS,
    ) -> Replies[_T]:
        """What is said about each of so many texts: a request each, side by side; see `asked`."""
        return asked(
            self.client,
            [(place,) for place in range(count)],
            lambda part, _: {part[0]: ask(part[0])},
            concurrency=self.concurrency,
            stops=stops,
        )

    def written(self, asked: Turns | Ids, **fields: Any) -> Answer:
        """What the model writes.

        Args:
            asked: Turns, which the server makes a text of, or token ids.
            fields: Of the request, such as `seed`.

        Raises:
            RefusedError, UnreachableError: See `Client.post`.
            WrongAnswerError: There is no single choice, or no text.
        """
        choice = self._choice(asked, fields)
        message = choice.get("message")
        text: Any = choice.get("text", 0)
        if not isinstance(asked, tuple):
            text = message.get("content", 0) if isinstance(message, dict) else 0
        # Null is what some servers write for an empty text.
        if not isinstance(text, str | None):
            raise self._wrong(_path(asked), "no single choice with a text", choice)
        return Answer(text or "", choice.get("finish_reason") == "length")

    def next_tokens(self, asked: Turns | Ids, top: int) -> dict[str, float]:
        """The likeliest next tokens that the server shows, with their log-probabilities in nats.

        Tokens of one text, such as parts of a letter, are summed.

        Args:
            asked: Turns, or token ids.
            top: How many are asked for.

        Raises:
            RefusedError, UnreachableError: See `Client.post`.
            WrongAnswerError: It shows none.
        """
        ids = isinstance(asked, tuple)
        fields = {"logprobs": top} if ids else {"logprobs": True, "top_logprobs": top}
        choice = self._choice(asked, {"max_tokens": 1, **fields})
        try:
            if ids:
                shown = dict(choice["logprobs"]["top_logprobs"][0])
            else:
                tokens = choice["logprobs"]["content"][0]["top_logprobs"]
                shown = _summed((token["token"], token["logprob"]) for token in tokens)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            shown = {}
        if not shown or not all(
            isinstance(t, str) and isinstance(p, int | float) and abs(p) <= float_info.max
            for t, p in shown.items()
        ):
            what = f"no log-probabilities of the next token ({top} were asked for)"
            raise self._wrong(_path(asked), what, choice)
        return {token: float(value) for token, value in shown.items()}

    def _choice(self, asked: Turns | Ids, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The only choice that the server gives."""
        if isinstance(asked, tuple):
            return self._posted({"prompt": list(asked), **fields}, COMPLETIONS)
        body = {"messages": list(asked), **fields}
        named = self._named(body)
        try:
            return self._posted(named, CHAT)
        except RefusedError as error:
            if _MOST not in named or _MOST_OF_NEWER not in str(error):
                raise
        self._most = _MOST_OF_NEWER
        return self._posted(self._named(body), CHAT)

    def _named(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body with the most tokens of an answer called as this server calls it."""
        return {self._most if name == _MOST else name: value for name, value in body.items()}

    def _posted(self, body: dict[str, Any], path: str) -> dict[str, Any]:
        # The whole distribution, not scaled by temperature unless the body says so.
        shared = {"model": self.model, "n": 1, "temperature": 1.0, "top_p": 1.0, **self._more}
        answer = self.client.post(path, shared | body)
        choices = answer.get("choices") if isinstance(answer, dict) else None
        if not (isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], dict)):
            raise self._wrong(path, "no single choice", answer)
        choice: dict[str, Any] = choices[0]
        return choice

    def _wrong(self, path: str, what: str, answer: Any) -> WrongAnswerError:
        """The error for an answer that lacks something."""
        said = self.client.says(str(answer))
        return WrongAnswerError(f"{self.client.url}{path}: {what}{said}")

    def _listed(self) -> dict[str, dict[str, Any]]:
        """What the server tells of each of its models; nothing where it has no such page."""
        try:
            page = self.client.look(_MODELS)
        except UnreachableError as error:
            raise UnknownModelError(f"{self.spec}: no server answers. {error}") from error
        finally:
            self.client.close()  # what is only opened holds no connection
        models = page.get("data") if isinstance(page, dict) else None
        found = models if isinstance(models, list) else []
        return {str(m["id"]): m for m in found if isinstance(m, dict) and "id" in m}


def _path(asked: Turns | Ids) -> str:
    return COMPLETIONS if isinstance(asked, tuple) else CHAT


def _summed(tokens: Iterable[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for text, value in tokens:
        found.setdefault(text, []).append(value)
    return {text: np.logaddexp.reduce(values) for text, values in found.items()}
