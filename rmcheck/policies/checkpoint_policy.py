"""Policies whose weights are a folder on this machine, whichever engine runs them."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Self

from rmcheck.errors import ConformanceError, UsageError
from rmcheck.metrics.settings import require_whole_number
from rmcheck.models.checkpoint.causal import CausalCheckpoint
from rmcheck.models.checkpoint.settings import chosen_dtype
from rmcheck.models.kinds.checkpoint_model import loaded
from rmcheck.models.spec import ModelSpec, check_settings, whole_number
from rmcheck.models.text.checkpoint_tokenizer import (
    chosen_template,
    installed_version,
    load_tokenizer,
)
from rmcheck.models.text.tokenization import ConversationTokenizer
from rmcheck.policies.policy import Decoding, Policy, Response, response_seed
from rmcheck.pool.pool import Prompt

# Prompts named in a message.
_SHOWN = 3


class CheckpointPolicy(Policy):
    """A folder of a causal language model in transformers' layout.

    The chat template is applied here, once, and the engine gets token ids. Of
    generation_config.json the tokens that end a response are read, and nothing else.

    A subclass has the settings `dtype`, `template`, `date` and `batch` among its own.

    Args:
        spec: Where the folder is, and settings that differ from the defaults.

    Raises:
        UnknownModelError: No folder, no config.json, or no weights.
        UsageError: A setting's value is impossible.
        ModelError: The weights are pickled, damaged, or an adapter.
        ConformanceError: It is no causal language model, or has no chat template.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._set = check_settings(spec, self.settings)
        self.spec = spec.text
        self.at_once = whole_number(spec, "batch", self._set["batch"], least=1)
        self.checkpoint = CausalCheckpoint(spec.path)
        self.checkpoint.check_folder()
        self._check_architecture()
        self._set["dtype"] = chosen_dtype(self._set, self.checkpoint)
        if self._set["template"] == "pair":
            raise UsageError(f"{spec.text}: a policy needs a chat template; template is a file")
        if not (self._set["template"] or self.checkpoint.has_chat_template):
            raise ConformanceError(
                f"{self.checkpoint.path} has no chat template, and a guessed one would give other "
                f"responses. Name one: {spec.with_setting('template', 'FILE.jinja')!r}"
            )
        self._template = chosen_template(
            spec, self.checkpoint, self._set["template"], "keep", self._set["date"]
        )
        self.fingerprint = self._fingerprint()
        self._tokenizer: ConversationTokenizer | None = None

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The policy that a spec names, without loading it."""
        return cls(spec)

    @property
    def name(self) -> str:
        """The last two parts of the path, as in `sft-7b/step-900`."""
        return self.checkpoint.short_name

    @property
    def tokenizer(self) -> ConversationTokenizer:
        """The loaded tokenizer."""
        return loaded(self._tokenizer, self.spec)

    @property
    @abstractmethod
    def positions(self) -> int | None:
        """Most tokens of a prompt with its response; None where nothing says."""

    def check(self, prompts: Sequence[Prompt], decoding: Decoding) -> None:
        """Refuse prompts that leave fewer than `max_tokens` of the model's positions.

        Raises:
            UsageError: There are such prompts; the longest are named.
            ScoringError: The chat template refuses a prompt.
        """
        self._check_lengths(prompts, self.tokenizer.encode_prompts(prompts), decoding)

    def sample(
        self, prompts: Sequence[Prompt], n: int, seed: int = 0, decoding: Decoding | None = None
    ) -> list[tuple[Response, ...]]:
        """N responses to each prompt; see `Policy.sample`.

        Raises:
            UsageError: It is not loaded, or prompts leave too few tokens for a response.
            ModelError: The batch does not fit in memory, logits are not finite, or the engine
                fails.
            ScoringError: The chat template refuses a prompt.
        """
        require_whole_number("n", n, 1)
        decoding = decoding or Decoding()
        encoded = self.tokenizer.encode_prompts(prompts)
        self._check_lengths(prompts, encoded, decoding)
        rows = [row for row in encoded for _ in range(n)]
        seeds = [response_seed(seed, prompt.prompt_id, i) for prompt in prompts for i in range(n)]
        found = [
            Response(self.tokenizer.plain_text(ids), len(ids) == decoding.max_tokens)
            for ids in self._answers(rows, seeds, decoding)
        ]
        return [tuple(found[at : at + n]) for at in range(0, len(found), n)]

    def close(self) -> None:
        """Release weights and tokenizer; the policy can be loaded again."""
        self._tokenizer = None

    @abstractmethod
    def _answers(
        self, rows: Sequence[Sequence[int]], seeds: Sequence[int], decoding: Decoding
    ) -> Iterator[list[int]]:
        """Token ids after each row, in order, without the one that ended them."""

    @abstractmethod
    def _engine_facts(self) -> dict[str, str]:
        """Name of the engine, and versions that can change what it draws."""

    def _load_tokenizer(self) -> ConversationTokenizer:
        return ConversationTokenizer(
            load_tokenizer(self.checkpoint),
            template=self._template,
            eos="keep",
            max_length=None,
            type_ids=False,
        )

    def _end_ids(self, tokenizer: ConversationTokenizer) -> frozenset[int]:
        """Tokens that end a response."""
        own = {tokenizer.eos_id} if tokenizer.eos_id is not None else set()
        return self.checkpoint.end_ids | own

    def _check_architecture(self) -> None:
        named = self.checkpoint.architecture
        if not named.endswith(("ForCausalLM", "LMHeadModel")):
            raise ConformanceError(
                f"{self.checkpoint.path} is a {named}: a policy is a causal language model "
                "(...ForCausalLM)"
            )

    def _check_lengths(
        self, prompts: Sequence[Prompt], rows: Sequence[Sequence[int]], decoding: Decoding
    ) -> None:
        positions = self.positions
        if positions is None:
            return
        over = [
            (len(row), prompt.prompt_id)
            for row, prompt in zip(rows, prompts, strict=True)
            if len(row) + decoding.max_tokens > positions
        ]
        if over:
            longest = sorted(over, key=lambda pair: -pair[0])[:_SHOWN]
            examples = ", ".join(f"{name!r}: {length}" for length, name in longest)
            raise UsageError(
                f"{len(over)} of {len(prompts)} prompts leave fewer than the "
                f"{decoding.max_tokens} tokens of a response in the {positions} that the policy "
                f"takes. Longest: {examples} tokens. Lower max_tokens, or leave them out"
            )

    def _fingerprint(self) -> str:
        facts: dict[str, object] = {
            **self._engine_facts(),
            "dtype": self._set["dtype"],
            **self._template.facts,
            "transformers": installed_version("transformers"),
        }
        return self.checkpoint.fingerprint(facts, self.checkpoint.generation_files)
