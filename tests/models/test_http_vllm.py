"""A real vLLM server on loopback, against transformers on the same checkpoint."""

import numpy as np
import pytest
import tiny_models
from vllm_server import needs_server, serving

from rmcheck.cli import main
from rmcheck.errors import PartialScoringError, ScoringError, UnknownModelError
from rmcheck.models.engines.http.address import KEY_VARIABLE
from rmcheck.models.proof.conformance import page
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Encoded
from rmcheck.models.text.tokenization import input_key

KEY = "sk-loopback"
# float32 on both sides; engines agree to about 1e-5 on rewards that spread over a few units.
FLOAT32 = 1e-4

pytestmark = needs_server


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A tiny Llama; vLLM's attention on a CPU wants heads of 32 and more."""
    return tiny_models.llama(tmp_path_factory.mktemp("served"), hidden_size=128)


@pytest.fixture(scope="session")
def address(checkpoint, tmp_path_factory):
    """A vLLM server of that checkpoint, which asks for a key."""
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    options = ["--runner", "pooling", "--max-model-len", "256", "--api-key", KEY]
    with serving(checkpoint, log, *options) as url:
        yield url


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    """The key of the server."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)


@pytest.fixture
def served(address):
    """The model behind the server, loaded; its tokenizer is found where the server says."""
    model = open_model(f"http:{address}").load()
    yield model
    model.close()


@pytest.fixture(scope="session")
def reference(checkpoint):
    """Its rewards by transformers."""
    model = open_model(f"hf:{checkpoint}").load()
    rewards = model.score(model.encode(tiny_models.samples()))
    model.close()
    return rewards


def test_the_server_tells_who_it_is(served, checkpoint):
    """Model, folder of the weights, version and longest text, before anything is scored."""
    told = served.description

    assert told["server"].startswith("vllm ")
    assert (told["model"], told["root"]) == ("tiny", str(checkpoint))
    assert told["max_length"] == "256"


def test_rewards_are_those_of_transformers(served, reference):
    """Token ids in, raw logits out: float32 on both sides agrees to rounding."""
    rewards = served.score(served.encode(tiny_models.samples()))

    np.testing.assert_allclose(rewards, reference, rtol=0, atol=FLOAT32)
    assert np.ptp(reference) > 1


def test_the_pooling_endpoint_gives_the_same(address, reference):
    """/pooling and /classify are two ways to one logit."""
    model = open_model(f"http:{address}?endpoint=pooling&model=tiny&server=vllm").load()
    rewards = model.score(model.encode(tiny_models.samples()))
    model.close()

    np.testing.assert_allclose(rewards, reference, rtol=0, atol=FLOAT32)


def test_many_requests_side_by_side_change_nothing(served, reference):
    """400 texts in requests of 5, many at a time, in order."""
    model = open_model(f"{served.model.spec}?batch=5&concurrency=16").load()
    rewards = model.score(model.encode(tiny_models.samples() * 50))
    model.close()

    np.testing.assert_allclose(rewards, np.tile(reference, 50), rtol=0, atol=FLOAT32)


def test_the_server_proves_itself(served):
    """Raw by asking both ways; ids as sent by the server's own count; alone as together."""
    proven = served.prove(served.encode(tiny_models.samples()))
    shown = page(proven.items)

    assert "fail" not in shown
    assert "without it the server gives their probabilities" in shown
    assert "rmcheck tokenises" in shown
    assert KEY not in shown


def test_one_token_out_of_the_vocabulary_fails_only_its_text(served, reference):
    """The server refuses the whole request; halving finds the one."""
    encoded = served.encode(tiny_models.samples())
    bad = (*encoded[3].ids, 100_000)
    encoded[3] = Encoded(input_key(bad, ()), len(bad), bad, (), 0, encoded[3].sample)

    with pytest.raises(PartialScoringError, match="out of vocabulary") as failed:
        served.score(encoded)

    assert sorted(failed.value.rewards) == [0, 1, 2, 4, 5, 6, 7]
    np.testing.assert_allclose(
        list(failed.value.rewards.values()), np.delete(reference, 3), rtol=0, atol=FLOAT32
    )


def test_without_the_key_the_server_is_not_opened(address, monkeypatch):
    """The list of models is behind the key, and the message says which variable holds it."""
    monkeypatch.delenv(KEY_VARIABLE)

    with pytest.raises(UnknownModelError, match=f"401.*{KEY_VARIABLE}"):
        open_model(f"http:{address}")


def test_a_model_that_the_server_lost_is_an_error(served):
    """A name that it does not know any more ends the run, and says so."""
    encoded = served.encode(tiny_models.samples())
    object.__setattr__(served.model.server.identity, "model", "gone")

    with pytest.raises(ScoringError, match="no such endpoint, or no such model"):
        served.score(encoded)


def test_parity_holds_between_the_server_and_transformers(
    address, checkpoint, tmp_path, monkeypatch, capsys
):
    """The command scores both and finds no drift and no flip."""
    monkeypatch.chdir(tmp_path)
    rows = (
        f'{{"prompt_id": "p{i}", "prompt": "what is {i}", "responses": '
        f'["{i} dogs", "two plus two", "why {i}"], "golden": [0, 1, 2]}}\n'
        for i in range(10)
    )
    (tmp_path / "pool.jsonl").write_text("".join(rows))

    status = main(["parity", f"hf:{checkpoint}", f"http:{address}", "--pool=pool.jsonl"])
    shown = capsys.readouterr().out

    assert status == 0, shown
    assert "0 of 30 pairs flip" in shown
    assert "parity holds" in shown
