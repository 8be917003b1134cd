"""Policies that transformers can load: `hf:DIR`."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from rmcheck.errors import ConformanceError, ModelError, UsageError
from rmcheck.metrics.settings import require_whole_number
from rmcheck.models.checkpoint import Checkpoint
from rmcheck.models.checkpoint_tokenizer import chosen_template, installed_version, load_tokenizer
from rmcheck.models.fingerprint import fingerprint
from rmcheck.models.spec import ModelSpec, Setting, check_settings, whole_number
from rmcheck.models.tokenization import ConversationTokenizer
from rmcheck.policies.policy import Decoding, Policy, Response, response_seed
from rmcheck.policies.torch_sampler import TorchSampler
from rmcheck.pool.pool import Prompt

_GENERATION = "generation_config.json"
# Prompts named in a message.
_SHOWN = 3


class TransformersPolicy(Policy):
    """A folder that AutoModelForCausalLM loads.

    Responses are drawn from the softmax of the logits over the whole vocabulary. Of
    generation_config.json the tokens that end a response are read, and nothing else. In float32
    a response is the same in every batch; in bfloat16 and float16 rounding differs between batch
    sizes, so that a text may part from its twin (the distribution does not).

    Args:
        spec: Where the folder is, and settings that differ from the defaults.

    Raises:
        UnknownModelError: No folder, no config.json, or no weights.
        UsageError: A setting's value is impossible.
        ModelError: The weights are pickled, damaged, or an adapter.
        ConformanceError: It is no causal language model, or has no chat template.
    """

    scheme: ClassVar[str] = "hf"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("dtype", ("float32", "bfloat16", "float16"), "float32", closed=True),
        Setting("device", ("auto", "cpu", "cuda", "cuda:N"), "auto"),
        Setting("template", ("FILE.jinja",)),
        Setting("batch", ("N",), "64"),
    )

    def __init__(self, spec: ModelSpec) -> None:
        self._set = check_settings(spec, self.settings)
        self.spec = spec.text
        self.at_once = whole_number(spec, "batch", self._set["batch"], least=1)
        self.checkpoint = Checkpoint(spec.path)
        self.checkpoint.check_folder()
        self._check_architecture()
        if self._set["template"] == "pair":
            raise UsageError(f"{spec.text}: a policy needs a chat template; template is a file")
        if not (self._set["template"] or self.checkpoint.has_chat_template):
            raise ConformanceError(
                f"{self.checkpoint.path} has no chat template, and a guessed one would give other "
                f"responses. Name one: {spec.with_setting('template', 'FILE.jinja')!r}"
            )
        self._template = chosen_template(spec, self.checkpoint, self._set["template"], "keep")
        self.fingerprint = self._fingerprint()
        self._tokenizer: ConversationTokenizer | None = None
        self._sampler: TorchSampler | None = None

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The policy that a spec names, without loading it."""
        return cls(spec)

    @property
    def name(self) -> str:
        """The last two parts of the path, as in `sft-7b/step-900`."""
        return "/".join(self.checkpoint.path.absolute().parts[-2:])

    def load(self) -> None:
        """Read tokenizer and weights. Does nothing when they are loaded.

        Raises:
            MissingDependencyError: torch or transformers is not installed.
            UsageError: There is no such device.
            ModelError: They cannot be loaded.
            ConformanceError: A tensor that the model needs is not among the weights.
        """
        if self._sampler is not None:
            return
        self._tokenizer = ConversationTokenizer(
            load_tokenizer(self.checkpoint),
            template=self._template,
            eos="keep",
            max_length=None,
            type_ids=False,
        )
        self._sampler = TorchSampler(
            self.checkpoint,
            dtype=self._set["dtype"],
            device=self._set["device"],
            eos_ids=self._eos_ids(self._tokenizer),
        )

    def check(self, prompts: Sequence[Prompt], decoding: Decoding) -> None:
        """Refuse prompts that leave fewer than `max_tokens` of the model's positions.

        Raises:
            UsageError: There are such prompts; the longest are named.
            ScoringError: The chat template refuses a prompt.
        """
        tokenizer, _ = self._loaded()
        self._check_lengths(prompts, tokenizer.encode_prompts(prompts), decoding)

    def sample(
        self, prompts: Sequence[Prompt], n: int, seed: int = 0, decoding: Decoding | None = None
    ) -> list[tuple[Response, ...]]:
        """N responses to each prompt; see `Policy.sample`.

        Raises:
            UsageError: It is not loaded, or prompts leave too few tokens for a response.
            ModelError: The batch does not fit in memory, or logits are not finite.
            ScoringError: The chat template refuses a prompt.
        """
        require_whole_number("n", n, 1)
        decoding = decoding or Decoding()
        tokenizer, sampler = self._loaded()
        rows = tokenizer.encode_prompts(prompts)
        self._check_lengths(prompts, rows, decoding)
        asked = [
            (row, p.prompt_id, i) for row, p in zip(rows, prompts, strict=True) for i in range(n)
        ]
        found: list[Response] = []
        for start in range(0, len(asked), self.at_once):
            batch = asked[start : start + self.at_once]
            seeds = [response_seed(seed, prompt_id, index) for _, prompt_id, index in batch]
            for ids in sampler.sample([row for row, _, _ in batch], seeds, decoding):
                found.append(Response(tokenizer.plain_text(ids), len(ids) == decoding.max_tokens))
        return [tuple(found[at : at + n]) for at in range(0, len(found), n)]

    def close(self) -> None:
        """Release weights and tokenizer; the policy can be loaded again."""
        if self._sampler is not None:
            self._sampler.close()
        self._sampler = None
        self._tokenizer = None

    def _loaded(self) -> tuple[ConversationTokenizer, TorchSampler]:
        if self._tokenizer is None or self._sampler is None:
            raise UsageError(f"{self.spec} is not loaded; call load() first")
        return self._tokenizer, self._sampler

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
        positions = self.checkpoint.model_length
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

    def _eos_ids(self, tokenizer: ConversationTokenizer) -> set[int]:
        """Tokens that end a turn: chat models name more than one, in generation_config.json."""
        found: set[int] = {tokenizer.eos_id} if tokenizer.eos_id is not None else set()
        for config in (self._generation_config(), self.checkpoint.config):
            named = config.get("eos_token_id")
            found |= set(named if isinstance(named, list) else [] if named is None else [named])
        return found

    def _generation_config(self) -> dict[str, Any]:
        path = self.checkpoint.path / _GENERATION
        if not path.is_file():
            return {}
        try:
            config: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, OSError) as error:
            raise ModelError(f"{path} cannot be read: {error}") from error
        return config

    def _fingerprint(self) -> str:
        facts: dict[str, object] = {
            "scheme": "policy:hf",
            "dtype": self._set["dtype"],
            "template": self._template,
            "transformers": installed_version("transformers"),
        }
        generation = [p for p in [self.checkpoint.path / _GENERATION] if p.is_file()]
        files = [*self.checkpoint.weight_files, *self.checkpoint.read_files, *generation]
        return fingerprint(facts, files, root=self.checkpoint.path)
