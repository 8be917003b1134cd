"""A server of rewards on this machine, and models that ask it."""

import functools

import pytest
import tiny_models
from failing_server import FailingServer

from rmcheck.models.engines.http.address import KEY_VARIABLE
from rmcheck.models.engines.http.client import Patience
from rmcheck.models.kinds.classifier import http as http_model
from rmcheck.models.registry import open_model


@pytest.fixture(scope="module")
def words():
    """A tokenizer that adds a BOS to every text, like Llama 3's."""
    return tiny_models.tokenizer()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, words):
    """Its folder."""
    path = tmp_path_factory.mktemp("tokenizer")
    words.save_pretrained(path)
    return path


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch):
    """Retries wait hundredths of a second, and no key comes from outside."""
    quick = functools.partial(Patience, first_delay=0.01, longest_delay=0.05)
    monkeypatch.setattr(http_model, "Patience", quick)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.fixture
def server(words):
    """A vLLM server."""
    with FailingServer("vllm", words) as running:
        yield running


@pytest.fixture
def opened(folder):
    """Opens models of a server, and closes them."""
    sessions = []

    def open_it(server, settings="", *, load=True):
        needed = "&max_length=256" if server.family == "openrlhf" else ""
        spec = f"http:{server.url}?tokenizer={folder}{needed}{settings and '&'}{settings}"
        model = open_model(spec)
        if not load:
            return model
        sessions.append(model.load())
        return sessions[-1]

    yield open_it
    for session in sessions:
        session.close()
