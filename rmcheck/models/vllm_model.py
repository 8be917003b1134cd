"""Reward models that vLLM runs in this process: `vllm:DIR`."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import PartialScoringError, RmcheckError, ScoringError, UsageError
from rmcheck.models.checkpoint import Checkpoint
from rmcheck.models.checkpoint_tokenizer import (
    chosen_template,
    installed_version,
    load_tokenizer,
    token_limit,
)
from rmcheck.models.fingerprint import fingerprint
from rmcheck.models.model import (
    Encoded,
    RewardModel,
    Sample,
    TooLong,
    checked_rewards,
    named_prompts,
)
from rmcheck.models.spec import ModelSpec, Setting, check_settings
from rmcheck.models.tokenization import ConversationTokenizer, EosRule
from rmcheck.models.torch_scorer import PositionRule, brief
from rmcheck.models.vllm_conformance import prove
from rmcheck.models.vllm_engine import share_of_memory, vllm_version
from rmcheck.models.vllm_pooling import VllmPooling


class VllmRewardModel(RewardModel):
    """A folder in transformers' layout, decoder or encoder, that vLLM scores.

    Same checks, template, token ids and settings as `hf:`, another engine. Opening one reads
    config.json and the safetensors headers and hashes the files; vLLM is imported by `load`.
    Loading one closes the vLLM model that is loaded, if any; that one can be loaded again.

    The engine and its version are part of the fingerprint. Its rewards differ from those of
    `hf:` by 1e-5 in float32 and by up to 0.2 in bfloat16, and two checkpoints must not be
    compared across that. The prefix cache and the memory are no part of it: rewards with the cache
    must agree with those without, to rounding, before it is used.

    Args:
        spec: Where the folder is, and settings that differ from the defaults.

    Raises:
        UnknownModelError: No folder, no config.json, or no weights.
        UsageError: A setting's value is impossible.
        ModelError: The weights are pickled, damaged, or an adapter.
        ConformanceError: No reward head, several logits without `head`, or no chat template.
    """

    scheme: ClassVar[str] = "vllm"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("dtype", ("float32", "bfloat16", "float16"), "float32", closed=True),
        Setting("head", ("NAME", "INDEX", "NAME:WEIGHT,NAME:WEIGHT")),
        Setting("max_length", ("N",)),
        Setting("template", ("FILE.jinja", "pair")),
        Setting("eos", ("keep", "append", "strip"), "keep", closed=True),
        Setting("position", ("auto", "last", "transformers"), "auto", closed=True),
        Setting("prefix_cache", ("auto", "on", "off"), "auto", closed=True),
        Setting("gpu_memory", ("SHARE",)),
        Setting("trust_remote_code", ("no", "yes"), "no", closed=True),
    )

    def __init__(self, spec: ModelSpec) -> None:
        self._set = check_settings(spec, self.settings)
        self.spec = spec.text
        self.checkpoint = Checkpoint(spec.path, self._set["trust_remote_code"] == "yes")
        self.checkpoint.check()
        self.head = self.checkpoint.head(self._set["head"], spec.text)
        self._limit = token_limit(spec, self.checkpoint, self._set["max_length"])
        self._template = chosen_template(
            spec, self.checkpoint, self._set["template"], self._set["eos"]
        )
        self._memory = share_of_memory(spec, self._set["gpu_memory"])
        self.fingerprint = self._fingerprint()
        self._engine: VllmPooling | None = None
        self._tokenizer: ConversationTokenizer | None = None

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The model that a spec names, without loading it."""
        return cls(spec)

    @property
    def name(self) -> str:
        """The last two parts of the path, as in `rm-7b/step-4200`."""
        return "/".join(self.checkpoint.path.absolute().parts[-2:])

    @property
    def description(self) -> Mapping[str, str]:
        """Architecture, dtype, conventions, versions.

        There is no `device`: vLLM makes its own batches, so that rmcheck's are not sized by one.
        """
        return {
            "architecture": self.checkpoint.architecture,
            "path": str(self.checkpoint.path),
            "dtype": self.dtype,
            "quantisation": self.checkpoint.quantisation,
            "head": str(self.head),
            "max_length": str(self.max_length or "vLLM's limit"),
            "template": self.template_source,
            "eos": self._set["eos"],
            "position": self.position,
            "prefix_cache": self.prefix_cache,
            "vllm": vllm_version(),
            "transformers": installed_version("transformers"),
        }

    @property
    def dtype(self) -> Literal["float32", "bfloat16", "float16"]:
        """Type of weights and activations."""
        return cast(Literal["float32", "bfloat16", "float16"], self._set["dtype"])

    @property
    def max_length(self) -> int | None:
        """Most tokens of a conversation; None while only vLLM could say it, before loading."""
        return self._engine.max_length if self._engine else self._limit

    @property
    def template_source(self) -> str:
        """Where the chat template comes from."""
        return self._set["template"] or "the tokenizer's own"

    @property
    def position(self) -> PositionRule:
        """The `position` setting."""
        return cast(PositionRule, self._set["position"])

    @property
    def prefix_cache(self) -> Literal["auto", "on", "off"]:
        """The `prefix_cache` setting."""
        return cast(Literal["auto", "on", "off"], self._set["prefix_cache"])

    @property
    def tokenizer(self) -> ConversationTokenizer:
        """The loaded tokenizer."""
        if self._tokenizer is None:
            raise UsageError(f"{self.spec} is not loaded; call load() first")
        return self._tokenizer

    @property
    def scorer(self) -> VllmPooling:
        """The loaded engine."""
        if self._engine is None or not self._engine.loaded:
            raise UsageError(
                f"{self.spec} is not loaded; call load() first (loading another vLLM model closes "
                "this one)"
            )
        return self._engine

    def load(self) -> None:
        """Read tokenizer and weights. Does nothing when they are loaded.

        Raises:
            MissingDependencyError: vLLM is not installed.
            ModelError: vLLM cannot load the folder, or not in the memory that there is.
        """
        if self._engine is not None and self._engine.loaded:
            return
        self._engine = VllmPooling(
            self.checkpoint,
            dtype=self.dtype,
            head=self.head,
            position=self.position,
            max_length=self._limit,
            memory=self._memory,
            prefix_cache=self.prefix_cache != "off",
        )
        self._tokenizer = ConversationTokenizer(
            load_tokenizer(self.checkpoint),
            template=self._template,
            eos=cast(EosRule, self._set["eos"]),
            max_length=self._engine.max_length,
            type_ids=self.checkpoint.takes_type_ids,
        )

    def encode(self, samples: Sequence[Sample], too_long: TooLong = "error") -> list[Encoded]:
        """Token ids of each sample; see `ConversationTokenizer.encode`.

        Raises:
            ScoringError: A conversation is too long, or has ids that the model has no embedding
                for; all of them are named.
        """
        encoded = self.tokenizer.encode(samples, too_long)
        size = self.checkpoint.config.get("vocab_size")
        outside = [e for e in encoded if isinstance(size, int) and max(e.ids) >= size]
        if outside:
            raise ScoringError(
                f"{self.spec}: the tokenizer gives ids up to {max(max(e.ids) for e in outside)}, "
                f"but the model has {size} embeddings; prompts "
                f"{named_prompts([e.sample for e in outside])}"
            )
        return encoded

    def prove(self, encoded: Sequence[Encoded]) -> None:
        """Fill the conformance page and decide about the prefix cache.

        See `rmcheck.models.vllm_conformance`.
        """
        self.conformance = prove(self, encoded)
        self.shares_prefixes = self.scorer.reads_cache
        self.prefix_block = self.scorer.block_size

    def score(self, batch: Sequence[Encoded]) -> NDArray[np.float64]:
        """(len(batch),) raw logits.

        Raises:
            ScoringError: A reward is NaN or infinite.
            PartialScoringError: vLLM fails on some samples, which are named, even one by one.
            MemoryError: The batch does not fit.
        """
        if not batch:
            return np.zeros(0)
        try:
            rewards = self._rewards(batch)
        except (MemoryError, RmcheckError):
            raise
        # What an engine raises is any error of vLLM, torch or a kernel.
        except Exception as error:
            rewards = self._one_by_one(batch, error)
        return checked_rewards(rewards, batch, self.spec)

    def close(self) -> None:
        """Release weights and tokenizer; the model can be loaded again."""
        if self._engine is not None:
            self._engine.close()
        self._engine = None
        self._tokenizer = None

    def _rewards(self, batch: Sequence[Encoded]) -> NDArray[np.float64]:
        return self.scorer.rewards([e.ids for e in batch], [e.type_ids for e in batch])

    def _one_by_one(self, batch: Sequence[Encoded], error: Exception) -> NDArray[np.float64]:
        """The rewards of a batch that failed as a whole, if each sample alone has one."""
        rewards: dict[int, float] = {}
        failed = []
        for i, one in enumerate(batch):
            try:
                rewards[i] = float(self._rewards([one])[0])
            except Exception as again:
                failed.append(one.sample)
                error = again
        if failed:
            first = failed[0]
            raise PartialScoringError(
                f"{self.spec}: vLLM fails on {len(failed)} of {len(batch)} samples, even one by "
                f"one. The first is prompt {first.prompt_id!r}, response {first.index}; prompts "
                f"{named_prompts(failed)}. {brief(error)}",
                rewards,
                goes_on=bool(rewards),
            ) from error
        return np.array(list(rewards.values()))

    def _fingerprint(self) -> str:
        facts: dict[str, object] = {
            "scheme": self.scheme,
            "head": self.head.key,
            "max_length": self._limit,
            "template": self._template,
            "vllm": vllm_version(),
            "transformers": installed_version("transformers"),
        }
        facts |= {name: self._set[name] for name in ("dtype", "eos", "position")}
        files = [*self.checkpoint.weight_files, *self.checkpoint.read_files]
        return fingerprint(facts, files, root=self.checkpoint.path)
