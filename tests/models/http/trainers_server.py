"""A server that answers every trainer, and writes down what it was sent."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from loopback_server import LoopbackServer

from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message

_ASKED = (Message("user", "what is four"),)
_LONG = (Message("system", "Be brief."), *_ASKED, Message("assistant", "4?"), Message("user", "no"))
# What is sent of these stands in `trainers.json`, as trainers themselves send it.
SAMPLES = (
    Sample("a", 0, _ASKED, "four", columns={"label": "4"}),
    Sample("b", 0, _ASKED, 'say "four" – é,\n\tor  5 ', columns={"label": "4"}),
    Sample("c", 0, _LONG, " four"),
    Sample("d", 0, _ASKED, "four<|end|> or five", columns={"label": "4"}),
)
PAGES = {
    "vllm": {"/v1/models": {"data": [{"id": "rm", "root": "/rm"}]}},
    "sglang": {"/get_model_info": {"model_path": "rm"}},
}
ANSWERS: dict[str, Callable[[float], Any]] = {
    "/classify": lambda reward: {"data": [{"index": 0, "probs": [reward]}]},
    "/v1/embeddings": lambda reward: {"data": [{"index": 0, "embedding": [9.0, reward]}]},
    "/get_reward": lambda reward: {"rewards": [reward]},
    "/rm": lambda reward: reward,
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(PAGES[self.server.owner.family].get(self.path))

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode("utf-8")
        owner, body = self.server.owner, json.loads(text)
        with owner.lock:
            owner.requests.append((self.path, body))
            owner.bodies.append((self.path, text))
        self._send(owner.answered(self.path, body))

    def _send(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200 if value is not None else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class TrainersServer(LoopbackServer):
    """The server; use it as a context.

    Attributes:
        family: Whose pages it has.
        bodies: Path and body of every request, as it came over the wire.
        reward: What it gives for a body.
        answers: Path to what it answers with in the place of a reward.
    """

    def __init__(self, family: str = "vllm") -> None:
        super().__init__(_Handler)
        self.family = family
        self.bodies: list[tuple[str, str]] = []
        self.reward: Callable[[dict[str, Any]], float] = lambda body: 0.25
        self.answers: dict[str, Any] = {}

    def answered(self, path: str, body: dict[str, Any]) -> Any:
        """What it answers."""
        if path in self.answers or path not in ANSWERS:
            return self.answers.get(path)
        return ANSWERS[path](self.reward(body))
