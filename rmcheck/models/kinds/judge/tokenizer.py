"""Token ids of a judge's question: nothing that a response says becomes a special token."""

import re
from collections.abc import Sequence
from typing import Any

from rmcheck.errors import ConformanceError, ScoringError
from rmcheck.models.kinds.judge.read import YesNo
from rmcheck.models.kinds.judge.template import JudgeTemplate
from rmcheck.models.model import ConformanceItem
from rmcheck.models.sample import Encoded, Sample, TooLong
from rmcheck.models.text.chat_template import ChatTemplate
from rmcheck.models.text.confined import ConfinedError
from rmcheck.models.text.tokenization import ConversationTokenizer

# Stands where the question will, to see what the chat template writes around it.
_QUESTION = "question of the judge"


class JudgeTokenizer(ConversationTokenizer):
    """Turns samples into the ids of the judge's conversation, its answer opened.

    The template's text is the user turn, after the system text if there is one; the chat template
    of the judge is applied once, with its generation prompt. Special tokens come from the chat
    template and the system text alone: where a prompt or response spells one, its letters are
    tokenised.

    Args:
        tokenizer: A transformers tokenizer.
        chat_template: What writes a conversation.
        question: Makes the user turn.
        system: The system turn; empty for none.
        max_length: Most tokens that the model takes; None means no limit.
        room: Tokens of these that the answer needs.

    Attributes:
        opening: Ids of a short question with the opening of its answer.
        opens_answer: Whether the chat template writes something more where an answer is wanted.

    Raises:
        ConformanceError: The chat template refuses a user turn, or does not write it once.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        chat_template: ChatTemplate,
        question: JudgeTemplate,
        system: str,
        max_length: int | None,
        room: int,
    ) -> None:
        limit = None if max_length is None else max_length - room
        super().__init__(tokenizer, template=chat_template, max_length=limit)
        self._question = question
        self._system = system
        self._positions, self._room = max_length, room
        added = tokenizer.added_tokens_decoder
        self._special = {str(t.content): i for i, t in added.items() if t.special}
        self._frame = self._framed()
        text = _QUESTION.join(self._frame)
        (self.opening,) = self._plain([text])
        self._expected = self._special_ids(self.opening)
        # Whether specials can be told from text by hand as the tokenizer itself does it.
        self._divisible = self._guarded(text) == self.opening

    def encode(self, samples: Sequence[Sample], too_long: TooLong = "error") -> list[Encoded]:
        """See `ConversationTokenizer.encode`; nothing is cut whatever `too_long` says.

        Raises:
            ScoringError: Also for questions that leave no room for the answer: half a question, or
                one without the opening of the answer, has no verdict.
        """
        return super().encode(samples, "error")

    def of(self, one: Encoded) -> tuple[int, ...]:
        """A question as a server that takes token ids is sent it."""
        return one.ids

    def items(self, first: Encoded) -> tuple[ConformanceItem, ...]:
        """A question as it is read, and who may write special tokens."""
        text = self.text(first.ids)
        question = f"begins {text[:60]!r}, and the answer follows {text[-60:]!r}"
        if not self.opens_answer:
            question += "; the chat template writes nothing where add_generation_prompt is true"
        specials = (
            "those of the chat template only; where a prompt or response spells one, its letters "
            "are read"
        )
        return (
            ConformanceItem("question", "pass" if self.opens_answer else "note", question),
            ConformanceItem("special_tokens", "pass", specials),
        )

    def words(self, read: YesNo) -> tuple[list[int], list[int]]:
        """The token of each word of both sides.

        Raises:
            ConformanceError: A word is several tokens where an answer begins, or two words are
                one; all are named, with their pieces and what would be one token.
        """
        pieces = {word: self._tokens_after(word) for word in (*read.yes, *read.no)}
        problems = [self._several(word, ids) for word, ids in pieces.items() if len(ids) != 1]
        yes, no = (
            [pieces[word][0] for word in side if pieces[word]] for side in (read.yes, read.no)
        )
        if not problems and len({*yes, *no}) < len(pieces):
            problems.append(f"some words are the same token: {pieces}")
        if problems:
            raise ConformanceError(
                "the next token cannot be one of these words: " + "; ".join(problems)
            )
        return yes, no

    def _several(self, word: str, ids: Sequence[int]) -> str:
        bare = word.strip()
        forms = dict.fromkeys(
            blank + form
            for form in (bare, bare.capitalize(), bare.lower(), bare.upper(), bare[:1])
            for blank in ("", " ")
        )
        single = [repr(form) for form in forms if form and len(self._tokens_after(form)) == 1]
        instead = f"; one token: {', '.join(single)}" if single else ""
        shown = ", ".join(repr(self.text([token])) for token in ids)
        return f"{word!r} is {len(ids)} tokens here ({shown}){instead}"

    def _tokens_after(self, word: str) -> list[int]:
        """Ids that a word has as the beginning of an answer."""
        text = _QUESTION.join(self._frame)
        before, after = self._plain([text, text + word])
        if after[: len(before)] == before:
            return after[len(before) :]
        # The word joins what stands before it; as a token of its own it may still follow.
        return self._plain([word])[0]

    def _ids(self, samples: Sequence[Sample]) -> list[tuple[list[int], list[int]]]:
        before, after = self._frame
        asked = self._question.texts(samples)
        turns = [self._turns(text) for text in asked]
        try:
            texts = self._apply(turns, tokenize=False, generation_prompt=True)
        except ConfinedError as error:
            sample = samples[error.place]
            raise ScoringError(
                f"{sample.place}: the judge's chat template refuses this question: {error}"
            ) from error
        rows = self._plain(texts)
        found = []
        for sample, text, row in zip(samples, texts, rows, strict=True):
            if not (text.startswith(before) and text.endswith(after)):
                raise ScoringError(
                    f"{sample.place}: the judge's chat template writes other words around this "
                    "question than around others"
                )
            found.append((self._without_special(sample, text, row), list[int]()))
        return found

    def _without_special(self, sample: Sample, text: str, row: list[int]) -> list[int]:
        """The ids with those special tokens only that the chat template writes."""
        if self._special_ids(row) == self._expected:
            return row
        guarded = self._guarded(text) if self._divisible else row
        if self._special_ids(guarded) != self._expected:
            raise ScoringError(
                f"{sample.place} holds special tokens of the judge, and with this tokenizer they "
                "cannot be read as text; leave it out"
            )
        return guarded

    def _guarded(self, text: str) -> list[int]:
        """Ids of a framed text: special tokens in the frame, letters between.

        As the tokenizer does, the text is divided at special tokens first and each part is
        tokenised alone; here only at those of the frame.
        """
        before, after = self._frame
        middle = text[len(before) : len(text) - len(after)]
        first, last = self._divided(before), self._divided(after)
        parts = [*first[:-1], first[-1] + middle + last[0], *last[1:]]
        ids: list[int] = []
        for at, part in enumerate(parts):
            if at % 2:
                ids.append(self._special[part])
            elif part:
                ids += self._tokens(part, add_special_tokens=False, split_special_tokens=True)[
                    "input_ids"
                ]
        return ids

    def _divided(self, text: str) -> list[str]:
        """Text, special token, text, …, text."""
        if not self._special:
            return [text]
        longest = sorted(self._special, key=len, reverse=True)
        return re.split(f"({'|'.join(map(re.escape, longest))})", text)

    def _special_ids(self, ids: Sequence[int]) -> list[int]:
        known = set(self._special.values())
        return [token for token in ids if token in known]

    def _plain(self, texts: Sequence[str]) -> list[list[int]]:
        rows: list[list[int]] = self._tokens(
            list(texts), add_special_tokens=False, return_attention_mask=False
        )["input_ids"]
        return rows

    def _turns(self, question: str) -> list[dict[str, str]]:
        system = [{"role": "system", "content": self._system}] if self._system else []
        return [*system, {"role": "user", "content": question}]

    def _framed(self) -> tuple[str, str]:
        """What the chat template writes before and after a question."""
        try:
            (text,) = self._apply([self._turns(_QUESTION)], tokenize=False, generation_prompt=True)
            (closed,) = self._apply([self._turns(_QUESTION)], tokenize=False)
        # A template is a program of its own: it may raise anything.
        except Exception as error:
            roles = "a system and a user turn" if self._system else "a user turn"
            raise ConformanceError(f"the judge's chat template refuses {roles}: {error}") from error
        if text.count(_QUESTION) != 1:
            raise ConformanceError(
                f"the judge's chat template writes the user turn {text.count(_QUESTION)} times"
            )
        self.opens_answer = text != closed
        before, _, after = text.partition(_QUESTION)
        return before, after

    @property
    def _too_long(self) -> tuple[str, str]:
        return (
            f"questions leave fewer than the {self._room} tokens of an answer in the "
            f"{self._positions} that the judge takes, and a question is never cut",
            "Leave them out",
        )
