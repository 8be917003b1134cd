"""`http:URL` as a policy, against a small server that fails as it is told."""

import pytest
import tiny_policies  # noqa: F401 - finds the servers of the models' tests
from judging_server import JudgingServer

from rmcheck.errors import ScoringError, UnknownModelError, UsageError
from rmcheck.lab.sampling.sampled_pool import sample_pool
from rmcheck.policies.policy import Decoding
from rmcheck.policies.registry import open_policy
from rmcheck.pool.reading import read_pool


@pytest.fixture
def server():
    """A server of one model that repeats the prompt with its seed."""
    with sampling() as running:
        yield running


def sampling():
    """Such a server."""
    server = JudgingServer()
    server.models = [{"id": "sft", "root": "/models/sft", "owned_by": "vllm"}]
    server.says = lambda prompt, seed: f"{prompt} {seed}"
    return server


def bodies(server):
    """What it was asked."""
    return [body for _, body in server.requests]


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
    asked = [{k: v for k, v in body.items() if k != "seed"} for body in bodies(server)]

    assert (
        asked
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

    assert "top_k" not in bodies(server)[0]


def test_fewer_responses_are_the_first_of_more_in_any_order(server, opened, prompts):
    """Seeds belong to prompt and index; responses return in order whoever answers first."""
    policy = opened(f"http:{server.url}")
    eight = policy.sample(prompts, 8, 1)

    assert policy.sample(prompts[::-1], 4, 1) == [responses[:4] for responses in eight][::-1]
    assert len({body["seed"] for body in bodies(server)}) == 32
    assert all(r.text.startswith("what is four ") for r in eight[0])


def test_passing_failures_are_tried_again(server, opened, prompts):
    """503 and 429 cost a try, not a response; no more requests at a time than allowed."""
    server.faults = ["503", "429", "500"]
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
    assert len(bodies(server)) == 8


@pytest.mark.parametrize("content", [7, ["text"]])
def test_an_answer_without_a_text_is_an_error(content, server, opened, prompts):
    """What came back is shown."""
    server.says = lambda *_: content

    with pytest.raises(ScoringError, match=r"no single choice with a text; it says: .*content"):
        opened(f"http:{server.url}").sample(prompts[:1], 1)


def test_null_is_an_empty_response_and_length_a_cut_one(server, opened, prompts):
    """Both are counted, not dropped."""
    server.says, server.reason = lambda *_: None, "length"

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
    with sampling() as moved:
        assert opened(f"http:{moved.url}?version=1").fingerprint == versioned
        assert opened(f"http:{moved.url}").fingerprint != plain


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
