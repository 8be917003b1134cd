"""Policies behind an OpenAI-compatible server: `http:http://host:port`."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from rmcheck.errors import ScoringError
from rmcheck.metrics.settings import require_whole_number
from rmcheck.models.checkpoint.fingerprint import fingerprint
from rmcheck.models.engines.http.chat import CHAT, PATIENCE, ChatServer, chat_client
from rmcheck.models.spec import ModelSpec, Setting, check_settings
from rmcheck.policies.policy import Decoding, Policy, Response, response_seed
from rmcheck.pool.pool import Prompt

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
        *PATIENCE,
    )

    def __init__(self, spec: ModelSpec) -> None:
        values = check_settings(spec, self.settings)
        self.spec = spec.text
        self._client, self._concurrency = chat_client(spec, values)
        # Callers wait for all that they ask for: enough that few threads idle at the end.
        self.at_once = 8 * self._concurrency
        self._server = ChatServer(self._client, values["model"], spec.text)
        self.model = self._server.model
        facts = {
            "scheme": "policy:http",
            "model": self.model,
            "root": self._server.root,
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
        turns = [{"role": m.role, "content": m.content} for m in prompt.messages]
        try:
            return self._read(
                self._server.turns(
                    turns,
                    seed=drawn,
                    temperature=decoding.temperature,
                    max_tokens=decoding.max_tokens,
                )
            )
        except ScoringError as error:
            raise ScoringError(f"prompt {prompt.prompt_id!r}, response {index}: {error}") from error

    def _read(self, choice: dict[str, Any]) -> Response:
        try:
            text, reason = choice["message"]["content"], choice["finish_reason"]
        except (KeyError, TypeError):
            text, reason = 0, ""
        # Null is what some servers write for an empty text.
        if not isinstance(text, str | None):
            raise self._server.wrong(CHAT, "no single choice with a text", choice)
        return Response(text or "", reason == "length")
