"""JSON over HTTP with bounded retries, and errors that say what came back."""

import http.client
import json
import queue
import random
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from rmcheck.errors import ScoringError
from rmcheck.models.engines.http.address import KEY_VARIABLE, ApiKey
from rmcheck.models.engines.http.unasked import require_asking
from rmcheck.parsing import ParsingError, parse_json
from rmcheck.wording import excerpt

# The server understood the request and will not have it: one of its texts is at fault.
_REFUSED = {400, 413, 422}
# It may answer if asked again.
_TRY_AGAIN = {408, 424, 425, 429, 500, 502, 503, 504}
# Of these, what a single text can cause as well: an exception in the server, or in its backend.
_PERHAPS_THE_TEXT = {424, 500}
_MOST_BYTES = 64 << 20
BODY_SHOWN = 200
# Shorter keys are words and numbers that an answer may hold by itself.
_LEAST_KEY = 8


class RefusedError(ScoringError):
    """The server refuses this request; another one may do better."""


class UnreachableError(ScoringError):
    """The server gives no answers, or none to us; nothing more is to be had from it."""


class WrongAnswerError(ScoringError):
    """The server answered, and what it said cannot be the rewards of the texts it was sent."""


@dataclass(frozen=True)
class Patience:
    """How long one request is tried for.

    Attributes:
        timeout: Seconds that the server may be silent.
        tries: Times that a request is sent at most.
        deadline: Seconds for a request with all its tries, however slowly bytes come.
        first_delay: Seconds before the second try, at most; each further delay may be twice as
            long. The delay is drawn between 0 and that, so that clients do not come back together.
        longest_delay: Seconds between two tries, at most; a `Retry-After` may ask for more.
    """

    timeout: float = 60.0
    tries: int = 6
    deadline: float = 600.0
    first_delay: float = 0.5
    longest_delay: float = 30.0


@dataclass(frozen=True)
class _Answer:
    """What came back; status 0 when nothing did, with the reason as its text."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def head(self) -> str:
        """The status in words."""
        if not self.status:
            return self.text
        return f"{self.status} {http.client.responses.get(self.status, '')}".strip()


class _OverdueError(TimeoutError):
    """Bytes came, and not all of them before the deadline."""


class Client:
    """A server at one address, for any number of threads.

    Connections are kept open and used again. Redirects are not followed, and proxies named in the
    environment are not used: the key goes to this address only.

    Args:
        url: `http://host:port` or `https://host`, and a path that all others are below.
        key: API key, sent as a bearer token where it has a text. It is in no message.
        patience: How long a request is tried for.
    """

    def __init__(
        self, url: str, key: ApiKey | None = None, patience: Patience | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._parts = urlsplit(self.url)
        self._key, self._withheld = (key.text, key.withheld) if key else ("", "")
        self._patience = patience or Patience()
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()
        self._stopped = threading.Event()

    @property
    def has_key(self) -> bool:
        """Whether a key is sent."""
        return bool(self._key)

    def look(self, path: str) -> Any:
        """JSON of a GET, or None where the server has no such page.

        Raises:
            UnreachableError: There is no server, it fails, or it wants another key.
            UnaskedError: No server is asked in this run.
        """
        require_asking(self.url)
        answer = self._tried("GET", path, None, tries=2)
        if not answer.status or answer.status in _TRY_AGAIN | {401, 403}:
            self.close()  # whoever looks has no model yet that could be closed
            raise self._unreachable(path, answer, "")
        try:
            return parse_json(answer.text) if answer.status == 200 else None
        except ParsingError:
            return None

    def post(self, path: str, body: Mapping[str, Any], *, again: bool = False) -> Any:
        """JSON of the answer to a POST.

        Args:
            path: Below the address.
            body: Sent as JSON.
            again: It is a part of a request that was refused: a failure that a text may have
                caused is believed at once.

        Raises:
            RefusedError: The server will not have this body.
            UnreachableError: It gave no answer in all tries, or will give none to us.
            WrongAnswerError: It answered something that is no JSON.
        """
        started = time.monotonic()
        answer = self._tried("POST", path, json.dumps(body).encode(), again=again)
        spent = f" ({time.monotonic() - started:.1f} s)"
        if answer.status in _REFUSED | _PERHAPS_THE_TEXT:
            raise RefusedError(f"{self.url}{path}: {answer.head}{self.says(answer.text)}")
        if answer.status != 200:
            raise self._unreachable(path, answer, spent)
        try:
            return parse_json(answer.text)
        except ParsingError:
            kind = "an HTML page" if answer.text.lstrip()[:1] == "<" else "no JSON"
            raise WrongAnswerError(
                f"{self.url}{path}: the answer is {kind}{self.says(answer.text)}"
            ) from None

    def says(self, text: str) -> str:
        """What the server said, for a message: one line, cut, and never with the key in it."""
        shown = excerpt(self.without_key(text), BODY_SHOWN)
        return f"; it says: {shown}" if shown else "; the body is empty"

    def without_key(self, text: str) -> str:
        """A text that the server had a part in, as it may be shown."""
        return text.replace(self._key, "***") if self._key else text

    def stop(self) -> None:
        """Let no request be tried again; those that wait for their next try give up."""
        self._stopped.set()

    def start(self) -> None:
        """Allow retries again."""
        self._stopped.clear()

    def close(self) -> None:
        """Close the connections; the next request opens one again."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _tried(
        self,
        method: str,
        path: str,
        data: bytes | None,
        *,
        tries: int | None = None,
        again: bool = False,
    ) -> _Answer:
        """The first answer that is final, or the last of all tries."""
        patience = self._patience
        end = time.monotonic() + patience.deadline
        most = tries or patience.tries
        delay = patience.first_delay
        for number in range(1, most + 1):
            left = end - time.monotonic()
            answer = self._sent(method, path, data, max(0.1, min(patience.timeout, left)), end)
            if answer.status and answer.status not in _TRY_AGAIN:
                return answer
            if number == most or (again and answer.status in _PERHAPS_THE_TEXT):
                return answer
            wait = _retry_after(answer.headers)
            if wait is None:
                wait = random.uniform(0, min(delay, patience.longest_delay))
            delay *= 2
            left = end - time.monotonic()
            if wait >= left or self._stopped.wait(wait):
                return answer
        return answer

    def _sent(
        self, method: str, path: str, data: bytes | None, timeout: float, end: float
    ) -> _Answer:
        """One request, on a kept connection if there is one that the server has not closed."""
        try:
            while True:
                kept = self._idle.get_nowait()
                try:
                    return self._exchange(kept, method, path, data, timeout, end)
                except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                    continue
                except (OSError, http.client.HTTPException) as error:
                    return self._silence(error, timeout)
        except queue.Empty:
            pass
        try:
            return self._exchange(self._opened(timeout), method, path, data, timeout, end)
        except (OSError, http.client.HTTPException) as error:
            return self._silence(error, timeout)

    def _opened(self, timeout: float) -> http.client.HTTPConnection:
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return kind(self._parts.hostname or "", self._parts.port, timeout=timeout)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        data: bytes | None,
        timeout: float,
        end: float,
    ) -> _Answer:
        headers = {"Accept": "application/json"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            connection.timeout = timeout
            if connection.sock is None:
                connection.connect()
            connection.sock.settimeout(timeout)
            with _cut_off(connection.sock, end):
                connection.request(method, self._parts.path + path, data, headers)
                response = connection.getresponse()
                raw = response.read(_MOST_BYTES)
            # A length that was announced and did not come is an error only of a full read.
            if response.length:
                raise http.client.IncompleteRead(raw, response.length)
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._idle.put(connection)
        text = raw.decode("utf-8", "replace")
        if len(self._key) >= _LEAST_KEY:
            # Whatever quotes a part of the answer later.
            text = self.without_key(text)
        return _Answer(response.status, text, {k.lower(): v for k, v in response.getheaders()})

    def _silence(self, error: Exception, timeout: float) -> _Answer:
        if isinstance(error, _OverdueError):
            return _Answer(0, str(error), {})
        if isinstance(error, TimeoutError):
            return _Answer(0, f"no answer in {timeout:.3g} s", {})
        if isinstance(error, http.client.IncompleteRead):
            got = len(error.partial)
            return _Answer(0, f"the answer broke off after {got} bytes", {})
        return _Answer(0, self.without_key(f"{type(error).__name__}: {error}"), {})

    def _unreachable(self, path: str, answer: _Answer, spent: str) -> UnreachableError:
        hint = ""
        if answer.status in {401, 403}:
            given = "which it does not take" if self._key else "and none is set"
            hint = f". It wants a key, {given}: put it in the environment as {KEY_VARIABLE}"
            if self._withheld:
                hint = f". It wants a key, and {KEY_VARIABLE} was not sent: {self._withheld}"
        elif answer.status in {404, 405, 501}:
            hint = ". This server has no such endpoint, or no such model"
        elif 300 <= answer.status < 400:
            moved = self.without_key(answer.headers.get("location", "nowhere"))
            hint = f". It moved to {moved!r}; name that address"
        said = self.says(answer.text) if answer.status else ""
        return UnreachableError(f"{self.url}{path}: {answer.head}{spent}{said}{hint}")


@contextmanager
def _cut_off(sock: socket.socket, end: float) -> Iterator[None]:
    """Shut a socket down at a time: its own timeout begins again with every byte.

    Raises:
        _OverdueError: That time came, whatever the end of the bytes was taken for.
    """
    seconds = max(0.1, end - time.monotonic())
    overdue = threading.Event()

    def shut() -> None:
        overdue.set()
        with suppress(OSError):  # it may be closed already
            # Not the method of TLS, which would take part in the protocol.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        if not overdue.is_set():
            raise
        raise _OverdueError(f"no whole answer before the deadline ({seconds:.3g} s)") from error
    finally:
        timer.cancel()
    if overdue.is_set():
        raise _OverdueError(f"no whole answer before the deadline ({seconds:.3g} s)")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait, or None; it names them, or a date."""
    named = headers.get("retry-after", "").strip()
    if not named:
        return None
    if named.isascii() and named.isdigit():
        return float(named)
    try:
        return max(0.0, parsedate_to_datetime(named).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
