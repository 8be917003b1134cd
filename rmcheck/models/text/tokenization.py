"""The one place where a conversation becomes token ids.

Every engine receives these ids, so none applies a template or adds a BOS of its own.
"""

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rmcheck.errors import ConformanceError, ScoringError
from rmcheck.models.libraries import brief
from rmcheck.models.sample import Encoded, Sample, TooLong, named_prompts
from rmcheck.models.text.chat_template import ChatTemplate
from rmcheck.models.text.confined import ConfinedError, confined
from rmcheck.models.text.template_tools import Run, left_out
from rmcheck.pool.pool import Message, Prompt
from rmcheck.pool.tool_calls import CALLS, apart, turns

EosRule = Literal["keep", "append", "strip"]
# Conversations rendered and tokenised in one call; more only costs memory.
_AT_ONCE = 1024


class ConversationTokenizer:
    """Turns samples into token ids, always in the same way.

    Args:
        tokenizer: A transformers tokenizer.
        template: What writes a conversation, or the tokenizer's text pair (see `pair_texts`).
        eos: What to do about a closing EOS after the template: `keep` whatever is there,
            `append` one where the last id is another, `strip` those at the end.
        max_length: Most tokens the model takes; None means no limit.
        type_ids: Whether the model takes type ids for a text pair. Tokenizers give them either
            way, and GPT-2 would read them as tokens.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        template: ChatTemplate,
        eos: EosRule = "keep",
        max_length: int | None = None,
        type_ids: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._eos = eos
        self.max_length = max_length
        self._type_ids = type_ids
        # One int object a token id instead of one a token: a quarter of the memory.
        self._shared: dict[int, int] = {}
        self._with_tools: set[str] = set()

    @property
    def bos_id(self) -> int | None:
        """Id of the token that opens a text, where the tokenizer has one."""
        bos: int | None = self._tokenizer.bos_token_id
        return bos

    @property
    def eos_id(self) -> int | None:
        """Id of the token that closes a text, where the tokenizer has one."""
        eos: int | None = self._tokenizer.eos_token_id
        return eos

    def text(self, ids: Sequence[int]) -> str:
        """The ids as text, special tokens shown."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def encode(self, samples: Sequence[Sample], too_long: TooLong) -> list[Encoded]:
        """What the model will read for each sample, in order.

        Args:
            samples: Any number.
            too_long: Refuse conversations over `max_length`, or cut their beginning (`left`, a
                leading BOS or CLS stays) or their end (`right`).

        Raises:
            ScoringError: The template refuses a conversation, one is empty, or some are too long;
                the prompts are named.
            ConformanceError: The conversation begins with two BOS.
        """
        encoded: list[Encoded] = []
        over: list[tuple[Sample, int]] = []
        for start in range(0, len(samples), _AT_ONCE):
            chunk = samples[start : start + _AT_ONCE]
            for sample, (ids, types) in zip(chunk, self._ids(chunk), strict=True):
                self._check(sample, ids)
                if self.max_length is not None and len(ids) > self.max_length:
                    over.append((sample, len(ids)))
                encoded.append(self._encoded(sample, ids, types, too_long))
        if over and too_long == "error":
            raise ScoringError(self._over_message(over, len(samples)))
        return encoded

    def encode_prompts(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Token ids that a policy answers: the conversation, and the opening of the answer.

        Raises:
            ScoringError: The template refuses a prompt, or one has no tokens.
            ConformanceError: A conversation begins with two BOS.
        """
        rows = []
        for prompt in prompts:
            row: list[int] = self._opened(prompt, tokenize=True)
            self._check(Sample(prompt.prompt_id, 0, prompt.messages, ""), row)
            rows.append(row)
        return rows

    def prompt_texts(self, prompts: Sequence[Prompt]) -> list[str]:
        """The same as texts, as the template writes them.

        Raises:
            ScoringError: The template refuses a prompt.
        """
        return [self._opened(prompt, tokenize=False) for prompt in prompts]

    def _opened(self, prompt: Prompt, *, tokenize: bool) -> Any:
        with refusals(f"prompt {prompt.prompt_id!r} (roles: {roles(prompt.messages)})"):
            turned = [turns(prompt.messages)]
            return self._apply(turned, tokenize=tokenize, generation_prompt=True)[0]

    def written(self, conversations: Sequence[list[dict[str, Any]]]) -> list[str]:
        """Each conversation as the text that the template writes.

        Raises:
            ScoringError: The template refuses one.
        """
        with refusals("a conversation"):
            texts: list[str] = self._apply(list(conversations), tokenize=False)
        return texts

    def reread(self, text: str) -> str:
        """The text as it is once its tokens are written out again."""
        return self.text(self._tokens(text, add_special_tokens=False)["input_ids"])

    def plain_text(self, ids: Sequence[int]) -> str:
        """The ids as text, special tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    @property
    def class_name(self) -> str:
        """Name of the tokenizer's class, which transformers chooses by the model type."""
        return type(self._tokenizer).__name__

    def differing_from_file(self, path: Path, samples: Sequence[Sample]) -> int | None:
        """How many samples get other ids than the tokenizer file alone would give them.

        Returns:
            Their number; None where there is no such file, or no template to write the text.
        """
        if self._template.source == "pair" or not path.is_file():
            return None
        from tokenizers import Tokenizer

        plain = Tokenizer.from_file(str(path))
        plain.no_truncation()
        plain.no_padding()
        texts = self._apply([conversation(sample) for sample in samples], tokenize=False)
        rows = self._apply([conversation(sample) for sample in samples])
        differing: int = sum(
            plain.encode(text, add_special_tokens=False).ids != row
            for text, row in zip(texts, rows, strict=True)
        )
        return differing

    def _ids(self, samples: Sequence[Sample]) -> list[tuple[list[int], list[int]]]:
        if self._template.source == "pair":
            out = self._tokens(
                *pair_texts(samples),
                add_special_tokens=True,
                return_attention_mask=False,
                return_token_type_ids=self._type_ids,
            )
            types: list[list[int]] = (
                out["token_type_ids"] if self._type_ids else [[]] * len(samples)
            )
            return list(zip(out["input_ids"], types, strict=True))
        conversations = [conversation(sample) for sample in samples]
        try:
            rows = self._apply(conversations)
        except ConfinedError as error:
            with refusals(_answered(samples[error.place])):
                raise
        except Exception:  # of whichever sample
            rows = []
            for sample, messages in zip(samples, conversations, strict=True):
                with refusals(_answered(sample)):
                    rows += self._apply([messages])
        return [(self._with_eos_rule(row), []) for row in rows]

    def _apply(
        self,
        conversations: list[list[dict[str, Any]]],
        *,
        tokenize: bool = True,
        generation_prompt: bool = False,
    ) -> Any:
        """Ids, or texts, of conversations, as `apply_chat_template` gives them.

        Raises:
            ConfinedError: The template refuses one, or writes none of its calls of tools.
        """
        runs: list[Run] = [apart(turns) for turns in conversations]
        for place, run in enumerate(runs):
            self._require_tools(run, place)
        if self._has_own_code():
            return [self._by_own_code(run, tokenize, generation_prompt) for run in runs]
        texts = self._texts(runs, generation_prompt)
        return self._tokens(texts, add_special_tokens=False)["input_ids"] if tokenize else texts

    def _texts(self, runs: Sequence[Run], generation_prompt: bool = False) -> list[str]:
        """What the template writes, as `apply_chat_template` of transformers does.

        A tokenizer may have another one where tools are on offer.
        """
        facts = {"documents": None, "add_generation_prompt": generation_prompt}
        variables = self._tokenizer.special_tokens_map | facts
        known = {"date": self._template.date, "variables": variables}
        conversations = [{"messages": turns, "tools": tools} for turns, tools in runs]
        named = self._template.source
        sources = [self._tokenizer.get_chat_template(named, tools=tools) for _, tools in runs]
        texts: dict[int, str] = {}
        for source in dict.fromkeys(sources):
            at = [i for i, one in enumerate(sources) if one == source]
            try:
                these = [conversations[i] for i in at]
                written = confined("chat", these, source=source, **known)
            except ConfinedError as error:
                raise ConfinedError(str(error), at[error.place]) from error
            texts |= zip(at, written, strict=True)
        return [texts[i] for i in range(len(runs))]

    def _by_own_code(self, run: Run, tokenize: bool, generation_prompt: bool = False) -> Any:
        turns, tools = run
        return self._tokenizer.apply_chat_template(
            turns,
            tools=tools,
            chat_template=self._template.source,
            tokenize=tokenize,
            add_generation_prompt=generation_prompt,
            return_dict=False,
        )

    def _require_tools(self, run: Run, place: int) -> None:
        """Refuse a template that leaves calls of tools out."""
        turns, tools = run
        if not (tools or any(CALLS in turn for turn in turns)):
            return
        asked = json.dumps([turns[:-1], tools])  # which many responses share
        if asked in self._with_tools:
            return
        own = self._has_own_code()
        what = left_out(
            run, lambda one: self._by_own_code(one, False) if own else self._texts([one])[0]
        )
        if what:
            raise ConfinedError(
                f"its text is the same without {what}, so no reward would depend on it; name a "
                "template that writes it (template=FILE.jinja), or write it into the content of a "
                "turn",
                place,
            )
        self._with_tools.add(asked)

    def _has_own_code(self) -> bool:
        """Whether conversations are written by Python of the folder, which was trusted."""
        from transformers import PreTrainedTokenizerBase

        own: object = type(self._tokenizer).apply_chat_template
        return own is not PreTrainedTokenizerBase.apply_chat_template

    def _tokens(self, *texts: str | list[str], **options: Any) -> Any:
        """What the tokenizer gives for texts.

        Raises:
            ScoringError: It panics.
        """
        try:
            return self._tokenizer(*texts, **options)
        except BaseException as error:
            # What its Rust raises is no Exception, and comes from no module.
            if type(error).__name__ != "PanicException":
                raise
            raise ScoringError(f"the tokenizer fails: {brief(error)}") from error

    def _with_eos_rule(self, ids: list[int]) -> list[int]:
        eos = self.eos_id
        if eos is None or self._eos == "keep":
            return ids
        if self._eos == "append":
            return ids if ids[-1:] == [eos] else [*ids, eos]
        while ids and ids[-1] == eos:
            ids = ids[:-1]
        return ids

    def _check(self, sample: Sample, ids: Sequence[int]) -> None:
        if not ids:
            raise ScoringError(
                f"prompt {sample.prompt_id!r}, response {sample.index} has no tokens at all"
            )
        if self.bos_id is not None and list(ids[:2]) == [self.bos_id] * 2:
            raise ConformanceError(
                f"prompt {sample.prompt_id!r} begins with two BOS: ids {list(ids[:6])}, text "
                f"{self.text(ids[:6])!r}. The chat template must write one BOS at most"
            )

    def _encoded(
        self, sample: Sample, ids: list[int], types: list[int], too_long: TooLong
    ) -> Encoded:
        cut = 0
        if self.max_length is not None and len(ids) > self.max_length and too_long != "error":
            cut = len(ids) - self.max_length
            start = len(ids) - cut if too_long == "right" else self._opening(ids)
            ids = ids[:start] + ids[start + cut :]
            types = types[:start] + types[start + cut :]
        row = tuple(map(self._shared.setdefault, ids, ids))
        return Encoded(input_key(ids, types), len(row), row, tuple(types), cut, sample)

    def _opening(self, ids: Sequence[int]) -> int:
        """1 when the ids open with a BOS or CLS, which cutting on the left must keep, else 0."""
        cls: int | None = getattr(self._tokenizer, "cls_token_id", None)
        return int(ids[0] in {self.bos_id, cls})

    def _over_message(self, over: list[tuple[Sample, int]], total: int) -> str:
        longest = sorted(over, key=lambda pair: -pair[1])[:3]
        examples = ", ".join(f"{s.prompt_id!r} response {s.index}: {n}" for s, n in longest)
        what, advice = self._too_long
        return (
            f"{len(over)} of {total} {what}. Longest: {examples}. Prompts: "
            f"{named_prompts([s for s, _ in over])}. {advice}"
        )

    @property
    def _too_long(self) -> tuple[str, str]:
        """What is wrong with texts that are too long, and what to do."""
        return (
            f"conversations are longer than the {self.max_length} tokens that the model takes",
            "Shorten them, or allow cutting: `too_long: left` in the suite, or --too-long=left "
            "where there is none, keeps the response; `right` keeps the beginning",
        )


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Whatever a template raises about something, as one error that names it.

    Raises:
        ScoringError: The template refuses it.
    """
    try:
        yield
    # A template is a program of its own: it may raise anything.
    except Exception as error:
        raise ScoringError(f"the chat template refuses {what}: {error}") from error


def roles(messages: Sequence[Message]) -> str:
    """Who speaks, turn by turn, for a message."""
    return ", ".join(message.role for message in messages)


def conversation(sample: Sample) -> list[dict[str, Any]]:
    """The messages with the response as the assistant's last turn."""
    return [*turns(sample.messages), {"role": "assistant", "content": sample.response}]


def _answered(sample: Sample) -> str:
    who = f"roles: {roles(sample.messages)}, then the assistant's response {sample.index}"
    return f"prompt {sample.prompt_id!r} ({who})"


def pair_texts(samples: Sequence[Sample]) -> tuple[list[str], list[str]]:
    """Prompts and responses for a tokenizer's text pair.

    The prompt is its messages' contents, one after another with a line break between; roles are
    not part of it.
    """
    for sample in samples:
        if any(message.more for message in sample.messages):
            raise ScoringError(
                f"{sample.place}: a text pair has no place for calls of tools; write them into the "
                "content of their turns"
            )
    prompts = ["\n".join(message.content for message in s.messages) for s in samples]
    return prompts, [sample.response for sample in samples]


def input_key(ids: Sequence[int], types: Sequence[int]) -> bytes:
    """16 bytes that name what a model reads: its token ids, and type ids where there are any."""
    digest = hashlib.blake2b(array("i", ids).tobytes(), digest_size=16)
    if types:
        digest.update(b"types" + array("i", types).tobytes())
    return digest.digest()
