"""`http:URL` as a policy, against a small server that fails as it is told."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rmcheck.errors import ScoringError, UnknownModelError, UsageError
from rmcheck.lab.sampling.sampled_pool import sample_pool
from rmcheck.policies.policy import Decoding
from rmcheck.policies.registry import open_policy
from rmcheck.pool.reading import read_pool


class ChatServer(ThreadingHTTPServer):
    """Answers with the prompt and the seed.

    Attributes:
        models: What /v1/models lists.
        faults: Statuses that the next requests get instead of an answer.
        refused: Prompts that get a 400.
        reason: The finish_reason of every answer.
        content: What it says; None repeats the prompt with its seed.
        bodies: Every request that was answered.
        keys: The Authorization of every request.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.models = [{"id": "sft", "root": "/models/sft", "owned_by": "vllm"}]
        self.faults, self.refused, self.bodies, self.keys = [], set(), [], []
        self.reason, self.content = "stop", "echo"
        self.lock, self.at_once, self.most_at_once = threading.Lock(), 0, 0

    @property
    def url(self):
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Say nothing."""

    def do_GET(self):
        """The list of models."""
        self.answer(200, {"data": self.server.models})

    def do_POST(self):
        """A chat completion, or the next fault."""
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
            server.keys.append(self.headers.get("Authorization"))
            fault = server.faults.pop(0) if server.faults else 0
        prompt = body["messages"][-1]["content"]
        try:
            if prompt in server.refused:
                self.answer(400, {"error": "prompt is too long"})
            elif fault:
                self.answer(fault, {"error": "no"}, {"Retry-After": "0"})
            else:
                server.bodies.append(body)
                said = server.content
                text = f"{prompt} {body['seed']}" if said == "echo" else said
                message = {"role": "assistant", "content": text}
                choice = {"message": message, "finish_reason": server.reason}
                self.answer(200, {"choices": [choice]})
        finally:
            with server.lock:
                server.at_once -= 1

    def answer(self, status, value, headers=()):
        """Send JSON."""
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {**dict(headers), "Content-Length": str(len(data))}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server():
    """A running server."""
    with ChatServer() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def opened():
    """Opens a policy, and closes it after the test."""
    policies = []

    def open_one(spec):
        policies.append(open_policy(spec))
        return policies[-1]

    yield open_one
    for policy in policies:
        policy.close()


def test_every_response_is_asked_for_with_explicit_settings(server, opened, prompts):
    """One request a response; vLLM is told not to use the checkpoint's sampling defaults."""
    policy = opened(f"http:{server.url}")
    policy.sample(prompts[:1], 2, 0, Decoding(max_tokens=7, temperature=0.5))
    bodies = [{k: v for k, v in body.items() if k != "seed"} for body in server.bodies]

    assert (
        bodies
        == [
            {
                "model": "sft",
                "messages": [{"role": "user", "content": "what is four"}],
                "n": 1,
                "temperature": 0.5,
                "top_p": 1.0,
                "max_tokens": 7,
                "top_k": -1,
                "min_p": 0.0,
                "repetition_penalty": 1.0,
            }
        ]
        * 2
    )


def test_other_servers_get_fields_of_openai_alone(server, opened, prompts):
    """A server that is neither vLLM nor SGLang may refuse fields that it does not know."""
    server.models[0]["owned_by"] = "openai"
    opened(f"http:{server.url}/v1").sample(prompts[:1], 1)

    assert "top_k" not in server.bodies[0]


def test_fewer_responses_are_the_first_of_more_in_any_order(server, opened, prompts):
    """Seeds belong to prompt and index; responses return in order whoever answers first."""
    policy = opened(f"http:{server.url}")
    eight = policy.sample(prompts, 8, 1)

    assert policy.sample(prompts[::-1], 4, 1) == [responses[:4] for responses in eight][::-1]
    assert len({body["seed"] for body in server.bodies}) == 32
    assert all(r.text.startswith("what is four ") for r in eight[0])


def test_passing_failures_are_tried_again(server, opened, prompts):
    """503 and 429 cost a try, not a response; no more requests at a time than allowed."""
    server.faults = [503, 429, 500]
    policy = opened(f"http:{server.url}?concurrency=2")

    found = policy.sample(prompts, 2)

    assert [len(responses) for responses in found] == [2, 2, 2, 2]
    assert server.most_at_once <= 2
    assert len(server.keys) == 8 + 3


def test_a_refused_prompt_is_named_and_rows_before_it_are_kept(server, opened, prompts, tmp_path):
    """After the prompt is allowed, the same command finishes the file."""
    server.refused = {prompts[2].messages[0].content}
    policy = opened(f"http:{server.url}?concurrency=1")
    policy.at_once = 1
    path = tmp_path / "out.jsonl"
    with pytest.raises(ScoringError, match=r"prompt 'p2', response 0: .*400.*too long"):
        sample_pool(policy, prompts, path, n=2)
    kept = len(read_pool(path).prompts)
    server.refused = set()
    found = sample_pool(policy, prompts, path, n=2)

    assert kept == found.kept == 2
    assert len(server.bodies) == 8


@pytest.mark.parametrize("content", [7, ["text"]])
def test_an_answer_without_a_text_is_an_error(content, server, opened, prompts):
    """What came back is shown."""
    server.content = content

    with pytest.raises(ScoringError, match=r"no single choice with a text; it says: .*content"):
        opened(f"http:{server.url}").sample(prompts[:1], 1)


def test_null_is_an_empty_response_and_length_a_cut_one(server, opened, prompts):
    """Both are counted, not dropped."""
    server.content, server.reason = None, "length"

    ((response,),) = opened(f"http:{server.url}").sample(prompts[:1], 1)

    assert (response.text, response.cut) == ("", True)


def test_the_key_is_sent_and_stands_nowhere(server, opened, prompts, monkeypatch):
    """It comes from the environment."""
    monkeypatch.setenv("RMCHECK_API_KEY", "secret")
    policy = opened(f"http:{server.url}")
    policy.sample(prompts[:1], 1)

    assert server.keys == ["Bearer secret"]
    assert "secret" not in repr(policy) + policy.spec


def test_the_fingerprint_is_that_of_model_and_address_or_version(server, opened):
    """Another model or root is another policy; a stated version stands for the address."""
    plain = opened(f"http:{server.url}").fingerprint
    versioned = opened(f"http:{server.url}?version=1").fingerprint
    server.models[0]["root"] = "/models/other"

    assert len({plain, versioned, opened(f"http:{server.url}").fingerprint}) == 3
    with ChatServer() as moved:
        threading.Thread(target=moved.serve_forever, args=(0.02,), daemon=True).start()
        assert opened(f"http:{moved.url}?version=1").fingerprint == versioned
        assert opened(f"http:{moved.url}").fingerprint != plain
        moved.shutdown()


def test_the_model_must_be_told_where_it_is_not_the_only_one(server, opened):
    """The message lists what the server has; an unknown name is refused when opened."""
    server.models.append({"id": "base"})
    with pytest.raises(UsageError, match="model=NAME; it has sft, base"):
        opened(f"http:{server.url}")
    with pytest.raises(UnknownModelError, match=r"no model 'stf'. Models: sft, base."):
        opened(f"http:{server.url}?model=stf")

    assert opened(f"http:{server.url}?model=base").name.endswith("/base")


def test_a_server_that_is_not_there_is_said_when_opened(opened):
    """The address is in the message."""
    with pytest.raises(UnknownModelError, match=r"http://127.0.0.1:9.*no server answers"):
        opened("http:http://127.0.0.1:9")
