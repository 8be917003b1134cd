"""Models behind a server: what is asked, what comes back, and every way in which that fails."""

import functools
import json
import random
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny_models
from failing_server import FailingServer, reward_of

from rmcheck.errors import (
    ConformanceError,
    PartialScoringError,
    ScoringError,
    UnknownModelError,
    UsageError,
)
from rmcheck.models.engines.http.address import KEY_VARIABLE
from rmcheck.models.engines.http.client import Patience
from rmcheck.models.kinds.classifier import http as http_model
from rmcheck.models.model import Sample
from rmcheck.models.proof.conformance import page
from rmcheck.models.registry import open_model
from rmcheck.pool.pool import Message
from rmcheck.scoring.request import scores_of
from rmcheck.scoring.scorer import fill
from rmcheck.store.scores import MemoryStore, ScoreStore

FAMILIES = ("vllm", "sglang", "tei", "openrlhf")
KEY = "sk-very-secret"


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
    models = []

    def open_it(server, settings="", *, load=True):
        needed = "&max_length=256" if server.family == "openrlhf" else ""
        spec = f"http:{server.url}?tokenizer={folder}{needed}{settings and '&'}{settings}"
        models.append(open_model(spec))
        if load:
            models[-1].load()
        return models[-1]

    yield open_it
    for model in models:
        model.close()


def many(count):
    """Different texts, each its own prompt."""
    return [
        Sample(f"p{i}", 0, (Message("user", f"what is {i}"),), f"it is {'so ' * (i % 5)}{i}")
        for i in range(count)
    ]


def truth(model, samples):
    """The rewards that the server has for these samples."""
    return [reward_of(encoded.ids) for encoded in model.encode(samples)]


# -- who the server is ------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_is_found_and_gives_its_rewards(family, words, opened):
    """The family is told by its pages; every text gets the reward of exactly its token ids."""
    with FailingServer(family, words) as server:
        model = opened(server)
        samples = tiny_models.samples()
        model.prove(model.encode(samples))
        rewards = model.score(model.encode(samples))

        assert model.server.name == family
        assert rewards.tolist() == truth(model, samples)
        assert [item for item in model.conformance if item.status == "fail"] == []


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


# -- fingerprint and key ----------------------------------------------------------------------


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
    model.prove(model.encode(many(2)))

    shown = [refused.value, model.spec, model.name, model.description, model, model.conformance]
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


# -- the conformance page ---------------------------------------------------------------------


def item(model, name):
    """One line of the page."""
    return next(found for found in model.conformance if found.name == name)


def test_raw_logits_are_proved_by_asking_both_ways(server, opened):
    """The probabilities that the server gives otherwise are those of the logits."""
    model = opened(server)

    model.prove(model.encode(many(8)))

    assert item(model, "activation").status == "pass"
    assert "without it the server gives their probabilities" in item(model, "activation").detail


def test_a_model_without_activation_gives_logits_either_way(server, opened):
    """Both answers agree and some lie outside [0, 1], so they are logits."""
    server.activation = "never"
    model = opened(server)

    model.prove(model.encode(many(8)))

    assert item(model, "activation").status == "pass"
    assert "no activation" in item(model, "activation").detail


def test_a_server_that_squashes_whatever_is_asked_is_refused(server, opened):
    """It ignores the field, and answers 200."""
    server.activation = "always"
    model = opened(server)

    with pytest.raises(ConformanceError, match=r"fail  activation .*ignores the field"):
        model.prove(model.encode(many(8)))


def test_probabilities_of_a_server_without_the_choice_are_noted(words, opened):
    """Nothing proves SGLang's answers raw; that all lie in [0, 1] is said."""
    with FailingServer("sglang", words) as server:
        server.activation = "always"
        model = opened(server)
        model.prove(model.encode(many(8)))

    assert "all lie in [0, 1]" in item(model, "activation").detail


def test_the_page_says_who_tokenises(words, opened):
    """Ids are sent where they are taken; else the text of which the server makes the same ids."""
    with FailingServer("vllm", words) as one, FailingServer("openrlhf", words) as other:
        ids, text = opened(one), opened(other)
        ids.prove(ids.encode(many(4)))
        text.prove(text.encode(many(4)))
        sent = other.requests[0][1]["query"][0]

    assert "rmcheck tokenises" in item(ids, "tokens").detail
    assert "the server tokenises" in item(text, "tokens").detail
    assert item(text, "tokens").status == "pass"
    # The template's BOS is left out of the text: this tokenizer adds one itself.
    assert sent.startswith("<|user|>")


def test_a_server_that_reads_other_special_tokens_is_refused(words, opened):
    """OpenRLHF's server adds an EOS, which eos=strip promises not to be there."""
    with FailingServer("openrlhf", words) as server:
        model = opened(server, "eos=strip")

        with pytest.raises(ConformanceError, match=r"fail  tokens .*append where the server adds"):
            model.prove(model.encode(many(4)))


def test_a_server_that_adds_tokens_is_refused(server, opened):
    """The server's own count of tokens is compared with ours, in every request."""
    server.extra_tokens = 1
    model = opened(server)
    encoded = model.encode(many(3))
    tokens = sum(e.length for e in encoded)

    with pytest.raises(
        ScoringError, match=f"read {tokens + 3} tokens in 3 texts that have {tokens}"
    ):
        model.score(encoded)


@pytest.mark.parametrize(
    ("typed", "vocabulary", "status"),
    [(True, 2, "pass"), (False, 2, "fail"), (False, 1, "pass"), (False, None, "note")],
)
def test_types_of_a_pair_are_proved(typed, vocabulary, status, server, words, tmp_path):
    """A model with type ids must answer differently to a pair and to its plain token ids."""
    words.save_pretrained(tmp_path)
    if vocabulary is not None:
        (tmp_path / "config.json").write_text(f'{{"type_vocab_size": {vocabulary}}}')
    server.typed, server.activation = typed, "never"
    model = open_model(f"http:{server.url}?tokenizer={tmp_path}&template=pair")
    model.load()

    try:
        if status == "fail":
            with pytest.raises(ConformanceError, match=r"fail  types .*read with one type"):
                model.prove(model.encode(many(4)))
        else:
            model.prove(model.encode(many(4)))
            assert item(model, "types").status == status
    finally:
        model.close()


def test_one_refused_sample_does_not_spoil_the_proof(server, opened):
    """The page is made of the others, and counts it."""
    model = opened(server)
    encoded = model.encode(many(4))
    server.poison = {encoded[1].ids}

    model.prove(encoded)

    assert "it refused 1 of 4 texts" in item(model, "server").detail


def test_the_page_can_be_read(server, opened):
    """Every line has a name and says what was found."""
    model = opened(server)
    model.prove(model.encode(many(8)))

    assert page(model.conformance).count("\n") == len(model.conformance) - 1
    assert "scores live for one session" in item(model, "identity").detail
    assert "vllm 0.32.0" in item(model, "server").detail


# -- failures that pass -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", ["429", "429:0", "500", "502", "503", "504", "424", "408", "drop", "truncated"]
)
def test_what_passes_is_tried_again(fault, server, opened):
    """Twice in a row, then the answer comes; nothing is lost or asked a fourth time."""
    model = opened(server)
    server.faults = [fault, fault]

    assert model.score(model.encode(many(3))).tolist() == truth(model, many(3))
    assert len(server.requests) == 3


def test_retry_after_is_honoured(server, opened):
    """The server's own wish counts, where the delays here are hundredths of a second."""
    model = opened(server)
    server.faults = ["429:1"]
    started = time.monotonic()

    model.score(model.encode(many(1)))

    assert 1.0 <= time.monotonic() - started < 20


def test_a_wish_beyond_the_deadline_is_the_end(server, opened):
    """Nobody waits an hour in CI."""
    model = opened(server, "deadline=60")
    server.faults = ["503:3600"]
    started = time.monotonic()

    with pytest.raises(ScoringError, match="503 Service Unavailable"):
        model.score(model.encode(many(1)))
    assert time.monotonic() - started < 30


def test_a_server_that_hung_up_meanwhile_costs_no_try(server, opened):
    """A kept connection that was closed is opened again at once."""
    model = opened(server, "tries=1")
    encoded = model.encode(many(2))
    model.score(encoded)
    server.faults = ["drop"]

    assert model.score(encoded).tolist() == truth(model, many(2))


# -- failures that stay -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("429", "429 Too Many Requests.*told to fail"),
        ("503", "503 Service Unavailable"),
        ("404", "no such endpoint, or no such model"),
        ("401", "RMCHECK_API_KEY"),
        ("302", "It moved to"),
        ("drop", "RemoteDisconnected"),
        ("truncated", "the answer broke off after [0-9]+ bytes"),
        ("html", "the answer is an HTML page; it says: <html><body>Bad gateway"),
        ("garbage", "the answer is no JSON; it says: 0.3 0.4"),
        ("empty", "the answer has no list 'data'; it has nothing"),
        ("short", "2 scores for 3 texts"),
        ("long", "4 scores for 3 texts"),
        ("shuffled", r"the scores are numbered \[2, 1, 0\], not 0 to 2"),
        ("word", "the score of text 0 is 'high', not a number"),
    ],
)
def test_what_stays_is_an_error_that_says_what_came(fault, said, server, opened):
    """After all tries, with the prompts of the request; nothing of it counts as a reward."""
    model = opened(server, "tries=3")
    server.faults = [fault] * 9

    with pytest.raises(
        PartialScoringError, match=f"texts .prompts 'p0', 'p1', 'p2'.*{said}"
    ) as failed:
        model.score(model.encode(many(3)))
    assert failed.value.rewards == {}
    assert not failed.value.goes_on


@pytest.mark.parametrize("fault", ["nan", "null", "huge", "huge_whole"])
def test_a_score_that_is_no_number_fails_only_its_text(fault, server, opened):
    """NaN, null and infinity are told with their prompt; the others of the request count."""
    model = opened(server)
    server.faults = [fault]

    with pytest.raises(
        PartialScoringError, match=r"prompt 'p0', response 0.*score is .(nan|inf)"
    ) as failed:
        model.score(model.encode(many(3)))
    assert failed.value.rewards == dict(enumerate(truth(model, many(3))[1:], start=1))
    assert failed.value.goes_on


@pytest.mark.parametrize("drip", ["drip_head", "drip_body", "drip_chunks", "drip_100"])
def test_a_dripping_server_is_cut_off_at_the_deadline(drip, server, opened):
    """Bytes that keep coming are no answer, and a header or a `100 Continue` is none either."""
    model = opened(server, "timeout=1&tries=3&deadline=2")
    server.faults = [drip] * 3

    with pytest.raises(ScoringError, match=r"no whole answer before the deadline \(2 s\)"):
        model.score(model.encode(many(1)))

    assert len(server.asked) == 1


def test_an_answer_that_takes_long_and_comes_is_taken(server, opened):
    """The deadline is for the whole request; `timeout` is for silence only."""
    model = opened(server, "timeout=1&tries=1&deadline=60")
    server.faults = ["slow_body"]

    assert model.score(model.encode(many(1))).tolist() == truth(model, many(1))


def test_a_silent_server_is_waited_for_no_longer_than_said(server, opened):
    """`timeout` bounds a try, `tries` their number."""
    model = opened(server, "timeout=1&tries=2")
    server.seconds = 1.5
    started = time.monotonic()

    with pytest.raises(ScoringError, match="no answer in 1 s"):
        model.score(model.encode(many(1)))
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("status", [400, 413, 422, 500])
def test_a_bad_text_fails_only_itself(status, server, opened):
    """Its request is halved until it stands alone: 40 texts, one bad, 39 rewards."""
    model = opened(server, "tries=2")
    encoded = model.encode(many(40))
    server.poison, server.poison_status = {encoded[17].ids}, status

    with pytest.raises(
        PartialScoringError, match=r"1 of 40 texts.*\n.*prompt 'p17'.*bad token"
    ) as failed:
        model.score(encoded)

    expected = truth(model, many(40))
    assert failed.value.rewards == {i: r for i, r in enumerate(expected) if i != 17}
    assert failed.value.goes_on
    # One request of 8, and of the 32 the whole, then two halves of each of five sizes.
    assert len(server.requests) <= 1 + 1 + (status == 500) + 2 * 5


def test_a_server_that_refuses_everything_is_left_alone(server, opened):
    """When no text of a request is taken the texts are not at fault, and the rest is not asked."""
    model = opened(server, "batch=4&concurrency=1")
    encoded = model.encode(many(40))
    server.poison = {e.ids for e in encoded}

    with pytest.raises(PartialScoringError, match="refuses every text of a request") as failed:
        model.score(encoded)
    assert not failed.value.goes_on
    assert len(server.requests) == 7


def test_concurrency_is_bounded_and_used(server, opened):
    """Never more requests at a time than said, and really several."""
    model = opened(server, "batch=2&concurrency=3")
    server.seconds = 0.05

    rewards = model.score(model.encode(many(24)))

    assert rewards.tolist() == truth(model, many(24))
    assert server.most_at_once == 3


# -- resume -----------------------------------------------------------------------------------


def test_what_a_failing_call_scored_is_stored(server, opened, tmp_path):
    """The server dies in the middle: its answers until then are kept, and never asked again."""
    samples, store = many(60), ScoreStore(tmp_path)
    model = opened(server, "version=1&batch=4&concurrency=2&tries=2")
    encoded = model.encode(samples)
    # More than the page takes: up to 8 requests of one text, and 8 texts twice.
    server.faults = [""] * 18 + ["503"] * 1000
    with pytest.raises(ScoringError, match="503"):
        fill(model, samples, store)
    found = store.open(model.fingerprint).lookup([sample.text_key for sample in samples])
    kept = {tuple(e.ids) for e, m in zip(encoded, found.missing, strict=True) if not m}
    before = len(server.asked)
    server.faults = []

    report = fill(opened(server, "version=1&batch=4", load=False), samples, store)

    assert 0 < len(kept) < 60
    assert (report.from_store, report.scored) == (len(kept), 60 - len(kept))
    assert kept.isdisjoint(server.asked[before:])
    check_scores(model, samples, store)


def check_scores(model, samples, store):
    """No score lost, none double, none wrong."""
    model.load()
    scores = scores_of(model, samples, store).scores
    assert scores.tolist() == truth(model, samples)
    opened_scores = store.open(model.fingerprint)
    assert (len(opened_scores), opened_scores.conflicts) == (len(samples), 0)


def test_a_bad_text_does_not_keep_the_later_batches_back(server, opened):
    """All others are scored and stored in the same run, and a repaired text alone in the next."""
    samples, store = many(30), MemoryStore()
    model = opened(server, "batch=4")
    model.load()
    encoded = model.encode(samples)
    longest = max(range(30), key=lambda i: encoded[i].length)
    server.poison = {encoded[longest].ids}
    with pytest.raises(ScoringError, match="bad token in a text"):
        fill(model, samples, store, budget=200)
    assert len(store.open(model.fingerprint)) == 29
    server.poison = set()

    report = fill(model, samples, store, budget=200)

    assert report.scored == 1
    check_scores(model, samples, store)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_fails_and_when_a_resumed_run_finishes_right(seed, server, opened, tmp_path):
    """Random faults in random requests: after some runs every score is there, once, and right."""
    rng = random.Random(seed)
    words = ["429", "500", "503", "drop", "truncated", "html", "short", "shuffled", "nan", "empty"]
    samples = many(40)
    store = ScoreStore(tmp_path)
    for _ in range(60):
        server.faults = [rng.choice(words) if rng.random() < 0.3 else "" for _ in range(60)]
        model = opened(server, "version=1&batch=3&concurrency=4&tries=2", load=False)
        try:
            fill(model, samples, store, budget=150)
            break
        except ScoringError:
            continue

    server.faults = []
    assert len(store.open(model.fingerprint)) == 40
    check_scores(model, samples, store)


# -- the gate ---------------------------------------------------------------------------------

SUITE = """\
rmcheck: 1
name: demo
pool: {path: pool.jsonl}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.10}
"""


def test_the_gate_runs_against_a_server(server, folder, tmp_path, monkeypatch):
    """`pytest --rmcheck` scores, judges and reports; the key is in no output and no file."""
    rows = (
        {"prompt_id": f"p{i}", "prompt": f"what is {i}", "responses": [f"{i}", f"why {i}", "no"]}
        | {"golden": [0, 1, 2]}
        for i in range(40)
    )
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "demo.yaml").write_text(SUITE)
    server.key = KEY
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    model = f"--rmcheck-model=http:{server.url}?tokenizer={folder}&version=1"
    command = [sys.executable, "-m", "pytest", "demo.yaml", "--rmcheck", model]

    done = subprocess.run(
        [*command, "--rmcheck-report=report"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 check: 1 pass." in done.stdout
    assert "the server gives their probabilities" in (tmp_path / "report/report.json").read_text()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY not in done.stdout + done.stderr
    assert KEY.encode() not in written


def test_an_empty_batch_asks_nothing(server, opened):
    """No texts, no request."""
    model = opened(server)

    assert model.score([]).tolist() == []
    assert isinstance(model.score([]), np.ndarray)
    assert server.requests == []
