"""Token ids of a conversation whose response is cut into steps, each closed by a tag."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from rmcheck.errors import ConformanceError, ScoringError
from rmcheck.models.sample import Encoded, Sample, TooLong, named_prompts
from rmcheck.models.text.chat_template import ChatTemplate
from rmcheck.models.text.tokenization import (
    ConversationTokenizer,
    conversation,
    refusals,
    roles,
)

Join = Literal["tokens", "text"]
# Kinds of token, as they stand in `Encoded.type_ids`.
PROMPT, STEP, TAG = 0, 1, 2
# Stands for the response while a template is asked what it writes before one.
_PLACE = "rmcheck-response"


def response_steps(response: str, separator: str) -> tuple[str, ...]:
    """The steps of a response: what stands between separators.

    Line breaks around a step and blanks behind it are no part of it; steps of nothing else are
    none. An empty response has one step, the empty one.
    """
    parts = (part.strip("\r\n").rstrip() for part in response.split(separator))
    return tuple(part for part in parts if part.strip()) or ("",)


class ProcessTokenizer(ConversationTokenizer):
    """Type ids are 0 at the prompt, 1 at the steps, and 2 where a step's probability is read.

    A conversation becomes what the template writes before the response, then each step with the
    tag behind it; what the template writes after the response is left out. A probability is read
    at the last token of a tag. Its place is known from how the ids are put together, never found
    by looking for an id.

    Args:
        tokenizer: A transformers tokenizer.
        template: What writes a conversation.
        max_length: Most tokens the model takes; None means no limit.
        step: Separator of steps in the text of a response.
        tag: What is written behind each step.
        between: What is written between a tag and the next step.
        join: `tokens` tokenises each step and the tag by themselves (TRL); `text` writes the whole
            text and tokenises it once (Math-Shepherd). Both agree for a tag that is a special
            token.

    Raises:
        ConformanceError: The tag has no tokens or an unknown one, or `join` is `text` and the
            tokenizer does not say where its tokens stand.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        template: ChatTemplate,
        max_length: int | None,
        step: str,
        tag: str,
        between: str,
        join: Join,
    ) -> None:
        super().__init__(tokenizer, template=template, max_length=max_length)
        self.tag = tag
        self._step, self._between, self._join = step, between, join
        self.tag_ids = self.ids(tag)
        if not self.tag_ids or tokenizer.unk_token_id in self.tag_ids:
            raise ConformanceError(
                f"the tag {tag!r} is unknown to the tokenizer (ids {list(self.tag_ids)}); tag= is "
                "what was written behind each step in training"
            )
        if join == "text" and not tokenizer.is_fast:
            raise ConformanceError(
                f"{self.class_name} does not say where in a text its tokens stand, as join=text "
                "needs; save the folder with a fast tokenizer (tokenizer.json), or use join=tokens"
            )

    def ids(self, text: str) -> tuple[int, ...]:
        """Token ids of a text by itself, without special tokens around it."""
        return tuple(self._tokens(text, add_special_tokens=False)["input_ids"])

    def steps(self, sample: Sample) -> tuple[str, ...]:
        """The steps of a sample's response, in order."""
        return response_steps(sample.response, self._step)

    def encode(self, samples: Sequence[Sample], too_long: TooLong) -> list[Encoded]:
        """See `ConversationTokenizer.encode`.

        Raises:
            ScoringError: Also when a response holds the tag, or a cut would reach its steps: only
                the prompt may be cut, since fewer steps would be another reward.
        """
        self._refuse_tags_in(samples)
        encoded = super().encode(samples, too_long)
        cut = [e.sample for e in encoded if e.cut and not self._keeps_response(e, too_long)]
        if cut:
            raise ScoringError(
                f"{len(cut)} of {len(samples)} responses are too long to be scored with too_long: "
                f"{too_long}, which would cut their steps or leave no prompt (prompts "
                f"{named_prompts(cut)}). A process reward needs all steps: shorten them, use "
                "too_long: left where only the prompt is too long, or raise max_length"
            )
        return encoded

    def _keeps_response(self, encoded: Encoded, too_long: TooLong) -> bool:
        # Of a prompt something must be left behind the BOS.
        first = self._opening(encoded.ids)
        return too_long == "left" and encoded.type_ids[first : first + 1] == (PROMPT,)

    def _refuse_tags_in(self, samples: Sequence[Sample]) -> None:
        # A tag of blanks is text like any other: models that have one saw it inside steps too.
        tag = self.tag.strip()
        held = [s for s in samples if tag and any(tag in step for step in self.steps(s))]
        if held:
            raise ScoringError(
                f"{len(held)} of {len(samples)} responses hold the tag {tag!r} in a step, so the "
                f"model would see more steps than there are (prompts {named_prompts(held)}). "
                "Remove it from them, or let step= hold it where it ends their steps already"
            )

    def _ids(self, samples: Sequence[Sample]) -> list[tuple[list[int], list[int]]]:
        openings = self._openings(samples)
        texts = [(openings[s.messages], self._pieces(s)) for s in samples]
        return self._joined_tokens(texts) if self._join == "tokens" else self._whole(samples, texts)

    def _pieces(self, sample: Sample) -> list[str]:
        first, *others = self.steps(sample)
        return [first, *(self._between + step for step in others)]

    def _openings(self, samples: Sequence[Sample]) -> dict[object, str]:
        """What the template writes before the response, of each different prompt."""
        openings: dict[object, str] = {}
        for sample in {s.messages: s for s in samples}.values():
            turned = conversation(replace(sample, response=_PLACE))
            who = f"roles: {roles(sample.messages)}, then the assistant's"
            with refusals(f"prompt {sample.prompt_id!r} ({who})"):
                (text,) = self._apply([turned], tokenize=False)
            opening, place, _ = text.rpartition(_PLACE)
            if not place:
                raise ConformanceError(
                    f"the chat template leaves the response out (prompt {sample.prompt_id!r}): "
                    f"{text[-200:]!r}"
                )
            openings[sample.messages] = opening
        return openings

    def _joined_tokens(
        self, texts: Sequence[tuple[str, list[str]]]
    ) -> list[tuple[list[int], list[int]]]:
        different = list(dict.fromkeys(t for opening, pieces in texts for t in (opening, *pieces)))
        rows = self._tokens(different, add_special_tokens=False)["input_ids"]
        known: Mapping[str, list[int]] = dict(zip(different, rows, strict=True))
        tag = list(self.tag_ids)
        tag_marks = [STEP] * (len(tag) - 1) + [TAG]
        found = []
        for opening, pieces in texts:
            ids = list(known[opening])
            marks = [PROMPT] * len(ids)
            for piece in pieces:
                ids += known[piece] + tag
                marks += [STEP] * len(known[piece]) + tag_marks
            found.append((ids, marks))
        return found

    def _whole(
        self, samples: Sequence[Sample], texts: Sequence[tuple[str, list[str]]]
    ) -> list[tuple[list[int], list[int]]]:
        written = [opening + "".join(p + self.tag for p in pieces) for opening, pieces in texts]
        out = self._tokens(written, add_special_tokens=False, return_offsets_mapping=True)
        found = []
        for sample, (opening, pieces), ids, offsets in zip(
            samples, texts, out["input_ids"], out["offset_mapping"], strict=True
        ):
            marks = [STEP if end > len(opening) else PROMPT for _, end in offsets]
            start, at = len(opening), 0
            for number, piece in enumerate(pieces, start=1):
                start += len(piece)
                first, at = _tokens_between(offsets, start, start + len(self.tag), at)
                if first == at:
                    raise ScoringError(self._merged(sample, number, offsets, ids, start))
                marks[at - 1] = TAG
                start += len(self.tag)
            found.append((ids, marks))
        return found

    def _merged(
        self,
        sample: Sample,
        step: int,
        offsets: Sequence[tuple[int, int]],
        ids: Sequence[int],
        start: int,
    ) -> str:
        end = start + len(self.tag)
        held = [i for i, (a, b) in zip(ids, offsets, strict=True) if a < end and b > start]
        return (
            f"prompt {sample.prompt_id!r}, response {sample.index}, step {step}: the tag "
            f"{self.tag!r} has no token of its own; the text around it is in its tokens, "
            f"{self.text(held)!r}. Write the tag with the blanks that belong to its token, or use "
            "join=tokens if the model was trained so"
        )


def _tokens_between(
    offsets: Sequence[tuple[int, int]], start: int, end: int, at: int
) -> tuple[int, int]:
    """First token of a stretch of text and the one after its last; equal where they do not fit it.

    Args:
        offsets: Where in the text each token begins and ends; a tokenizer may leave blanks out.
        start: First character.
        end: After the last character.
        at: A token that is not behind the stretch.
    """
    while at < len(offsets) and offsets[at][1] <= start:
        at += 1
    first = at
    while at < len(offsets) and offsets[at][0] < end:
        at += 1
    fits = first < at and offsets[first][0] >= start and offsets[at - 1][1] == end
    return first, at if fits else first
