"""A language model behind an OpenAI-compatible server that answers, and fails as it is told.

What it says of a question is a fixed function of the question, so that a test can compute it too.
"""

import hashlib
import json
import math
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from loopback_server import LoopbackServer


def number_of(question: str, seed: int = 0) -> int:
    """A number from 0 to 999 that only these two decide."""
    digest = hashlib.sha256(f"{seed}:{question}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 1000


def shown_for(question: str) -> dict[str, float]:
    """Log-probabilities of the next token: both spellings of each side, and two others."""
    yes = 0.1 + 0.6 * number_of(question) / 1000
    shares = {"Yes": 0.9 * yes, " Yes": 0.1 * yes, "No": 0.8 - yes, "Well": 0.15, "The": 0.03}
    return {token: math.log(share) for token, share in shares.items()}


def log_odds(question: str) -> float:
    """The reward of the words Yes, " Yes" and No."""
    yes = 0.1 + 0.6 * number_of(question) / 1000
    return math.log(yes / (0.8 - yes))


class JudgingServer(LoopbackServer):
    """The server; use it as a context.

    Attributes:
        models: What /v1/models lists.
        faults: What goes wrong with the next requests, in order: a status, `html`, `garbage`,
            `choices` (none), `logprobs` (none), `null` (a log-probability is null).
        refused: Questions with one of these texts in them get a 400.
        hidden: Tokens that it never shows.
        called: Tokens that it shows under another name.
        says: What it writes of question and seed; by default "Score: " and their number.
        reason: Why each answer ends.
        keys: The Authorization of every request.
        newer: Whether it is as OpenAI's newer models: a chat with `max_tokens` gets a 400.
        key: What it asks for as a bearer token; empty asks for nothing.
    """

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.models = [{"id": "judge", "root": "/models/judge", "owned_by": "vllm"}]
        self.faults: list[str] = []
        self.refused: set[str] = set()
        self.hidden: set[str] = set()
        self.called: dict[str, str] = {}
        self.says: Callable[[str, int], Any] = lambda question, seed: (
            f"I think so. Score: {number_of(question, seed)}"
        )
        self.reason = "stop"
        self.keys: list[str | None] = []
        self.newer = False
        self.key = ""

    def choice(self, path: str, body: dict[str, Any], fault: str) -> dict[str, Any]:
        """What it answers."""
        chat = path.endswith("/chat/completions")
        question = body["messages"][-1]["content"] if chat else repr(body["prompt"])
        if not body.get("logprobs"):
            text = self.says(question, body["seed"])
            message = (
                {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            )
            return {**message, "finish_reason": self.reason}
        shown: dict[str, Any] = {
            self.called.get(token, token): value
            for token, value in shown_for(question).items()
            if token not in self.hidden
        }
        if fault == "null":
            shown[next(iter(shown))] = None
        if fault == "logprobs":
            return {"message": {"content": "Yes"}, "logprobs": None, "finish_reason": "length"}
        top = [{"token": token, "logprob": value} for token, value in shown.items()]
        logprobs = {"content": [{"top_logprobs": top}]} if chat else {"top_logprobs": [shown]}
        return {"logprobs": logprobs, "finish_reason": "length"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without this each small answer waits for an acknowledgement.
    disable_nagle_algorithm = True

    @property
    def judging(self) -> JudgingServer:
        found: JudgingServer = self.server.owner  # type: ignore[attr-defined]
        return found

    def log_message(self, *_: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        self._send(200, json.dumps({"data": self.judging.models}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        judging = self.judging
        with judging.lock:
            judging.at_once += 1
            judging.most_at_once = max(judging.most_at_once, judging.at_once)
            judging.keys.append(self.headers.get("Authorization"))
            fault = judging.faults.pop(0) if judging.faults else ""
        try:
            self._respond(body, fault)
        finally:
            with judging.lock:
                judging.at_once -= 1

    def _respond(self, body: dict[str, Any], fault: str) -> None:
        judging = self.judging
        if judging.key and self.headers.get("Authorization") != f"Bearer {judging.key}":
            self._send(401, json.dumps({"error": self.headers.get("Authorization")}))
        elif any(text in json.dumps(body) for text in judging.refused):
            self._send(400, json.dumps({"error": "this question is too long"}))
        elif judging.newer and "max_tokens" in body:
            judging.requests.append((self.path, body))
            said = "'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
            self._send(400, json.dumps({"error": {"message": f"Unsupported parameter: {said}"}}))
        elif fault.isdigit():
            self._send(int(fault), json.dumps({"error": "told to fail"}))
        elif fault in {"html", "garbage"}:
            self._send(200, {"html": "<html>Bad gateway</html>", "garbage": "0.3 0.4"}[fault])
        else:
            judging.requests.append((self.path, body))
            choices = [] if fault == "choices" else [judging.choice(self.path, body, fault)]
            self._send(200, json.dumps({"choices": choices}))

    def _send(self, status: int, text: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(data)
