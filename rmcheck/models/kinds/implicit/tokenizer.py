"""Token ids of a conversation with its response tokens marked."""

from collections.abc import Sequence

from rmcheck.errors import ScoringError
from rmcheck.models.sample import Encoded, Sample, TooLong
from rmcheck.models.text.tokenization import ConversationTokenizer, refusals
from rmcheck.pool.tool_calls import turns


class ResponseTokenizer(ConversationTokenizer):
    """Type ids are 1 at the tokens of the response and 0 elsewhere.

    The response begins where the prompt with the template's generation prompt ends, as when a
    policy samples it, and ends with its closing EOS, which counts. Without one it ends with the
    text. What a template writes after the EOS, such as a line break, does not count.
    """

    def encode(self, samples: Sequence[Sample], too_long: TooLong) -> list[Encoded]:
        """See `ConversationTokenizer.encode`.

        Raises:
            ScoringError: Also when the ids of a prompt are no beginning of the whole
                conversation's, or cutting leaves no response or nothing before it.
        """
        encoded = super().encode(samples, too_long)
        for one in encoded:
            if 1 not in one.type_ids or one.type_ids[0]:
                left = "nothing before the response" if 1 in one.type_ids else "no response"
                raise ScoringError(
                    f"prompt {one.sample.prompt_id!r}, response {one.sample.index}: {left} is left "
                    f"of {one.length + one.cut} tokens after {one.cut} were cut"
                )
        return encoded

    def _ids(self, samples: Sequence[Sample]) -> list[tuple[list[int], list[int]]]:
        rows = [ids for ids, _ in super()._ids(samples)]
        prompts = self._prompts(samples)
        found, wrong = [], []
        for sample, row in zip(samples, rows, strict=True):
            prompt = prompts[sample.messages]
            if row[: len(prompt)] != prompt:
                wrong.append(self._difference(sample, prompt, row))
            found.append((row, self._marks(row, len(prompt))))
        if wrong:
            raise ScoringError(
                f"{len(wrong)} of {len(samples)} responses cannot be told from their prompts: the "
                "prompt's tokens are not the first ones of the conversation's. The template must "
                "write a prompt alike with and without its response. First: " + wrong[0]
            )
        return found

    def _prompts(self, samples: Sequence[Sample]) -> dict[object, list[int]]:
        """Ids of each different prompt with the generation prompt behind it."""
        prompts: dict[object, list[int]] = {}
        for messages, sample in {sample.messages: sample for sample in samples}.items():
            with refusals(f"prompt {sample.prompt_id!r} without its response"):
                prompts[messages] = self._apply([turns(messages)], generation_prompt=True)[0]
        return prompts

    def _marks(self, row: Sequence[int], start: int) -> list[int]:
        end = len(row)
        if self.eos_id is not None and self.eos_id in row[start:]:
            last = max(i for i in range(start, len(row)) if row[i] == self.eos_id)
            # An EOS that a response quotes is followed by more than blanks.
            end = len(row) if self.text(row[last + 1 :]).strip() else last + 1
        return [0] * start + [1] * (end - start) + [0] * (len(row) - end)

    def _difference(self, sample: Sample, prompt: Sequence[int], row: Sequence[int]) -> str:
        pairs = zip(prompt, row, strict=False)
        at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(prompt), len(row)))
        return (
            f"prompt {sample.prompt_id!r}, response {sample.index}, token {at}: "
            f"{self.text(prompt[at : at + 6])!r} without the response and "
            f"{self.text(row[at : at + 6])!r} with it"
        )
