"""A server asked as a trainer asks it: byte by byte what their own code sends, and what it costs.

`trainers.json` holds what verl 0.9.1, OpenRLHF 0.11.2 and slime sent themselves, recorded by
`record_trainers.py`.
"""

import json
from pathlib import Path

import pytest
import tiny_models
import torch
import transformers
from stored_scores import rewards_by
from trainers_server import SAMPLES, TrainersServer

from rmcheck.errors import ScoringError, UsageError
from rmcheck.models.registry import open_model

SAMPLE = SAMPLES[0]
GOLDEN = json.loads(Path(__file__).with_name("trainers.json").read_text("utf-8"))


@pytest.fixture
def served():
    """A server that looks like vLLM."""
    with TrainersServer() as running:
        yield running


def sent(server, path, settings, sample=SAMPLE):
    """The reward of a sample, and the one request that it took."""
    rewards = rewards_by(f"http:{server.url}{path}?{settings}", [sample])
    ((where, body),) = [r for r in server.requests if r[1] is not None][-1:]
    return rewards.tolist(), where, body


@pytest.mark.parametrize(
    ("trainer", "family", "path", "settings"),
    [
        ("verl on vllm", "vllm", "", "client=verl&tokenizer={}"),
        ("verl on sglang", "sglang", "", "client=verl&tokenizer={}"),
        ("openrlhf", "vllm", "/get_reward", "client=openrlhf&policy={}"),
        ("slime", "vllm", "/rm", "client=slime&policy={}"),
    ],
)
def test_requests_are_those_of_the_trainers_own_code(folder, trainer, family, path, settings):
    """To the byte: texts, special tokens, labels, flags, and one text a request."""
    with TrainersServer(family) as server:
        for sample in SAMPLES:
            rewards, *_ = sent(server, path, settings.replace("{}", str(folder)), sample)
            assert rewards == [0.25]

    assert [list(one) for one in server.bodies] == GOLDEN[trainer]["requests"]


def test_the_page_says_what_is_sent(served, folder):
    """The trainer, its request and how a text begins and ends."""
    model = open_model(f"http:{served.url}?client=verl&tokenizer={folder}").load()
    proven = model.prove(model.encode([SAMPLE]))

    told = {item.name: item.detail for item in proven.items}
    assert told["client"] == "verl: POST /classify, one text a request, use_activation false"
    assert "four" in told["text"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("client=verl", "name its tokenizer's folder"),
        ("client=verl&tokenizer={}&eos=append", "verl has no eos; remove eos="),
        ("client=trl&tokenizer={}", "TRL asks no server; it loads the checkpoint"),
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


# -- through the gate -------------------------------------------------------------------------

SUITE = """\
rmcheck: 1
name: served
directionless: true
min_prompts: 2
pool: {path: pool.jsonl}
golden: {column: golden}
checks:
  - {name: order, metric: rank_flips, at_most: 0.0}
  - {name: rewards, metric: score_drift, at_most: 0.001}
"""
# Without an end, and with the roles in capitals.
OTHER = tiny_models.CHAT_TEMPLATE.replace("<|{{ m.role }}|>", "{{ m.role | upper }}: ")
NO_END = tiny_models.CHAT_TEMPLATE.replace("<|end|>", "")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny reward model whose template opens an answer, as policies' do. Read only."""
    words = tiny_models.tokenizer(chat_template=tiny_models.POLICY_TEMPLATE)
    return tiny_models.save(
        tiny_models.decoder_config("llama"), tmp_path_factory.mktemp("rm") / "rm", words=words
    )


def served_by(checkpoint, server, *, adds_bos):
    """Let a server answer with the logits of a checkpoint for the text that it is sent."""
    words = transformers.AutoTokenizer.from_pretrained(checkpoint)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint)

    def reward(body):
        (text,) = body["query"] if "query" in body else [body["input"]]
        ids = words(text, add_special_tokens=adds_bos, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            return float(model.score(model.model(ids).last_hidden_state[0, -1])[0])

    server.reward = reward


def test_what_the_way_of_a_trainer_costs_is_shown_by_the_gate(checkpoint, pytester):
    """Nothing where all is well; a sigmoid left on, an EOS lost and another template each fail."""
    rows = [
        {"prompt": f"what is {text}", "responses": list(tiny_models.TEXTS[:4]), "golden": [1] * 4}
        for text in tiny_models.TEXTS
    ]
    pytester.path.joinpath("pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pytester.path.joinpath("served.yaml").write_text(SUITE)
    for name, text in {"other": OTHER, "no_end": NO_END}.items():
        pytester.path.joinpath(f"{name}.jinja").write_text(text)

    def gate(path, settings, candidate=""):
        result = pytester.runpytest_inprocess(
            "--rmcheck",
            f"--rmcheck-model=hf:{checkpoint}{candidate}",
            f"--rmcheck-serving=http:{server.url}{path}?{settings}",
        )
        outcomes = result.parseoutcomes()
        return outcomes.get("passed", 0), outcomes.get("failed", 0), result.stdout.str()

    with TrainersServer() as server:
        verl = f"client=verl&tokenizer={checkpoint}"
        served_by(checkpoint, server, adds_bos=True)
        assert gate("", verl)[:2] == (2, 0)
        assert gate("", f"{verl}&template=other.jinja")[1] >= 1
        ended = "?template=no_end.jinja&eos=append"  # which the trainer does not know of
        assert gate("", f"{verl}&template=no_end.jinja", ended)[1] >= 1
        raw = server.reward
        server.reward = lambda body: float(torch.sigmoid(torch.tensor(raw(body))))
        *found, said = gate("", f"{verl}&concurrency=1")
        assert found == [1, 1]
        assert "sigmoid" in said
        served_by(checkpoint, server, adds_bos=False)
        # A query ends with the EOS, and this template with a line break behind it.
        assert gate("/get_reward", f"client=openrlhf&policy={checkpoint}")[:2] == (1, 1)
