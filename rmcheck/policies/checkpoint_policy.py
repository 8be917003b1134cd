"""Policies whose weights are a folder on this machine, whichever engine runs them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from rmcheck.errors import ConformanceError, UsageError
from rmcheck.metrics.settings import require_whole_number
from rmcheck.models.checkpoint.causal import CausalCheckpoint
from rmcheck.models.engines.writing import Answer
from rmcheck.models.kinds.checkpoint_settings import CheckpointSettings
from rmcheck.models.kinds.language_model import LanguageModel, Writer
from rmcheck.models.spec import ModelSpec, stated_settings, whole_number
from rmcheck.models.text.checkpoint_tokenizer import load_tokenizer, token_limit
from rmcheck.models.text.tokenization import ConversationTokenizer
from rmcheck.policies.policy import Decoding, Policy, PolicySession, Response
from rmcheck.pool.pool import Prompt

# Prompts named in a message.
PROMPTS_SHOWN = 3


@dataclass(eq=False)
class CheckpointPolicySession(PolicySession):
    """A language model that writes.

    Attributes:
        policy: The folder.
        writer: Its tokenizer and weights.
    """

    policy: "CheckpointPolicy"
    writer: Writer[ConversationTokenizer]

    @property
    def alive(self) -> bool:
        return self.writer.alive

    def check(self, prompts: Sequence[Prompt], decoding: Decoding) -> None:
        """Refuse prompts that leave fewer than `max_tokens` of the model's positions.

        Raises:
            UsageError: There are such prompts; the longest are named.
            ScoringError: The chat template refuses a prompt.
        """
        self._rows(prompts, decoding)

    def sample(
        self, prompts: Sequence[Prompt], n: int, seed: int = 0, decoding: Decoding | None = None
    ) -> list[tuple[Response, ...]]:
        """N responses to each prompt; see `PolicySession.sample`.

        Raises:
            UsageError: Prompts leave too few tokens for a response.
            ModelError: The batch does not fit in memory, logits are not finite, or the engine
                fails.
            ScoringError: The chat template refuses a prompt.
        """
        require_whole_number("n", n, 1)
        decoding = decoding or Decoding()
        rows = [row for row in self._rows(prompts, decoding) for _ in range(n)]
        answers = self._answers(rows, self._seeds(prompts, n, seed), decoding)
        found = [Response(answer.text, answer.cut) for answer in answers]
        return [tuple(found[at : at + n]) for at in range(0, len(found), n)]

    def close(self) -> None:
        self.writer.sampler.close()

    @property
    def _positions(self) -> int | None:
        """Most tokens of a prompt with its response; None where nothing says."""
        return self.policy.model.checkpoint.model_length

    def _answers(
        self, rows: Sequence[Sequence[int]], seeds: Sequence[int], decoding: Decoding
    ) -> list[Answer]:
        """What is written after each row, in order."""
        return self.writer.answers(
            rows, seeds, temperature=decoding.temperature, max_tokens=decoding.max_tokens
        )

    def _rows(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[list[int]]:
        """Token ids of prompts that leave room for their responses."""
        rows, positions = self.writer.tokenizer.encode_prompts(prompts), self._positions
        over = [
            (len(row), prompt.prompt_id)
            for row, prompt in zip(rows, prompts, strict=True)
            if positions is not None and len(row) + decoding.max_tokens > positions
        ]
        if over:
            longest = sorted(over, key=lambda pair: -pair[0])[:PROMPTS_SHOWN]
            examples = ", ".join(f"{name!r}: {length}" for length, name in longest)
            raise UsageError(
                f"{len(over)} of {len(prompts)} prompts leave fewer than the "
                f"{decoding.max_tokens} tokens of a response in the {positions} that the policy "
                f"takes. Longest: {examples} tokens. Lower max_tokens, or leave them out"
            )
        return rows


class CheckpointPolicy(Policy):
    """A folder of a causal language model in transformers' layout.

    The chat template is applied here, once, and the engine gets token ids. Of
    generation_config.json the tokens that end a response are read, and nothing else.

    A subclass has the settings `dtype`, `template`, `date` and `batch` among its own.

    Attributes:
        session: What loading gives.

    Raises:
        UnknownModelError: No folder, no config.json, or no weights.
        UsageError: A setting's value is impossible.
        ModelError: The weights are pickled, damaged, or an adapter.
        ConformanceError: It is no causal language model, or has no chat template.
    """

    session: ClassVar[type[CheckpointPolicySession]] = CheckpointPolicySession

    def __init__(self, spec: ModelSpec) -> None:
        values = stated_settings(spec, self.settings)
        self.spec = spec.text
        self.at_once = whole_number(spec, "batch", values["batch"], least=1)
        settings = CheckpointSettings.read(spec, self.settings)
        checkpoint, stated = _checked(spec, settings), settings.max_length
        limit = token_limit(spec, checkpoint, stated) if stated else None
        self.model = LanguageModel.read(spec, settings, checkpoint, limit, "a policy")
        self.fingerprint = self.model.fingerprint(scheme=f"policy:{self.scheme}")

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        return cls(spec)

    @property
    def name(self) -> str:
        """The last two parts of the path, as in `sft-7b/step-900`."""
        return self.model.checkpoint.short_name

    def load(self) -> "CheckpointPolicySession":
        """Read tokenizer and weights.

        Raises:
            MissingDependencyError: The engine's package is not installed.
            UsageError: There is no such device.
            ModelError: They cannot be loaded, or not in the memory that there is.
            ConformanceError: A tensor that the model needs is not among the weights.
        """
        words = load_tokenizer(self.model.checkpoint)
        tokenizer = ConversationTokenizer(words, template=self.model.template)
        return self.session(self, self.model.writer(tokenizer))


def _checked(spec: ModelSpec, settings: CheckpointSettings) -> CausalCheckpoint:
    """The folder, which is one of a language model that has a chat template or is given one."""
    checkpoint = CausalCheckpoint.of(spec)
    checkpoint.check_folder()
    named = checkpoint.architecture
    if not named.endswith(("ForCausalLM", "LMHeadModel")):
        raise ConformanceError(
            f"{checkpoint.path} is a {named}: a policy is a causal language model (...ForCausalLM)"
        )
    if not (settings.template or checkpoint.has_chat_template):
        raise ConformanceError(
            f"{checkpoint.path} has no chat template, and a guessed one would give other "
            f"responses. Name one: {spec.with_setting('template', 'FILE.jinja')!r}"
        )
    return checkpoint
