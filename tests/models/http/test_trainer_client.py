"""A server asked as a trainer asks it: the bodies of their sources, and what they cost.

Golden bodies are by verl's `experimental/reward_loop/reward_loop.py`, OpenRLHF's
`utils/remote_rm_utils.py` and slime's `rollout/rm_hub/__init__.py`, as of 2026-08.
"""

import json
from http.server import BaseHTTPRequestHandler

import pytest
from loopback_server import LoopbackServer

from rmcheck.errors import ScoringError, UsageError
from rmcheck.models.model import Sample
from rmcheck.models.registry import open_model
from rmcheck.pool.pool import Message
from rmcheck.scoring.request import scores_of
from rmcheck.scoring.scorer import fill
from rmcheck.store.scores import MemoryStore

SAMPLE = Sample("a", 0, (Message("user", "what is four"),), "four", columns={"label": "4"})
PAGES = {
    "vllm": {"/v1/models": {"data": [{"id": "rm", "root": "/rm"}]}},
    "sglang": {"/get_model_info": {"model_path": "rm"}},
}
ANSWERS = {
    "/classify": {"data": [{"index": 0, "probs": [0.25]}]},
    "/v1/embeddings": {"data": [{"index": 0, "embedding": [9.0, 0.25]}]},
    "/get_reward": {"rewards": [0.25]},
    "/rm": 0.25,
}


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self._send(PAGES[self.server.owner.family].get(self.path))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.owner.requests.append((self.path, body))
        self._send(self.server.owner.answers.get(self.path))

    def _send(self, value):
        data = json.dumps(value).encode()
        self.send_response(200 if value is not None else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class TrainersServer(LoopbackServer):
    """Answers every trainer, and writes down what it was sent."""

    def __init__(self, family="vllm"):
        super().__init__(_Handler)
        self.family, self.answers = family, dict(ANSWERS)


@pytest.fixture
def served():
    """A server that looks like vLLM."""
    with TrainersServer() as running:
        yield running


def sent(server, path, settings, sample=SAMPLE):
    """The reward of a sample, and the one request that it took."""
    model, store = open_model(f"http:{server.url}{path}?{settings}"), MemoryStore()
    fill(model, [sample], store)
    ((where, body),) = [r for r in server.requests if r[1] is not None][-1:]
    return scores_of(model, [sample], store).scores.tolist(), where, body


def test_verl_sends_a_text_without_bos_and_raw_logits_asked_for(served, folder, words):
    """The reward model's template over the answer, one BOS taken away."""
    rewards, path, body = sent(served, "", f"client=verl&tokenizer={folder}")

    turns = [{"role": "user", "content": "what is four"}, {"role": "assistant", "content": "four"}]
    text = words.apply_chat_template(turns, tokenize=False)
    assert text.startswith("<s>")
    assert (rewards, path) == ([0.25], "/classify")
    assert body == {"model": "rm", "input": text.removeprefix("<s>"), "use_activation": False}


def test_verl_asks_sglang_for_an_embedding(folder):
    """Whose last number is the reward."""
    with TrainersServer("sglang") as server:
        rewards, path, body = sent(server, "", f"client=verl&tokenizer={folder}")

    assert (rewards, path) == ([0.25], "/v1/embeddings")
    assert sorted(body) == ["input", "model"]


def test_verl_removes_the_policys_eos_from_an_answer(served, folder):
    """Wherever it stands, as verl does before it applies the template again."""
    sample = Sample("a", 0, SAMPLE.messages, "four<|end|> or five")

    _, _, body = sent(served, "", f"client=verl&tokenizer={folder}", sample)

    assert "four or five" in body["input"]


def test_openrlhf_sends_what_the_policy_read_and_wrote(served, folder, words):
    """Prompt by the policy's template, response and EOS; prompts and labels beside it."""
    rewards, path, body = sent(served, "/get_reward", f"client=openrlhf&policy={folder}")

    turns = [{"role": "user", "content": "what is four"}]
    prompt = words.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert (rewards, path) == ([0.25], "/get_reward")
    assert body == {"query": [f"{prompt}four<|end|>"], "prompts": [prompt], "labels": ["4"]}


def test_slime_sends_prompt_response_and_label(served, folder, words):
    """The response with its EOS, which SGLang leaves there; the answer itself is the reward."""
    rewards, path, body = sent(served, "/rm", f"client=slime&policy={folder}")

    assert (rewards, path) == ([0.25], "/rm")
    assert sorted(body) == ["label", "prompt", "response"]
    assert (body["response"], body["label"]) == ("four<|end|>", "4")


def test_the_page_says_what_is_sent(served, folder):
    """The trainer, its request and how a text begins and ends."""
    model = open_model(f"http:{served.url}?client=verl&tokenizer={folder}")
    model.load()
    proven = model.prove(model.encode([SAMPLE]))

    told = {item.name: item.detail for item in proven.items}
    assert told["client"] == "verl: POST /classify, one text a request, use_activation false"
    assert "four" in told["text"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("client=verl", "name its tokenizer's folder"),
        ("client=verl&tokenizer={}&eos=append", "verl has no eos; remove eos="),
        ("client=trl&tokenizer={}", "client is 'trl'"),
        ("tokenizer={}&policy={}", "policy is for client="),
    ],
)
def test_settings_that_a_trainer_has_not_are_refused(served, folder, settings, said):
    """With the one to remove."""
    with pytest.raises(UsageError, match=said):
        open_model(f"http:{served.url}?{settings.replace('{}', str(folder))}")


def test_an_answer_that_is_none_is_told(served, folder):
    """With the address and what was answered."""
    served.answers["/classify"] = {"data": []}

    with pytest.raises(ScoringError, match="no list 'data'"):
        sent(served, "", f"client=verl&tokenizer={folder}")


def test_the_trainers_way_is_another_model_than_ours(served, folder):
    """So that `serving:` compares two."""
    specs = [f"http:{served.url}?tokenizer={folder}{more}" for more in ("", "&client=verl")]

    assert len({open_model(spec).fingerprint for spec in specs}) == 2
