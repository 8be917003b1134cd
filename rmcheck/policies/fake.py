"""A policy of canned texts, for tests of what is done with responses."""

from collections.abc import Sequence
from typing import ClassVar, Self
from urllib.parse import unquote

from rmcheck.errors import UnknownModelError
from rmcheck.metrics.settings import require_whole_number
from rmcheck.models.checkpoint.fingerprint import fingerprint
from rmcheck.models.spec import ModelSpec
from rmcheck.policies.policy import Decoding, ReadyPolicy, Response, response_seed
from rmcheck.pool.pool import Prompt


class FakePolicy(ReadyPolicy):
    """A policy that answers with one of a few texts, each as likely as the others.

    A word is a token of it. Temperature changes nothing.

    Raises:
        UnknownModelError: There are no texts.

    Example:
        >>> FakePolicy(["yes", "no"]).spec
        'fake:yes|no'
    """

    scheme: ClassVar[str] = "fake"

    def __init__(self, texts: Sequence[str]) -> None:
        if not any(texts):
            raise UnknownModelError("a fake policy needs texts: fake:TEXT|TEXT")
        self.texts = tuple(texts)
        self.spec = "fake:" + "|".join(self.texts)
        self.fingerprint = fingerprint({"scheme": self.scheme, "texts": self.texts})

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The texts that a spec names, `|` between them; percent-decoded."""
        policy = cls([unquote(text) for text in spec.location.split("|")])
        policy.spec = spec.text
        return policy

    def sample(
        self, prompts: Sequence[Prompt], n: int, seed: int = 0, decoding: Decoding | None = None
    ) -> list[tuple[Response, ...]]:
        """N of the texts for each prompt, drawn by `response_seed`."""
        require_whole_number("n", n, 1)
        most = (decoding or Decoding()).max_tokens
        return [
            tuple(self._response(response_seed(seed, p.prompt_id, i), most) for i in range(n))
            for p in prompts
        ]

    def _response(self, drawn: int, most: int) -> Response:
        text = self.texts[drawn % len(self.texts)]
        words = text.split()
        cut = len(words) > most
        return Response(" ".join(words[:most]) if cut else text, cut)
