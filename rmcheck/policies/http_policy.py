"""Policies behind an OpenAI-compatible server: `http:http://host:port`."""

from collections.abc import Sequence
from typing import ClassVar, Self

from rmcheck.errors import ScoringError
from rmcheck.metrics.settings import require_whole_number
from rmcheck.models.checkpoint.fingerprint import fingerprint
from rmcheck.models.engines.http.chat import PATIENCE, ChatServer
from rmcheck.models.engines.writing import SEED_BITS, Answer
from rmcheck.models.spec import ModelSpec, Setting, stated_settings
from rmcheck.policies.policy import Decoding, ReadyPolicy, Response
from rmcheck.pool.pool import Prompt
from rmcheck.pool.tool_calls import as_asked


class HttpPolicy(ReadyPolicy):
    """A policy that a server samples from, at `/v1/chat/completions`.

    Each response is a request of its own with a seed of its own, so that fewer responses are the
    first of more. Whether a seed gives the same text again is the server's to keep. The server
    applies the chat template. The API key is read from the environment variable
    `RMCHECK_API_KEY` and stands nowhere else.

    No address says which weights stand behind it: the fingerprint is made of the address, the
    model's name and where the server says that it came from. With a `version`, which its author
    changes with the weights, the address does not count.

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
    seed_bits = SEED_BITS

    def __init__(self, spec: ModelSpec) -> None:
        values = stated_settings(spec, self.settings)
        self.spec = spec.text
        self.server = ChatServer.named(spec, values)
        # Callers wait for all that they ask for: enough that few threads idle at the end.
        self.at_once = 8 * self.server.concurrency
        facts = {"scheme": "policy:http", **self.server.identity(values["version"])}
        self.fingerprint = fingerprint(facts)

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The policy that a spec names; its server is asked for its models."""
        return cls(spec)

    @property
    def name(self) -> str:
        """The address and the model."""
        return self.server.name

    def sample(
        self, prompts: Sequence[Prompt], n: int, seed: int = 0, decoding: Decoding | None = None
    ) -> list[tuple[Response, ...]]:
        """N responses to each prompt; see `PolicySession.sample`.

        Raises:
            ScoringError: The server refuses a prompt, cannot be reached, or answers what is no
                response; the prompt is named. No other request is begun then.
        """
        require_whole_number("n", n, 1)
        how, seeds = decoding or Decoding(), self._seeds(prompts, n, seed)

        def answer(place: int) -> Answer:
            turns, tools = as_asked(prompts[place // n].messages)
            fields = {"temperature": how.temperature, "max_tokens": how.max_tokens, **tools}
            return self.server.written(turns, seed=seeds[place], **fields)

        replies = self.server.each(len(seeds), answer, stops=(ScoringError,))
        if replies.stopped:
            (place,) = replies.stopped_at
            prompt, index = prompts[place // n], place % n
            raise ScoringError(f"prompt {prompt.prompt_id!r}, response {index}: {replies.stopped}")
        found = [Response(replies.found[i].text, replies.found[i].cut) for i in range(len(seeds))]
        return [tuple(found[at : at + n]) for at in range(0, len(found), n)]

    def close(self) -> None:
        self.server.close()
