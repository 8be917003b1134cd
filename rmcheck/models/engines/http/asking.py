"""Many questions to one server: requests side by side, and a bad one that fails only itself."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from rmcheck.errors import PartialScoringError, ScoringError
from rmcheck.models.engines.http.client import Client, UnreachableError, WrongAnswerError
from rmcheck.models.sample import Encoded, named_prompts
from rmcheck.wording import first_lines

_T = TypeVar("_T")
_S = TypeVar("_S")
# Positions of the texts of one request.
Part = tuple[int, ...]
# What a request says about each of its texts, which may be why it says nothing. Whether it is a
# part of a request that was refused is told, since a failure that a text may have caused is then
# believed at once.
Ask = Callable[[Part, bool], Mapping[int, _T | ScoringError]]
# Errors after which a server is asked nothing more; others are of the text that they are about.
STOPS: tuple[type[ScoringError], ...] = (UnreachableError, WrongAnswerError)
# Texts named in a message.
FAULTS_SHOWN = 5


@dataclass
class Replies(Generic[_T]):
    """What is known about each text, by its position.

    Attributes:
        found: Of the texts that were answered.
        faults: Of those that could not be: why.
        stopped: Why nothing more was asked; empty when everything was.
        stopped_at: Positions of the request that it stopped at.
    """

    found: dict[int, _T] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    stopped: str = ""
    stopped_at: Part = ()

    def every(self, spec: str, batch: Sequence[Encoded]) -> list[_T]:
        """What was found of all texts of a batch, in order.

        Raises:
            ScoringError: A text has no answer; the message is `complaint`.
        """
        if len(self.found) < len(batch):
            raise ScoringError(self.complaint(spec, batch))
        return [self.found[place] for place in range(len(batch))]

    def mapped(self, change: Callable[[_T], _S]) -> "Replies[_S]":
        """The same with something made of each that was found."""
        found = {place: change(one) for place, one in self.found.items()}
        return Replies(found, self.faults, self.stopped, self.stopped_at)

    def complaint(self, spec: str, batch: Sequence[Encoded]) -> str:
        """What went wrong with which prompts, in a few lines; the model by its spec."""
        lines = []
        if self.faults:
            worst = sorted(self.faults.items())
            lines.append(f"{spec}: {len(worst)} of {len(batch)} texts have no reward")
            each = [f"  {batch[i].sample.place}: {what}" for i, what in worst]
            lines += first_lines(each, FAULTS_SHOWN)
        if self.stopped:
            at = named_prompts([batch[i].sample for i in self.stopped_at])
            where = f" at {len(self.stopped_at)} texts (prompts {at})" if at else ""
            lines.append(f"{spec}: stopped{where}: {self.stopped}")
        return "\n".join(lines)


def rewards_of(replies: Replies[float], spec: str, batch: Sequence[Encoded]) -> list[float]:
    """The reward of each text of a batch.

    Raises:
        PartialScoringError: Some texts have none; it holds the rewards of the others.
    """
    if len(replies.found) < len(batch):
        raise PartialScoringError(
            replies.complaint(spec, batch), replies.found, goes_on=not replies.stopped
        )
    return replies.every(spec, batch)


def asked(
    client: Client,
    parts: Sequence[Part],
    ask: Ask[_T],
    *,
    concurrency: int,
    stops: tuple[type[ScoringError], ...] = STOPS,
) -> Replies[_T]:
    """Ask a server about texts.

    A request that is refused is halved until the text at fault stands alone. When the server
    cannot be reached, answers what cannot be, or refuses every text of a request, the requests on
    their way are waited for and no other is begun. So it is when the caller is interrupted.

    Args:
        client: The server's address.
        parts: The texts of each request.
        ask: Makes one request.
        concurrency: Most requests at a time.
        stops: Errors after which nothing more is asked.
    """
    asking = _Asking(client, ask, stops)
    client.start()
    with ThreadPoolExecutor(max(1, min(concurrency, len(parts)))) as threads:
        try:
            for done in [threads.submit(asking.whole, part) for part in parts]:
                done.result()
        except BaseException:
            asking.stop("interrupted", ())
            threads.shutdown(cancel_futures=True)
            raise
    return asking.replies


class _Asking(Generic[_T]):
    """The state that the threads share."""

    def __init__(self, client: Client, ask: Ask[_T], stops: tuple[type[ScoringError], ...]) -> None:
        self.replies: Replies[_T] = Replies()
        self._client = client
        self._ask = ask
        self._stops = stops
        self._lock = threading.Lock()

    def stop(self, why: str, at: Part) -> None:
        """Begin no other request; the first reason is kept."""
        with self._lock:
            if not self.replies.stopped:
                self.replies.stopped, self.replies.stopped_at = why, at
        self._client.stop()

    def whole(self, part: Part) -> None:
        """One request, halved where it is refused."""
        if self.replies.stopped:
            return
        try:
            refused = self._halved(part, again=False)
        except self._stops as error:
            self.stop(str(error), part)
            return
        if refused == len(part) > 1:
            what = self.replies.faults[part[0]]
            self.stop(f"the server refuses every text of a request, the first with: {what}", part)

    def _halved(self, part: Part, *, again: bool) -> int:
        """Texts of these that were refused."""
        try:
            found = self._ask(part, again)
        except self._stops:
            raise
        except ScoringError as error:
            # After a stop nothing is tried again, so that a refusal may be the server's own fault.
            if self.replies.stopped:
                return 0
            if len(part) == 1:
                self._keep({part[0]: error})
                return 1
            middle = len(part) // 2
            return self._halved(part[:middle], again=True) + self._halved(part[middle:], again=True)
        self._keep(found)
        return 0

    def _keep(self, found: Mapping[int, _T | ScoringError]) -> None:
        with self._lock:
            for place, one in found.items():
                if isinstance(one, ScoringError):
                    self.replies.faults[place] = str(one)
                else:
                    self.replies.found[place] = one
