"""A folder of a language model that answers chats: opened without weights, and loaded to write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from rmcheck.errors import UsageError
from rmcheck.models.checkpoint.causal import CausalCheckpoint
from rmcheck.models.checkpoint.settings import Dtype, chosen_dtype
from rmcheck.models.engines.torch.causal import CausalScorer
from rmcheck.models.engines.torch.sampler import TorchSampler
from rmcheck.models.engines.vllm.engine import vllm_version
from rmcheck.models.engines.vllm.generation import VllmGenerator
from rmcheck.models.engines.vllm.placement import Placement
from rmcheck.models.engines.vllm.sampler import VllmSampler
from rmcheck.models.engines.writing import Answer
from rmcheck.models.spec import ModelSpec, check_device
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
        on_vllm: Whether vLLM runs it; else torch does.
        template: What writes a conversation.
        template_source: Where that comes from.
        dtype: Type of weights and activations.
        device: What torch runs it on: `auto`, `cpu`, `cuda` or `cuda:N`.
        attention: Which attention torch runs, or `auto`.
        place: The devices that vLLM runs it on.
        limit: Most tokens of a row; None means no limit, or leaves it to vLLM.
    """

    spec: str
    checkpoint: CausalCheckpoint
    on_vllm: bool
    template: ChatTemplate
    template_source: str
    dtype: Dtype
    device: str
    attention: str
    place: Placement
    limit: int | None

    @classmethod
    def read(
        cls,
        spec: ModelSpec,
        values: Mapping[str, str],
        checkpoint: CausalCheckpoint,
        limit: int | None,
        what: str,
    ) -> Self:
        """What settings say, each read once.

        Args:
            spec: The scheme is the engine's; relative paths are relative to its base.
            values: Value of each setting that the scheme has, `dtype`, `template` and `date` among
                them.
            checkpoint: The folder, already checked.
            limit: Most tokens of a row.
            what: For messages: `a policy`.

        Raises:
            UsageError: A value is impossible.
            ModelError: There is no tokenizer.
            ConformanceError: There is no chat template, or it reads the clock.
        """
        named, device = values["template"], values.get("device", "auto")
        dtype = chosen_dtype(values, checkpoint)
        if named == "pair":
            raise UsageError(f"{spec.text}: {what} needs a chat template; template is a file")
        template = chosen_template(spec, checkpoint, named, "keep", values["date"])
        check_device(spec.text, device)
        return cls(
            spec=spec.text,
            checkpoint=checkpoint,
            on_vllm=spec.scheme == "vllm",
            template=template,
            template_source=template.described(named),
            dtype=dtype,
            device=device,
            attention=values.get("attention", "auto"),
            place=Placement.read(spec, values),
            limit=limit,
        )

    @property
    def versions(self) -> dict[str, str]:
        """Of what runs it."""
        return {"vllm": vllm_version(), **self.place.facts} if self.on_vllm else {}

    def fingerprint(self, **facts: object) -> str:
        """Of the folder's files, all that changes its answers beside them, and more facts."""
        facts |= {"dtype": self.dtype, "transformers": installed_version("transformers")}
        facts |= {**self.versions, **self.template.facts}
        return self.checkpoint.fingerprint(facts, self.checkpoint.generation_files)

    def scorer(self) -> CausalScorer | VllmGenerator:
        """The weights, loaded to give tokens probabilities."""
        if self.on_vllm:
            return VllmGenerator(
                self.checkpoint, dtype=self.dtype, max_length=self.limit, place=self.place
            )
        return CausalScorer(
            self.checkpoint, dtype=self.dtype, device=self.device, attention=self.attention
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
                place=self.place,
                end_ids=ends,
                schema=schema,
            )
        else:
            sampler = TorchSampler(
                self.checkpoint, dtype=self.dtype, device=self.device, eos_ids=ends
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
