"""A server with the tokenizer of its model: encoded texts in, logits and rewards out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any

from rmcheck.errors import ConformanceError, ScoringError, near_miss
from rmcheck.models.engines.http.asking import Part, Replies, asked
from rmcheck.models.engines.http.client import Client, WrongAnswerError
from rmcheck.models.engines.http.server import Input, Reading, Server
from rmcheck.models.engines.http.wording import Wording
from rmcheck.models.model import EngineFacts, Loaded
from rmcheck.models.sample import Encoded
from rmcheck.models.spec import ModelSpec
from rmcheck.models.text.tokenization import pair_texts


@dataclass(frozen=True)
class ServerScorer(Loaded):
    """What is asked of a server, and which of its numbers is the reward.

    Attributes:
        spec: The model as the user named it.
        client: The server's address, with what is sent along.
        server: How its family is asked.
        tokenizer: A transformers tokenizer, the same as the server's.
        wording: Writes ids as texts, for servers that tokenise.
        head: Name or index of the logit that is the reward; empty where there is one logit only.
        batch: Most texts in a request.
        concurrency: Most requests at a time.
    """

    spec: ModelSpec
    client: Client
    server: Server
    tokenizer: Any
    wording: Wording
    head: str
    batch: int
    concurrency: int

    def asked(
        self,
        batch: Sequence[Encoded],
        *,
        raw: bool = True,
        size: int | None = None,
        server: Server | None = None,
    ) -> Replies[Mapping[str, float]]:
        """Finite logits by name of these samples, as far as the server gives them.

        Args:
            batch: Any number.
            raw: Raw logits; False asks for probabilities, where the server has that choice.
            size: Texts in a request; None means as many as server and setting allow.
            server: How to ask, where it is not the way that rewards come from.
        """
        size = size or min(self.server.identity.max_batch or self.batch, self.batch)
        places = range(len(batch))
        return asked(
            self.client,
            [tuple(places[at : at + size]) for at in range(0, len(batch), size)],
            partial(self._answer, server or self.server, [self._input(e) for e in batch], raw),
            concurrency=self.concurrency,
        )

    @property
    def facts(self) -> EngineFacts:
        """The server's machine computes."""
        return EngineFacts("server")

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def reward(self, logits: Mapping[str, float]) -> float:
        """The logit that is the reward.

        Raises:
            ConformanceError: There are several and none is named, or none has that name.
        """
        if not self.head and len(logits) == 1:
            return next(iter(logits.values()))
        if self.head in logits:
            return logits[self.head]
        names = ", ".join(logits)
        if not self.head:
            raise ConformanceError(
                f"{self.spec.text}: the server gives {len(logits)} logits ({names}); say which one "
                f"is the reward: {self.spec.with_setting('head', next(iter(logits)))!r}"
            )
        raise ConformanceError(
            f"{self.spec.text}: no head {self.head!r}.{near_miss(self.head, logits)} "
            f"Heads: {names}."
        )

    def read_by_server(self, encoded: Encoded) -> list[int]:
        """Token ids that a server which tokenises makes of its text, by the local tokenizer."""
        if encoded_pair := self._input(encoded).pair:
            ids: list[int] = self.tokenizer(*encoded_pair)["input_ids"]
            return ids
        return self.wording.ids(self._input(encoded).text)

    def _input(self, encoded: Encoded) -> Input:
        if self.server.pair:
            (prompt,), (response,) = pair_texts([encoded.sample])
            return Input(encoded.ids, pair=(prompt, response))
        if self.server.takes == "ids":
            return Input(encoded.ids)
        return Input(encoded.ids, self.wording.text(encoded.ids))

    def _answer(
        self, server: Server, inputs: Sequence[Input], raw: bool, part: Part, again: bool
    ) -> dict[int, Mapping[str, float] | ScoringError]:
        """Logits of each text of one request, or why it has none."""
        texts = [inputs[place] for place in part]
        path, body = server.request(texts, raw=raw)
        answer = self.client.post(path, body, again=again)
        try:
            reading = server.reading(answer, len(part))
        except WrongAnswerError as error:
            what = self.client.without_key(str(error)) + self.client.says(str(answer))
            raise WrongAnswerError(f"{self.client.url}{path}: {what}") from None
        self._check_tokens(reading, texts, path)
        return {
            place: logits
            if all(map(isfinite, logits.values()))
            else ScoringError(f"the server's score is {list(logits.values())}")
            for place, logits in zip(part, reading.logits, strict=True)
        }

    def _check_tokens(self, reading: Reading, texts: Sequence[Input], path: str) -> None:
        sent = sum(len(text.ids) for text in texts)
        if reading.tokens is not None and reading.tokens != sent:
            raise WrongAnswerError(
                f"{self.client.url}{path}: the server read {reading.tokens} tokens in "
                f"{len(texts)} texts that have {sent} with the local tokenizer; it adds tokens, "
                "cuts, or has another tokenizer"
            )
