"""Many texts to one server: requests side by side, and a bad text that fails only itself."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import isfinite

from rmcheck.models.engines.http.client import (
    Client,
    RefusedError,
    UnreachableError,
    WrongAnswerError,
)
from rmcheck.models.engines.http.server import Input, Reading, Server
from rmcheck.models.model import Encoded, named_prompts

# Texts named in a message.
_SHOWN = 5


@dataclass
class Outcome:
    """What is known about each text, by its position.

    Attributes:
        logits: Of the texts that were scored: finite, by name.
        faults: Of those that the server refused or gave no finite score: what it said.
        stopped: Why nothing more was asked; empty when everything was.
        stopped_at: Positions of the request that it stopped at.
    """

    logits: dict[int, Mapping[str, float]] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    stopped: str = ""
    stopped_at: tuple[int, ...] = ()


def ask(
    client: Client,
    server: Server,
    inputs: Sequence[Input],
    *,
    raw: bool = True,
    size: int,
    concurrency: int,
) -> Outcome:
    """Score texts.

    A request that the server refuses is halved until the text at fault stands alone. When the
    server cannot be reached, answers what cannot be, or refuses every text of a request, the
    requests on their way are waited for and no other is begun.

    Args:
        client: The server's address.
        server: What it is asked.
        inputs: Any number.
        raw: Raw logits; False asks for probabilities, where the server has that choice.
        size: Most texts in a request.
        concurrency: Most requests at a time.
    """
    asking = _Asking(client, server, inputs, raw)
    chunks = [tuple(range(at, min(at + size, len(inputs)))) for at in range(0, len(inputs), size)]
    client.start()
    with ThreadPoolExecutor(max(1, min(concurrency, len(chunks)))) as pool:
        try:
            for done in [pool.submit(asking.whole, chunk) for chunk in chunks]:
                done.result()
        except BaseException:
            asking.stop("interrupted", ())
            pool.shutdown(cancel_futures=True)
            raise
    return asking.outcome


def complaint(spec: str, outcome: Outcome, batch: Sequence[Encoded]) -> str:
    """What went wrong with which prompts, in a few lines; the model by its spec."""
    lines = []
    if outcome.faults:
        worst = sorted(outcome.faults.items())
        lines.append(f"{spec}: {len(worst)} of {len(batch)} texts have no reward")
        lines += [
            f"  prompt {batch[i].sample.prompt_id!r}, response {batch[i].sample.index}: {what}"
            for i, what in worst[:_SHOWN]
        ]
        if len(worst) > _SHOWN:
            lines.append(f"  and {len(worst) - _SHOWN} more")
    if outcome.stopped:
        at = named_prompts([batch[i].sample for i in outcome.stopped_at])
        where = f" at {len(outcome.stopped_at)} texts (prompts {at})" if at else ""
        lines.append(f"{spec}: stopped{where}: {outcome.stopped}")
    return "\n".join(lines)


class _Asking:
    """The state that the threads share."""

    def __init__(self, client: Client, server: Server, inputs: Sequence[Input], raw: bool) -> None:
        self.outcome = Outcome()
        self._client = client
        self._server = server
        self._inputs = inputs
        self._raw = raw
        self._lock = threading.Lock()

    def stop(self, why: str, at: tuple[int, ...]) -> None:
        """Begin no other request; the first reason is kept."""
        with self._lock:
            if not self.outcome.stopped:
                self.outcome.stopped, self.outcome.stopped_at = why, at
        self._client.stop()

    def whole(self, chunk: tuple[int, ...]) -> None:
        """One request, halved where it is refused."""
        if self.outcome.stopped:
            return
        try:
            refused = self._scored(chunk, again=False)
        except (UnreachableError, WrongAnswerError) as error:
            self.stop(str(error), chunk)
            return
        if refused == len(chunk) > 1:
            what = self.outcome.faults[chunk[0]]
            self.stop(f"the server refuses every text of a request, the first with: {what}", chunk)

    def _scored(self, chunk: tuple[int, ...], *, again: bool) -> int:
        """Texts of these that were refused."""
        texts = [self._inputs[i] for i in chunk]
        path, body = self._server.request(texts, raw=self._raw)
        try:
            answer = self._client.post(path, body, again=again)
        except RefusedError as error:
            # After a stop nothing is tried again, so that a refusal may be the server's own fault.
            if self.outcome.stopped:
                return 0
            if len(chunk) == 1:
                self._fault(chunk[0], str(error))
                return 1
            middle = len(chunk) // 2
            return self._scored(chunk[:middle], again=True) + self._scored(
                chunk[middle:], again=True
            )
        try:
            reading = self._server.reading(answer, len(chunk))
        except WrongAnswerError as error:
            what = self._client.without_key(str(error)) + self._client.says(str(answer))
            raise WrongAnswerError(f"{self._client.url}{path}: {what}") from None
        self._check_tokens(reading, texts, path)
        for place, logits in zip(chunk, reading.logits, strict=True):
            if all(map(isfinite, logits.values())):
                with self._lock:
                    self.outcome.logits[place] = logits
            else:
                self._fault(place, f"the server's score is {list(logits.values())}")
        return 0

    def _fault(self, place: int, what: str) -> None:
        with self._lock:
            self.outcome.faults[place] = what

    def _check_tokens(self, reading: Reading, texts: Sequence[Input], path: str) -> None:
        sent = sum(len(text.ids) for text in texts)
        if reading.tokens is not None and reading.tokens != sent:
            raise WrongAnswerError(
                f"{self._client.url}{path}: the server read {reading.tokens} tokens in "
                f"{len(texts)} texts that have {sent} with the local tokenizer; it adds tokens, "
                "cuts, or has another tokenizer"
            )
