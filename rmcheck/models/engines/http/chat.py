"""A language model behind an OpenAI-compatible server: which one, and what it is asked."""

from collections.abc import Mapping, Sequence
from typing import Any

from rmcheck.errors import UnknownModelError, UsageError
from rmcheck.models.engines.http.address import address, api_key
from rmcheck.models.engines.http.client import (
    Client,
    Patience,
    RefusedError,
    UnreachableError,
    WrongAnswerError,
)
from rmcheck.models.spec import ModelSpec, Setting, whole_number

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


def chat_client(spec: ModelSpec, values: Mapping[str, str]) -> tuple[Client, int]:
    """A connection to the address of a spec, and how many requests run side by side.

    Args:
        spec: The address; `/v1` at its end makes no difference.
        values: Of the settings `PATIENCE`.

    Raises:
        UsageError: A value is no whole number, or the address is none.
    """
    concurrency, timeout, tries = (
        whole_number(spec, setting.name, values[setting.name], least=1) for setting in PATIENCE
    )
    patience = Patience(timeout=timeout, tries=tries, deadline=timeout * tries)
    url = address(spec).rstrip("/").removesuffix("/v1")
    return Client(url, api_key(spec), patience), concurrency


class ChatServer:
    """One model of a server; opening one asks for the list of models.

    Args:
        client: The server's address.
        model: Name of the model; empty for the only one.
        spec: For messages.

    Attributes:
        model: Its name.
        root: Where the server says that its weights come from; empty where it does not.
        max_length: Most tokens by what the server says; None where it does not.

    Raises:
        UnknownModelError: No server answers there, or it has no such model.
        UsageError: `model` is needed.
    """

    def __init__(self, client: Client, model: str, spec: str) -> None:
        self.client = client
        listed = self._listed(spec)
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

    def turns(self, messages: Sequence[Mapping[str, str]], **fields: Any) -> dict[str, Any]:
        """The only choice that the server gives after these turns.

        Raises:
            RefusedError, UnreachableError: See `Client.post`.
            WrongAnswerError: There is no single choice.
        """
        body = {"messages": list(messages), **fields}
        named = self._named(body)
        try:
            return self._choice(CHAT, named)
        except RefusedError as error:
            if _MOST not in named or _MOST_OF_NEWER not in str(error):
                raise
        self._most = _MOST_OF_NEWER
        return self._choice(CHAT, self._named(body))

    def ids(self, ids: Sequence[int], **fields: Any) -> dict[str, Any]:
        """The only choice that the server gives after these token ids; raises as `turns` does."""
        return self._choice(COMPLETIONS, {"prompt": list(ids), **fields})

    def wrong(self, path: str, what: str, answer: Any) -> WrongAnswerError:
        """The error for an answer that lacks something."""
        said = self.client.says(str(answer))
        return WrongAnswerError(f"{self.client.url}{path}: {what}{said}")

    def _named(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body with the most tokens of an answer called as this server calls it."""
        return {self._most if name == _MOST else name: value for name, value in body.items()}

    def _choice(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        # The whole distribution, not scaled by temperature unless the body says so.
        shared = {"model": self.model, "n": 1, "temperature": 1.0, "top_p": 1.0, **self._more}
        answer = self.client.post(path, shared | body)
        choices = answer.get("choices") if isinstance(answer, dict) else None
        if not (isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], dict)):
            raise self.wrong(path, "no single choice", answer)
        choice: dict[str, Any] = choices[0]
        return choice

    def _listed(self, spec: str) -> dict[str, dict[str, Any]]:
        """What the server tells of each of its models; nothing where it has no such page."""
        try:
            page = self.client.look(_MODELS)
        except UnreachableError as error:
            raise UnknownModelError(f"{spec}: no server answers. {error}") from error
        finally:
            self.client.close()  # what is only opened holds no connection
        models = page.get("data") if isinstance(page, dict) else None
        found = models if isinstance(models, list) else []
        return {str(m["id"]): m for m in found if isinstance(m, dict) and "id" in m}
