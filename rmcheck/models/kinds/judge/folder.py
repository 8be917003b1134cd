"""Judges in this process: `hf:DIR` and `vllm:DIR` as the engine of a judge."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from rmcheck.errors import UsageError
from rmcheck.models.checkpoint import settings as known
from rmcheck.models.checkpoint.causal import CausalCheckpoint
from rmcheck.models.checkpoint.settings import PrefixRule
from rmcheck.models.engines.vllm.generation import MOST_TOKENS
from rmcheck.models.engines.vllm.placement import SETTINGS as PLACEMENT
from rmcheck.models.engines.vllm.sampler import LEAST_TEMPERATURE
from rmcheck.models.kinds.checkpoint_settings import CheckpointSettings
from rmcheck.models.kinds.judge.engine import JudgeEngine
from rmcheck.models.kinds.judge.file import JudgeFile
from rmcheck.models.kinds.judge.folder_session import FolderAnswers, FolderOdds
from rmcheck.models.kinds.judge.read import Read, Written, YesNo
from rmcheck.models.kinds.judge.tokenizer import JudgeTokenizer
from rmcheck.models.kinds.language_model import LanguageModel
from rmcheck.models.spec import ModelSpec, Setting, check_settings
from rmcheck.models.text.checkpoint_tokenizer import installed_version, load_tokenizer, token_limit

_TEXT = (known.BASE, known.MAX_LENGTH, known.TEMPLATE, known.DATE)
SETTINGS: Mapping[str, tuple[Setting, ...]] = {
    "hf": (known.DTYPE, known.DEVICE, *_TEXT, known.ATTENTION, known.PREFIX),
    "vllm": (known.DTYPE, *_TEXT, *PLACEMENT),
}


@dataclass(frozen=True)
class FolderJudge(JudgeEngine):
    """A checkpoint folder of a causal language model, with its own chat template.

    Attributes:
        judge: What is asked and how the answer is read.
        model: The folder, and what its spec says of it.
        prefix: Whether what questions begin with is computed once, as its user says.
    """

    judge: JudgeFile
    model: LanguageModel
    prefix: PrefixRule = "off"

    @classmethod
    def opened(cls, spec: ModelSpec, judge: JudgeFile) -> Self:
        """The folder that a spec names.

        Raises:
            UnknownModelError: No folder, no config.json, or no weights.
            UsageError: A setting's value is impossible.
            ModelError: The weights are pickled, damaged, or an adapter; or there is no tokenizer.
            ConformanceError: It is no causal language model, or has no chat template.
        """
        check_settings(spec, SETTINGS[spec.scheme])
        settings = CheckpointSettings.read(spec, SETTINGS[spec.scheme])
        checkpoint = CausalCheckpoint.of(spec)
        checkpoint.check()
        limit = token_limit(spec, checkpoint, settings.max_length)
        model = LanguageModel.read(spec, settings, checkpoint, limit, "a judge")
        _check_read(spec, settings, judge.read)
        return cls(judge, model, settings.prefix)

    @property
    def name(self) -> str:
        """The last two parts of the path, as in `judge-7b/final`."""
        return self.model.checkpoint.short_name

    @property
    def fingerprint(self) -> str:
        """Weights, tokenizer, chat template, type, engine and its version."""
        facts: dict[str, object] = {"max_length": self.model.limit, "scheme": f"judge:{self._name}"}
        if not self.model.on_vllm:
            facts["attention"] = self.model.settings.attention
        return self.model.fingerprint(**facts)

    @property
    def description(self) -> Mapping[str, str]:
        """Architecture, path, conventions, versions; the device is `auto` until loaded."""
        checkpoint = self.model.checkpoint
        return {
            "engine": self._name,
            "architecture": checkpoint.architecture,
            **checkpoint.described,
            "dtype": self.model.dtype,
            "quantisation": checkpoint.quantisation,
            "chat template": self.model.template.described(self.model.settings.template),
            "max_length": str(self.model.limit or "no limit"),
            "transformers": installed_version("transformers"),
            # vLLM makes its own batches.
            **(self.model.settings.versions or {"device": "auto", "prefix": self.prefix}),
        }

    def for_odds(self, read: YesNo) -> FolderOdds:
        tokenizer = self._tokenizer(1)
        yes, no = tokenizer.words(read)
        return FolderOdds(self.model, tokenizer, self.model.scorer(), read, yes, no)

    def for_answers(self, read: Written) -> FolderAnswers:
        writer = self.model.writer(self._tokenizer(read.max_tokens), read.schema)
        return FolderAnswers(self.model, writer.tokenizer, writer.sampler, read)

    @property
    def _name(self) -> str:
        return "vllm" if self.model.on_vllm else "hf"

    def _tokenizer(self, room: int) -> JudgeTokenizer:
        """Makes the token ids of questions that leave room for so many tokens."""
        return JudgeTokenizer(
            load_tokenizer(self.model.checkpoint),
            chat_template=self.model.template,
            question=self.judge.question,
            system=self.judge.system,
            max_length=self.model.limit,
            room=room,
        )


def _check_read(spec: ModelSpec, settings: CheckpointSettings, read: Read) -> None:
    """Refuse what an engine cannot read."""
    if isinstance(read, YesNo):
        if spec.scheme == "vllm" and len(read.yes) + len(read.no) > MOST_TOKENS:
            raise UsageError(f"{spec.text}: vLLM shows at most {MOST_TOKENS} words")
        return
    for name in ("attention", "prefix"):
        if spec.settings.get(name, "auto") != "auto":
            raise UsageError(f"{spec.text}: {name} is for yes and no; remove {name}=")
    if spec.scheme == "vllm" and 0 < read.temperature < LEAST_TEMPERATURE:
        raise UsageError(
            f"{spec.text}: temperature is {read.temperature:g}; vLLM samples at 0 or at "
            f"{LEAST_TEMPERATURE} and more"
        )
