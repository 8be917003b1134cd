"""Who a server is, what it is asked, and what names its model."""

import pytest
import tiny_models
from failing_server import FailingServer, reward_of
from served import KEY, many, truth
from stored_scores import fill

from rmcheck.errors import (
    ConformanceError,
    ScoringError,
    UnknownModelError,
    UsageError,
)
from rmcheck.models.engines.http.address import KEY_VARIABLE
from rmcheck.models.registry import open_model
from rmcheck.store.scores import ScoreStore

FAMILIES = ("vllm", "sglang", "tei", "openrlhf")


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_is_found_and_gives_its_rewards(family, words, opened):
    """The family is told by its pages; every text gets the reward of exactly its token ids."""
    with FailingServer(family, words) as server:
        model = opened(server)
        samples = tiny_models.samples()
        proven = model.prove(model.encode(samples))
        rewards = model.score(model.encode(samples))

        assert model.model.server.name == family
        assert rewards.tolist() == truth(model, samples)
        assert [item for item in proven.items if item.status == "fail"] == []


@pytest.mark.parametrize("family", ["vllm", "tei"])
def test_text_pairs_go_to_the_server_as_pairs(family, words, opened):
    """With template=pair prompt and response are sent as two texts, and read as one pair."""
    with FailingServer(family, words) as server:
        model = opened(server, "template=pair")
        encoded = model.encode(tiny_models.samples())
        model.prove(encoded)
        server.requests.clear()

        assert model.score(encoded).tolist() == [reward_of(e.ids) for e in encoded]
        assert {path for path, _ in server.requests} == {{"vllm": "/score"}.get(family, "/predict")}


def test_a_model_that_scores_every_token_is_read_at_the_last(server, opened):
    """/pooling may give one row a token: the last is the reward of the text."""
    model = opened(server, "endpoint=pooling")

    assert model.score(model.encode(many(3))).tolist() == truth(model, many(3))
    assert {path for path, _ in server.requests} == {"/pooling"}


def test_requests_are_as_large_as_the_server_allows(words, opened):
    """The server's own limit counts where it is less than the setting."""
    with FailingServer("tei", words) as server:
        model = opened(server)
        model.score(model.encode(many(7)))

    assert sorted(len(body["inputs"]) for _, body in server.requests) == [1, 3, 3]


def test_one_logit_of_several_must_be_named(words, opened):
    """Two logits and no head is an error that says how to name one; a wrong name is one too."""
    with FailingServer("vllm", words) as server:
        server.heads = 2
        encoded = opened(server).encode(many(2))
        with pytest.raises(ConformanceError, match=r"2 logits \(0, 1\).*head=0'"):
            opened(server).score(encoded)
        with pytest.raises(ConformanceError, match=r"no head '7'.*Heads: 0, 1"):
            opened(server, "head=7").score(encoded)

        rewards = opened(server, "head=1").score(encoded)

    assert rewards.tolist() == [reward_of((1, *e.ids)) for e in encoded]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("server=tei", "does not answer as tei does"),
        ("model=reward", "no model 'reward'. Did you mean 'reward-model'"),
        ("server=vlm", "server is 'vlm'. Did you mean 'vllm'"),
        ("max_length=999", "max_length is 999, but the server takes 256 tokens"),
        ("batch=0", "batch is '0'; it is a whole number from 1 up"),
        ("timeout=soon", "timeout is 'soon'"),
        ("endpoint=pooling&template=pair", "vLLM scores pairs at /score"),
        ("template=nope.jinja", "no template file"),
        ("template=pair&eos=append", "template=pair leaves EOS to the tokenizer"),
    ],
)
def test_a_wrong_setting_is_told_at_once(settings, said, server, opened):
    """Every setting that cannot be is an error when the model is opened."""
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        opened(server, settings)
    assert server.requests == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("http:localhost:8000", "has no address; write http:http://HOST:PORT"),
        ("http://localhost:8000", "did you mean 'http:http://localhost:8000'"),
        ("http:http://localhost:port", "has no address"),
        ("http:ftp://localhost", "has no address"),
        ("http:http://127.0.0.1:9", "no server to score with"),
    ],
)
def test_an_address_where_no_server_is(spec, said):
    """What is no address, and one where nobody answers, are told when the model is opened."""
    with pytest.raises(UsageError, match=said):
        open_model(spec)


def test_a_server_of_no_known_family(words, folder):
    """The message says which families there are."""
    with (
        FailingServer("other", words) as server,
        pytest.raises(UnknownModelError, match="none of sglang, tei, vllm, openrlhf"),
    ):
        open_model(f"http:{server.url}?tokenizer={folder}")


def test_the_tokenizer_must_be_named_unless_the_server_reads_this_disk(server, folder):
    """A server on this machine tells the folder of its weights, which holds the tokenizer."""
    with pytest.raises(UsageError, match=r"needs the model's tokenizer.*tokenizer=DIR"):
        open_model(f"http:{server.url}")
    with pytest.raises(UsageError, match="no tokenizer folder"):
        open_model(f"http:{server.url}?tokenizer={folder}/nope")
    server.root = str(folder)

    assert open_model(f"http:{server.url}").description["tokenizer"] == str(folder)


def test_the_limit_of_a_server_that_cuts_silently_must_be_said(words, folder):
    """OpenRLHF cuts at a length that it does not tell."""
    with (
        FailingServer("openrlhf", words) as server,
        pytest.raises(UsageError, match=r"cuts long texts without a word.*max_length=2048"),
    ):
        open_model(f"http:{server.url}?tokenizer={folder}")


def test_too_long_texts_are_never_sent(server, opened):
    """Lengths are checked here, all at once."""
    model = opened(server, "max_length=20")

    with pytest.raises(ScoringError, match="longer than the 20 tokens"):
        model.encode(tiny_models.samples())
    assert server.requests == []


def test_pairs_are_never_cut(words, opened):
    """A server takes the two texts whole, so cutting is refused by name."""
    with FailingServer("tei", words) as server:
        model = opened(server, "template=pair&max_length=20")

        with pytest.raises(ScoringError, match="a server takes pairs whole; prompts: 'p0'"):
            model.encode(tiny_models.samples(), "left")


def test_the_fingerprint_is_all_that_can_be_known(words, folder, tmp_path, opened):
    """It changes with what changes rewards, and with nothing else."""
    template = tmp_path / "other.jinja"
    template.write_text(tiny_models.CHAT_TEMPLATE.replace("<|user|>", "<|system|>"))
    with FailingServer("vllm", words) as server, FailingServer("vllm", words) as other:
        known = {
            opened(server, settings, load=False).fingerprint
            for settings in (
                "version=1",
                "version=2",
                "version=1&endpoint=pooling",
                "version=1&head=0",
                "version=1&eos=strip",
                "version=1&max_length=100",
                f"version=1&template={template}",
            )
        }
        known.add(opened(other, "version=1", load=False).fingerprint)
        same = opened(server, "version=1&batch=3&concurrency=2&timeout=9", load=False).fingerprint
        assert same == opened(server, "version=1", load=False).fingerprint
        server.root = "/models/rm-newer"
        known.add(opened(server, "version=1", load=False).fingerprint)

    assert len(known) == 9
    assert same in known


def test_scores_are_kept_only_with_a_version(server, opened, tmp_path):
    """No address says which weights are behind it."""
    assert opened(server, "version=3", load=False).kept
    assert not opened(server, load=False).kept
    with pytest.raises(UsageError, match="not for keeping"):
        fill(opened(server), many(1), ScoreStore(tmp_path))


def test_the_key_comes_from_the_environment_and_stands_nowhere(server, opened, monkeypatch):
    """It is sent as a bearer token; no text that anyone reads has it, not even an echo of it."""
    server.key = KEY
    with pytest.raises(UnknownModelError, match=r"401 Unauthorized.*none is set.*RMCHECK_API_KEY"):
        opened(server)
    monkeypatch.setenv(KEY_VARIABLE, KEY + "x")
    with pytest.raises(UnknownModelError, match="which it does not take") as refused:
        opened(server)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    model = opened(server)
    proven = model.prove(model.encode(many(2)))

    opened = model.model
    shown = [refused.value, opened.spec, opened.name, model.description, opened, proven.items]
    assert KEY not in " ".join(map(str, shown))
    assert "***" in str(refused.value)
    assert server.headers[-1]["Authorization"] == f"Bearer {KEY}"


def test_a_key_that_no_header_takes_is_refused_and_not_shown(server, opened, monkeypatch):
    """A file's line break at its end is taken off; one inside it, or an umlaut, is an error."""
    server.key = KEY
    monkeypatch.setenv(KEY_VARIABLE, f"{KEY}\n")
    opened(server)
    monkeypatch.setenv(KEY_VARIABLE, f"{KEY}\n{KEY}")

    with pytest.raises(UsageError, match="characters that no API key has") as refused:
        opened(server)
    assert KEY not in str(refused.value)


def test_the_key_is_no_part_of_the_fingerprint(server, opened, monkeypatch):
    """A key that is replaced does not throw scores away."""
    before = opened(server, load=False).fingerprint
    monkeypatch.setenv(KEY_VARIABLE, KEY)

    assert opened(server, load=False).fingerprint == before


def test_a_password_in_the_address_is_refused_and_not_repeated():
    """Specs stand in logs and reports."""
    with pytest.raises(UsageError, match="RMCHECK_API_KEY") as refused:
        open_model(f"http:http://me:{KEY}@localhost:8000")

    assert KEY not in str(refused.value)
