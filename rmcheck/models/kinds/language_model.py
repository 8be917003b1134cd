"""A folder of a language model that answers chats: opened without weights, and loaded to write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Self, TypeVar, cast

from rmcheck.errors import UsageError
from rmcheck.models.checkpoint.causal import CausalCheckpoint
from rmcheck.models.checkpoint.settings import Dtype
from rmcheck.models.engines.torch.causal import CausalScorer
from rmcheck.models.engines.torch.sampler import TorchSampler
from rmcheck.models.engines.vllm.generation import VllmGenerator
from rmcheck.models.engines.vllm.sampler import VllmSampler
from rmcheck.models.engines.writing import Answer
from rmcheck.models.kinds.checkpoint_settings import CheckpointSettings, Engine
from rmcheck.models.spec import ModelSpec
from rmcheck.models.text.chat_template import ChatTemplate
from rmcheck.models.text.checkpoint_tokenizer import chosen_template, installed_version
from rmcheck.models.text.tokenization import ConversationTokenizer

TokenizerT = TypeVar("TokenizerT", bound=ConversationTokenizer)


@dataclass(frozen=True)
class LanguageModel:
    """A checked folder, and what its spec says of it.

    Attributes:
        spec: The model as the user named it.
        checkpoint: The folder.
        template: What writes a conversation.
        settings: What its spec says; the type of its weights is chosen.
        limit: Most tokens of a row; None means no limit, or leaves it to vLLM.
    """

    spec: str
    checkpoint: CausalCheckpoint
    template: ChatTemplate
    settings: CheckpointSettings
    limit: int | None

    @classmethod
    def read(
        cls,
        spec: ModelSpec,
        settings: CheckpointSettings,
        checkpoint: CausalCheckpoint,
        limit: int | None,
        what: str,
    ) -> Self:
        """What settings say, each read once.

        Args:
            spec: The scheme is the engine's; relative paths are relative to its base.
            settings: What it says.
            checkpoint: The folder, already checked.
            limit: Most tokens of a row.
            what: For messages: `a policy`.

        Raises:
            UsageError: A value is impossible.
            ModelError: There is no tokenizer.
            ConformanceError: There is no chat template, or it reads the clock.
        """
        if settings.template == "pair":
            raise UsageError(f"{spec.text}: {what} needs a chat template; template is a file")
        template = chosen_template(spec, checkpoint, settings.template, settings.date)
        engine: Engine = "vllm" if spec.scheme == "vllm" else "hf"
        chosen = replace(settings, engine=engine).for_weights(checkpoint)
        return cls(spec.text, checkpoint, template, chosen, limit)

    @property
    def on_vllm(self) -> bool:
        """Whether vLLM runs it; else torch does."""
        return self.settings.engine == "vllm"

    @property
    def dtype(self) -> Dtype:
        """Type of weights and activations."""
        return cast(Dtype, self.settings.dtype)

    def fingerprint(self, **facts: object) -> str:
        """Of the folder's files, all that changes its answers beside them, and more facts."""
        facts |= {"dtype": self.dtype, "transformers": installed_version("transformers")}
        facts |= {**self.settings.versions, **self.template.facts}
        return self.checkpoint.fingerprint(facts, self.checkpoint.generation_files)

    def scorer(self) -> CausalScorer | VllmGenerator:
        """The weights, loaded to give tokens probabilities."""
        if self.on_vllm:
            return VllmGenerator(
                self.checkpoint, dtype=self.dtype, max_length=self.limit, place=self.settings.place
            )
        return CausalScorer(
            self.checkpoint,
            dtype=self.dtype,
            device=self.settings.device,
            attention=self.settings.attention,
        )

    def writer(
        self, tokenizer: TokenizerT, schema: Mapping[str, object] | None = None
    ) -> "Writer[TokenizerT]":
        """The weights, loaded to write.

        Args:
            tokenizer: Its tokenizer.
            schema: JSON schema that answers are held to on vLLM; torch writes as it likes.
        """
        own = {tokenizer.eos_id} if tokenizer.eos_id is not None else set()
        ends = self.checkpoint.end_ids | own
        if self.on_vllm:
            sampler: TorchSampler | VllmSampler = VllmSampler(
                self.checkpoint,
                spec=self.spec,
                dtype=self.dtype,
                max_length=self.limit,
                place=self.settings.place,
                end_ids=ends,
                schema=schema,
            )
        else:
            sampler = TorchSampler(
                self.checkpoint, dtype=self.dtype, device=self.settings.device, eos_ids=ends
            )
        return Writer(tokenizer, sampler)


@dataclass(frozen=True)
class Writer(Generic[TokenizerT]):
    """A loaded language model that writes.

    Attributes:
        tokenizer: Its tokenizer.
        sampler: Its weights.
    """

    tokenizer: TokenizerT
    sampler: TorchSampler | VllmSampler

    @property
    def alive(self) -> bool:
        """False once its process has died."""
        return self.sampler.alive

    def answers(
        self,
        rows: Sequence[Sequence[int]],
        seeds: Sequence[int],
        *,
        temperature: float,
        max_tokens: int,
    ) -> list[Answer]:
        """What is written after each row; see `Sampler.sample`."""
        drawn = self.sampler.sample(rows, seeds, temperature=temperature, max_tokens=max_tokens)
        return [Answer(self.tokenizer.plain_text(ids), len(ids) >= max_tokens) for ids in drawn]
