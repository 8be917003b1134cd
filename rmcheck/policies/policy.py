"""The one protocol behind which every policy stands.

A policy is found by `scheme:location?setting=value` (see `rmcheck.policies.registry`). Opening
one is cheap; weights are read by `load`.
"""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from rmcheck.errors import UsageError
from rmcheck.models.model import Loaded
from rmcheck.models.spec import ModelSpec, Setting
from rmcheck.pool.pool import Prompt


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a policy turns its logits into text.

    Nothing else is done to them: no top-p, no top-k, no penalty, whatever the policy's own
    generation config says.

    Attributes:
        max_tokens: Most tokens of a response; a longer one is cut.
        temperature: What logits are divided by; 1 samples from the policy itself.

    Raises:
        UsageError: A number is out of its range.
    """

    max_tokens: int = 512
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise UsageError(f"max_tokens is {self.max_tokens}; it is a whole number from 1 up")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise UsageError(
                f"temperature is {self.temperature}; it is more than 0 (1 is the policy itself)"
            )


@dataclass(frozen=True, slots=True)
class Response:
    """One answer of a policy.

    Attributes:
        text: The answer, without special tokens; may be empty.
        cut: Whether it reached `max_tokens` before the policy ended it.
    """

    text: str
    cut: bool


class PolicySession(Loaded):
    """A policy that is loaded, ready to answer.

    Attributes:
        policy: What was loaded.
    """

    policy: "Policy"

    def check(self, prompts: Sequence[Prompt], decoding: Decoding) -> None:
        """Refuse, before anything is sampled, prompts that leave no room for a response.

        Raises:
            UsageError: Some prompts are too long; the worst are named.
        """

    @abstractmethod
    def sample(
        self, prompts: Sequence[Prompt], n: int, seed: int = 0, decoding: Decoding | None = None
    ) -> list[tuple[Response, ...]]:
        """N responses to each prompt.

        Response `i` depends on the prompt, `response_seed(seed, prompt_id, i)` and the decoding
        alone: never on the other prompts, their order, or n.

        Args:
            prompts: Their ids and messages are read; responses that they have are not.
            n: Responses a prompt, 1 or more.
            seed: Of all random choices.
            decoding: None means `Decoding()`.

        Raises:
            UsageError: `n` is less than 1.
        """

    def _seeds(self, prompts: Sequence[Prompt], n: int, seed: int) -> list[int]:
        """Of N responses to each prompt."""
        unused = 64 - self.policy.seed_bits
        return [response_seed(seed, p.prompt_id, i) >> unused for p in prompts for i in range(n)]


class Policy(ABC):
    """Anything that answers a prompt N times, opened and not loaded.

    Attributes:
        spec: The policy as the user named it.
        fingerprint: 64 hex digits that change whenever the distribution of responses could
            (weights, config, tokenizer, template), `Decoding` aside.
        at_once: Responses that are sampled together; callers ask for about so many.
        seed_bits: Bits of a seed that its engine takes.
    """

    scheme: ClassVar[str]
    settings: ClassVar[tuple[Setting, ...]] = ()
    seed_bits: ClassVar[int] = 64
    spec: str
    fingerprint: str
    at_once: int = 1

    @classmethod
    @abstractmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The policy that a spec names, without loading it.

        Raises:
            UsageError: A setting has a value it cannot have.
        """

    @property
    def name(self) -> str:
        """Short name for tables."""
        return self.spec

    @abstractmethod
    def load(self) -> PolicySession:
        """Read the weights. Each call gives a session of its own.

        Raises:
            ModelError: They cannot be loaded or trusted.
            MissingDependencyError: An engine package is not installed.
        """

    def __repr__(self) -> str:
        return f"<Policy {self.name}, {self.fingerprint[:8]}>"


class ReadyPolicy(Policy, PolicySession):
    """A policy that has nothing to load, and is its own session."""

    @property
    def policy(self) -> Policy:  # type: ignore[override] # of a session it is what it is given
        """Itself."""
        return self

    def load(self) -> PolicySession:
        """Itself."""
        return self


def response_seed(seed: int, prompt_id: str, index: int) -> int:
    """64 bits that only these three decide: BLAKE2b over them."""
    text = f"{seed}:{index}:{prompt_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
