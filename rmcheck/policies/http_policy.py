"""Policies behind an OpenAI-compatible server: `http:http://host:port`."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from rmcheck.errors import ScoringError, UnknownModelError, UsageError
from rmcheck.metrics.settings import require_whole_number
from rmcheck.models.fingerprint import fingerprint
from rmcheck.models.servers.address import address, api_key
from rmcheck.models.servers.client import Client, Patience, UnreachableError, WrongAnswerError
from rmcheck.models.spec import ModelSpec, Setting, check_settings, whole_number
from rmcheck.policies.policy import Decoding, Policy, Response, response_seed
from rmcheck.pool.pool import Prompt

_MODELS = "/v1/models"
_CHAT = "/v1/chat/completions"
# Servers that take what a checkpoint's generation config says unless a request says otherwise, and
# the fields, foreign to OpenAI's own API, that say so.
_WITH_DEFAULTS = {"vllm", "sglang"}
_NO_DEFAULTS = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
# A whole number that every JSON reader takes as it is.
_SEED_BITS = 53


class HttpPolicy(Policy):
    """A policy that a server samples from, at `/v1/chat/completions`.

    Each response is a request of its own with a seed of its own, so that fewer responses are the
    first of more. Whether a seed gives the same text again is the server's to keep. The server
    applies the chat template. The API key is read from the environment variable
    `RMCHECK_API_KEY` and stands nowhere else.

    No address says which weights stand behind it: the fingerprint is made of the address, the
    model's name and where the server says that it came from. With a `version`, which its author
    changes with the weights, the address does not count.

    Args:
        spec: The address, and settings that differ from the defaults.

    Raises:
        UnknownModelError: No server answers there, or it has no such model.
        UsageError: A setting's value is impossible, or `model` is needed.
    """

    scheme: ClassVar[str] = "http"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("model", ("NAME",)),
        Setting("version", ("ANYTHING",)),
        Setting("concurrency", ("N",), "8"),
        Setting("timeout", ("SECONDS",), "600"),
        Setting("tries", ("N",), "6"),
    )

    def __init__(self, spec: ModelSpec) -> None:
        values = check_settings(spec, self.settings)
        self.spec = spec.text
        self._concurrency = whole_number(spec, "concurrency", values["concurrency"], least=1)
        # Callers wait for all that they ask for: enough that few threads idle at the end.
        self.at_once = 8 * self._concurrency
        timeout = whole_number(spec, "timeout", values["timeout"], least=1)
        tries = whole_number(spec, "tries", values["tries"], least=1)
        patience = Patience(timeout=timeout, tries=tries, deadline=timeout * tries)
        self._client = Client(address(spec).rstrip("/").removesuffix("/v1"), api_key(), patience)
        listed = self._listed()
        self.model = values["model"] or self._only(listed)
        page = listed.get(self.model, {})
        if listed and not page:
            raise UnknownModelError(
                f"{self.spec}: no model {self.model!r}. Models: {', '.join(listed)}."
            )
        self._more = _NO_DEFAULTS if page.get("owned_by") in _WITH_DEFAULTS else {}
        facts = {
            "scheme": "policy:http",
            "model": self.model,
            "root": str(page.get("root") or ""),
            "version": values["version"],
        }
        if not values["version"]:
            facts["address"] = self._client.url
        self.fingerprint = fingerprint(facts)

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The policy that a spec names; its server is asked for its models."""
        return cls(spec)

    @property
    def name(self) -> str:
        """The address and the model."""
        return f"{urlsplit(self._client.url).netloc}/{self.model.rpartition('/')[2]}"

    def sample(
        self, prompts: Sequence[Prompt], n: int, seed: int = 0, decoding: Decoding | None = None
    ) -> list[tuple[Response, ...]]:
        """N responses to each prompt; see `Policy.sample`.

        Raises:
            ScoringError: The server refuses a prompt, cannot be reached, or answers what is no
                response; the prompt is named. No other request is begun then.
        """
        require_whole_number("n", n, 1)
        decoding = decoding or Decoding()
        asked = [(prompt, index) for prompt in prompts for index in range(n)]
        self._client.start()
        with ThreadPoolExecutor(self._concurrency) as threads:
            pending = [threads.submit(self._response, p, i, seed, decoding) for p, i in asked]
            try:
                found = [each.result() for each in pending]
            except BaseException:
                self._client.stop()
                threads.shutdown(cancel_futures=True)
                raise
        return [tuple(found[at : at + n]) for at in range(0, len(found), n)]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _response(self, prompt: Prompt, index: int, seed: int, decoding: Decoding) -> Response:
        drawn = response_seed(seed, prompt.prompt_id, index) >> (64 - _SEED_BITS)
        body = {
            "model": self.model,
            "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
            "n": 1,
            "seed": drawn,
            "temperature": decoding.temperature,
            "top_p": 1.0,
            "max_tokens": decoding.max_tokens,
            **self._more,
        }
        try:
            return self._read(self._client.post(_CHAT, body))
        except ScoringError as error:
            raise ScoringError(f"prompt {prompt.prompt_id!r}, response {index}: {error}") from error

    def _read(self, answer: Any) -> Response:
        try:
            (choice,) = answer["choices"]
            text, reason = choice["message"]["content"], choice["finish_reason"]
        except (KeyError, TypeError, ValueError):
            text, reason = 0, ""
        # Null is what some servers write for an empty text.
        if not isinstance(text, str | None):
            said = self._client.says(str(answer))
            raise WrongAnswerError(f"{self._client.url}{_CHAT}: no single choice with a text{said}")
        return Response(text or "", reason == "length")

    def _listed(self) -> dict[str, dict[str, Any]]:
        """What the server tells of each of its models; nothing where it has no such page."""
        try:
            page = self._client.look(_MODELS)
        except UnreachableError as error:
            raise UnknownModelError(f"{self.spec}: no server answers. {error}") from error
        finally:
            self._client.close()  # what is only opened holds no connection
        models = page.get("data") if isinstance(page, dict) else None
        found = models if isinstance(models, list) else []
        return {str(m["id"]): m for m in found if isinstance(m, dict) and "id" in m}

    def _only(self, listed: Sequence[str] | dict[str, dict[str, Any]]) -> str:
        if len(listed) != 1:
            known = f"it has {', '.join(listed)}" if listed else "it does not tell which it has"
            raise UsageError(f"{self.spec}: say which model answers, model=NAME; {known}")
        return next(iter(listed))
