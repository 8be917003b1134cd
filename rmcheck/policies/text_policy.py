"""A policy that is asked by text, for plain test files."""

from collections.abc import Sequence
from typing import overload

from rmcheck.policies.policy import Decoding, Policy, PolicySession
from rmcheck.pool.conversation import content_key
from rmcheck.pool.pool import Message, Prompt


class TextPolicy:
    """A policy whose prompts may be texts and whose responses are; loaded when first asked."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._session: PolicySession | None = None

    @property
    def name(self) -> str:
        """Short name of the policy."""
        return self.policy.name

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the policy."""
        return self.policy.fingerprint

    @overload
    def sample(  # type: ignore[overload-overlap] # a text is one prompt, not a sequence of letters
        self,
        prompts: str | Prompt,
        n: int = ...,
        *,
        seed: int = ...,
        max_tokens: int = ...,
        temperature: float = ...,
    ) -> list[str]: ...

    @overload
    def sample(
        self,
        prompts: Sequence[str | Prompt],
        n: int = ...,
        *,
        seed: int = ...,
        max_tokens: int = ...,
        temperature: float = ...,
    ) -> list[list[str]]: ...

    def sample(
        self,
        prompts: str | Prompt | Sequence[str | Prompt],
        n: int = 1,
        *,
        seed: int = 0,
        max_tokens: int = 512,
        temperature: float = 1.0,
    ) -> list[str] | list[list[str]]:
        """N responses to a prompt, or to each of several.

        Args:
            prompts: A text (one user turn) or a prompt of a pool, or a sequence of them.
            n: Responses a prompt; those of a smaller n are the first of a larger one.
            seed: Of all random choices: the same seed gives the same responses.
            max_tokens: Most tokens of a response.
            temperature: What logits are divided by.

        Returns:
            N texts for one prompt, a list of N texts a prompt for a sequence.

        Raises:
            UsageError: A number is out of its range, or a prompt leaves no room for a response.
            ModelError: The policy cannot be loaded, or cannot answer.
        """
        if isinstance(prompts, str | Prompt):
            return self.sample(
                [prompts], n, seed=seed, max_tokens=max_tokens, temperature=temperature
            )[0]
        session = self.loaded()
        decoding = Decoding(max_tokens, temperature)
        given = [_prompt(p) if isinstance(p, str) else p for p in prompts]
        found = session.sample(given, n, seed, decoding)
        return [[response.text for response in responses] for responses in found]

    def loaded(self) -> PolicySession:
        """The policy, which is loaded now if it was not, or if its engine has died."""
        if self._session is None or not self._session.alive:
            self._session = self.policy.load()
        return self._session

    def close(self) -> None:
        """Release the policy, where it is loaded."""
        if self._session is not None:
            self._session.close()
        self._session = None


def _prompt(text: str) -> Prompt:
    messages = (Message("user", text),)
    return Prompt(content_key(messages), messages, (), {})
