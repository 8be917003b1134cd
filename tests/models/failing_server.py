"""A reward server on this machine that speaks the form of a family and fails as it is told.

The reward of a text is a fixed function of its token ids, which a server of text makes itself, in
the way of its family. What each request asked is written down.
"""

import hashlib
import itertools
import json
import math
import time
from collections.abc import Iterable, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any

from loopback_server import LoopbackServer


def reward_of(ids: Sequence[int]) -> float:
    """The true reward of token ids, between -3 and 3: any function that no bug gives by chance."""
    digest = hashlib.sha256(repr(list(ids)).encode()).digest()
    return 6 * int.from_bytes(digest[:4], "big") / 2**32 - 3


def sigmoid(x: float) -> float:
    """What servers make of a logit unless they are asked for it raw."""
    return 1 / (1 + math.exp(-x))


class FailingServer(LoopbackServer):
    """The server; use it as a context.

    Args:
        family: `vllm`, `sglang`, `tei` or `openrlhf`.
        tokenizer: A transformers tokenizer, for families that are sent text.

    Attributes:
        faults: What goes wrong with the next POST requests, in order; empty words go well. See
            `_Handler.fail` for the words.
        poison: Token ids lists that the server refuses, as tuples.
        poison_status: The status it refuses them with.
        key: What it asks for as a bearer token; empty asks for nothing.
        root: Where it says that its weights come from.
        activation: `switch` (as asked), `always`, `never`: whether it squashes logits.
        ends_texts: Whether OpenRLHF's makes every text end with one EOS, as up to 0.8.1.
        extra_tokens: Tokens that it adds to each text, and counts.
        heads: Logits a text.
        typed: Whether /score tells the texts of a pair apart.
        headers: Headers of every request.
        seconds: How long each request takes.
    """

    def __init__(self, family: str = "vllm", tokenizer: Any = None) -> None:
        super().__init__(_Handler)
        self.family = family
        self.tokenizer = tokenizer
        self.faults: list[str] = []
        self.poison: set[tuple[int, ...]] = set()
        self.poison_status = 400
        self.key = ""
        self.root = "/models/rm"
        self.activation = "switch"
        self.ends_texts = False
        self.extra_tokens = 0
        self.heads = 1
        self.typed = False
        self.headers: list[dict[str, str]] = []
        self.seconds = 0.0

    @property
    def asked(self) -> list[tuple[int, ...]]:
        """Token ids of every text of every request, in order of arrival."""
        return [ids for path, body in self.requests for ids in self.texts(path, body)]

    def pages(self) -> dict[str, Any]:
        """What it tells of itself."""
        model = {
            "id": "reward-model",
            "root": self.root,
            "max_model_len": 256,
            "owned_by": self.family,
        }
        return {
            "vllm": {"/v1/models": {"data": [model]}, "/version": {"version": "0.32.0"}},
            "sglang": {
                "/v1/models": {"data": [model]},
                "/get_model_info": {"model_path": self.root, "weight_version": "w1"},
                "/get_server_info": {"version": "0.5", "context_length": None},
            },
            "tei": {
                "/info": {
                    "model_id": self.root,
                    "model_sha": "abc",
                    "version": "1.7.1",
                    "max_input_length": 256,
                    "max_client_batch_size": 3,
                }
            },
            "openrlhf": {"/openapi.json": {"paths": {"/get_reward": {}}}},
            "other": {},
        }[self.family]

    def texts(self, path: str, body: dict[str, Any]) -> list[tuple[int, ...]]:
        """Token ids of the texts of a request, as this family reads them."""
        if path == "/score":
            pairs: Iterable[Sequence[str]] = zip(body["text_1"], body["text_2"], strict=True)
            rows = [self.tokenizer(*pair)["input_ids"] for pair in pairs]
        elif path == "/predict":
            rows = [self.tokenizer(*parts)["input_ids"] for parts in body["inputs"]]
        elif path == "/get_reward":
            end = self.tokenizer.eos_token if self.ends_texts else ""
            texts = [text.removesuffix(end) + end for text in body["query"]]
            rows = [self.tokenizer(x, add_special_tokens=False)["input_ids"] for x in texts]
        else:
            rows = body["input_ids"] if self.family == "sglang" else body["input"]
        return [(*row, *[7] * self.extra_tokens) for row in rows]

    def answer(self, path: str, body: dict[str, Any], rows: Sequence[tuple[int, ...]]) -> Any:
        """What it says when nothing goes wrong."""
        raw = not body.get("use_activation", False) and body.get("raw_scores", True)
        squashed = {"switch": not raw, "always": True, "never": False}[self.activation]
        logits = [
            [reward_of((head, *ids)) if head else reward_of(ids) for head in range(self.heads)]
            for ids in rows
        ]
        values = [list(map(sigmoid, row)) if squashed else row for row in logits]
        if self.typed and path == "/score":
            values = [[-value for value in row] for row in values]
        if self.family == "openrlhf":
            return {"rewards": [row[0] for row in values]}
        if self.family == "sglang":
            counts = [{"prompt_tokens": len(ids)} for ids in rows]
            return [{"embedding": v, "meta_info": n} for v, n in zip(values, counts, strict=True)]
        if self.family == "tei":
            named = [[{"score": x, "label": f"L{i}"} for i, x in enumerate(v)] for v in values]
            return [sorted(item, key=lambda entry: -entry["score"]) for item in named]
        shape = {
            "/classify": lambda v: {"probs": v},
            "/pooling": lambda v: {"data": [[0.0], v]},
            "/score": lambda v: {"score": v[0]},
        }[path]
        data = [{"index": i, **shape(v)} for i, v in enumerate(values)]
        return {"data": data, "usage": {"prompt_tokens": sum(map(len, rows))}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without this each small answer waits for an acknowledgement.
    disable_nagle_algorithm = True

    @property
    def failing(self) -> FailingServer:
        found: FailingServer = self.server.owner  # type: ignore[attr-defined]
        return found

    def log_message(self, *_: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        if self._let_in():
            page = self.failing.pages().get(self.path)
            self._send(200 if page is not None else 404, page or {"detail": "Not Found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        failing = self.failing
        if not self._let_in():
            return
        with failing.lock:
            failing.requests.append((self.path, body))
            failing.at_once += 1
            failing.most_at_once = max(failing.most_at_once, failing.at_once)
            fault = failing.faults.pop(0) if failing.faults else ""
        try:
            time.sleep(failing.seconds)
            self._respond(body, fault)
        finally:
            with failing.lock:
                failing.at_once -= 1

    def _let_in(self) -> bool:
        self.failing.headers.append(dict(self.headers))
        key = self.failing.key
        if key and self.headers.get("Authorization") != f"Bearer {key}":
            # Some servers repeat what they were sent.
            self._send(401, {"error": f"Unauthorized: {self.headers.get('Authorization')}"})
            return False
        return True

    def _respond(self, body: dict[str, Any], fault: str) -> None:
        failing = self.failing
        known = failing.family != "other" and self.path in {
            "vllm": {"/classify", "/pooling", "/score"},
            "sglang": {"/classify"},
            "tei": {"/predict"},
            "openrlhf": {"/get_reward"},
        }.get(failing.family, set())
        if not known:
            self._send(404, {"detail": "Not Found"})
            return
        rows = failing.texts(self.path, body)
        if failing.poison & set(rows):
            self._send(failing.poison_status, {"error": {"message": "bad token in a text"}})
            return
        self.fail(fault, failing.answer(self.path, body, rows))

    def fail(self, fault: str, answer: Any) -> None:
        """Send the answer, spoilt by the fault.

        A number is a status, with `Retry-After` behind a colon: `429:1`. `drop` hangs up,
        `truncated` does so in the middle, `slow` takes a second. `drip_head`, `drip_body`,
        `drip_chunks` and `drip_100` (`100 Continue`) send a little again and again, `slow_body`
        does it until all is sent. `html` and `garbage` are no JSON; `short`, `long`, `shuffled`,
        `nan`, `null`, `huge`, `huge_whole` and `word` are JSON of vLLM's form that is wrong;
        `empty` is JSON of another form.
        """
        status, _, retry_after = fault.partition(":")
        if status.isdigit():
            self._send(int(status), {"error": "told to fail"}, retry_after)
        elif fault == "drop":
            self.close_connection = True
        elif fault == "truncated":
            data = json.dumps(answer).encode()
            self._head(200, len(data), "")
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif fault.startswith("drip") or fault == "slow_body":
            self._drip(fault, json.dumps(answer).encode())
        elif fault in {"html", "garbage"}:
            page = {"html": "<html><body>Bad gateway</body></html>", "garbage": "0.3 0.4"}[fault]
            self._send_text(200, page, "")
        else:
            if fault == "slow":
                time.sleep(1.0)
            self._send(200, _spoilt(answer, fault))

    def _drip(self, fault: str, data: bytes) -> None:
        """Send without end, or in eight pieces, until the other side hangs up."""
        line = b"HTTP/1.1 200 OK\r\n"
        start, piece = {
            "drip_head": (line, b"X-More: yes\r\n"),
            "drip_body": (line + b"Content-Length: 9999999\r\n\r\n", b" "),
            "drip_chunks": (line + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
            "drip_100": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
            "slow_body": (line + b"Content-Length: %d\r\n\r\n" % len(data), b""),
        }[fault]
        step = len(data) // 8 + 1
        pieces: Iterable[bytes] = (data[at : at + step] for at in range(0, len(data), step))
        self.close_connection = fault != "slow_body"
        try:
            self.wfile.write(start)
            for each in pieces if fault == "slow_body" else itertools.repeat(piece):
                self.wfile.write(each)
                time.sleep(0.2)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _send(self, status: int, value: Any, retry_after: str = "") -> None:
        self._send_text(status, json.dumps(value), retry_after)

    def _send_text(self, status: int, text: str, retry_after: str) -> None:
        data = text.encode()
        self._head(status, len(data), retry_after)
        try:
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _head(self, status: int, length: int, retry_after: str) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            if retry_after:
                self.send_header("Retry-After", retry_after)
            self.end_headers()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


def _spoilt(answer: Any, fault: str) -> Any:
    if fault == "empty":
        return {}
    data = answer["data"] if isinstance(answer, dict) and "data" in answer else None
    if fault == "short":
        data.pop()
    elif fault == "long":
        data.append(data[-1])
    elif fault == "shuffled":
        data.reverse()
    elif fault in {"nan", "null", "huge", "huge_whole", "word"}:
        bad = {"nan": math.nan, "null": None, "huge": math.inf, "word": "high"}
        bad["huge_whole"] = 10**400
        data[0]["probs"] = [bad[fault]]
    return answer
