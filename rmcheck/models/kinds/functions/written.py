"""Prompts as the text that a trainer has of them."""

from collections.abc import Sequence

from rmcheck.errors import ScoringError
from rmcheck.models.checkpoint.fingerprint import fingerprint
from rmcheck.models.sample import Sample
from rmcheck.models.spec import ModelSpec
from rmcheck.models.text.checkpoint_tokenizer import (
    chosen_template,
    load_tokenizer,
    tokenizer_folder,
)
from rmcheck.models.text.tokenization import ConversationTokenizer
from rmcheck.pool.pool import Prompt


class WrittenPrompts:
    """Writes prompts as a policy reads them, or as they are in the data.

    Args:
        spec: The model as the user named it.
        tokenizer: Folder of the policy's tokenizer, whose chat template writes prompts; empty where
            the trainer applies none, and a prompt is the text of its one user turn.

    Raises:
        UsageError, ModelError, ConformanceError: There is no such folder, or no template in it.
    """

    def __init__(self, spec: ModelSpec, tokenizer: str) -> None:
        self._spec = spec.text
        self._folder = tokenizer_folder(spec, spec.resolve(tokenizer)) if tokenizer else None
        self._template = chosen_template(spec, self._folder) if self._folder else None
        self._tokenizer: ConversationTokenizer | None = None

    def fingerprint(self, function: str) -> str:
        """Of a function that gets these prompts: 64 hex digits, other ones for another template."""
        if self._folder is None:
            return function
        return fingerprint({"function": function}, self._folder.read_files, root=self._folder.path)

    def texts(self, samples: Sequence[Sample]) -> list[str]:
        """The prompt of each sample, as it is written.

        Raises:
            ScoringError: A prompt is several turns and no template writes it, or the template
                refuses it.
        """
        if self._folder is None:
            return [plain_prompt(self._spec, sample) for sample in samples]
        return self._loaded().prompt_texts([_prompt(sample) for sample in samples])

    def read(self, samples: Sequence[Sample]) -> list[str]:
        """The prompt of each sample as a policy reads it: its tokens as a text.

        Raises:
            ScoringError: As of `texts`.
        """
        if self._folder is None:
            return self.texts(samples)
        tokenizer = self._loaded()
        rows = tokenizer.encode_prompts([_prompt(sample) for sample in samples])
        return [tokenizer.text(ids) for ids in rows]

    @property
    def is_template(self) -> bool:
        """Whether a chat template writes prompts."""
        return self._folder is not None

    @property
    def end(self) -> str:
        """What a policy closes an answer with; empty without a tokenizer."""
        if self._folder is None:
            return ""
        eos = self._loaded().eos_id
        return "" if eos is None else self._loaded().text([eos])

    def _loaded(self) -> ConversationTokenizer:
        if self._tokenizer is None:
            assert self._folder is not None
            assert self._template is not None
            self._tokenizer = ConversationTokenizer(
                load_tokenizer(self._folder), template=self._template
            )
        return self._tokenizer


def _prompt(sample: Sample) -> Prompt:
    return Prompt(sample.prompt_id, sample.messages, (), {})


def plain_prompt(spec: str, sample: Sample) -> str:
    """The text of a prompt's one user turn.

    Raises:
        ScoringError: It has more turns.
    """
    if len(sample.messages) != 1:
        raise ScoringError(
            f"{spec}: prompt {sample.prompt_id!r} is {len(sample.messages)} turns, and no text "
            "until a chat template writes it"
        )
    return sample.messages[0].content
