"""Judges behind a server: what is asked, what comes back, and every way in which that fails."""

import functools

import numpy as np
import pytest
import tiny_models
from judging_server import JudgingServer, log_odds, number_of

from rmcheck.errors import (
    ConformanceError,
    PartialScoringError,
    ScoringError,
    UnknownModelError,
    UsageError,
)
from rmcheck.models.engines.http import chat
from rmcheck.models.engines.http.address import HOST_VARIABLE, KEY_VARIABLE
from rmcheck.models.engines.http.client import Patience
from rmcheck.models.kinds.judge.engine import answer_seed
from rmcheck.models.registry import open_model

WORDS = 'read: {yes: [Yes, " Yes"], no: [No]}'
SCORE = "read: {score: 'Score: (\\d+)', range: [0, 999], samples: 3, temperature: 0.7}"
KEY = "sk-very-secret"


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch):
    """Retries wait hundredths of a second, and no key comes from outside."""
    quick = functools.partial(Patience, first_delay=0.01, longest_delay=0.05)
    monkeypatch.setattr(chat, "Patience", quick)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.fixture
def server():
    """A server of one model."""
    with JudgingServer() as running:
        yield running


@pytest.fixture
def opened(server, tmp_path):
    """Writes a judge's file, opens and loads it, and closes it after the test."""
    sessions = []

    def open_it(read=WORDS, settings="", more="", url=""):
        file = tmp_path / f"judge-{len(list(tmp_path.iterdir()))}.yaml"
        file.write_text(
            f"engine: http:{url or server.url}{settings}\n"
            'prompt: "{{ prompt }} / {{ response }}"\n'
            f"{read}\n{more}"
        )
        sessions.append(open_model(f"judge:{file}").load())
        return sessions[-1]

    yield open_it
    for session in sessions:
        session.close()


def question(sample):
    """The user turn of a sample."""
    return f"{sample.messages[-1].content} / {sample.response}"


def items(model, samples):
    """The items of the page by name."""
    proven = model.prove(model.encode(samples))
    return {item.name: item for item in proven.items}


def refusal(kind, act, *arguments):
    """The message of an error."""
    with pytest.raises(kind) as caught:
        act(*arguments)
    return str(caught.value)


# -- what is asked ----------------------------------------------------------------------------


def test_log_odds_are_those_of_the_tokens_that_the_server_shows(opened, samples):
    """Words of one side are summed in probability; others do not count."""
    model = opened()

    rewards = model.score(model.encode(samples))

    expected = [log_odds(question(sample)) for sample in samples]
    np.testing.assert_allclose(rewards, expected, rtol=0, atol=1e-12)


def test_the_next_token_is_asked_for_without_any_sampling_setting(server, opened, samples):
    """One token, no temperature, no cut of the distribution; the system turn comes first."""
    model = opened(more="system: Be strict.")

    model.score(model.encode(samples[:1]))

    assert server.requests == [
        (
            "/v1/chat/completions",
            {
                "model": "judge",
                "messages": [
                    {"role": "system", "content": "Be strict."},
                    {"role": "user", "content": question(samples[0])},
                ],
                "n": 1,
                "temperature": 1.0,
                "top_p": 1.0,
                "top_k": -1,
                "min_p": 0.0,
                "repetition_penalty": 1.0,
                "max_tokens": 1,
                "logprobs": True,
                "top_logprobs": 20,
            },
        )
    ]


def test_with_a_tokenizer_the_server_gets_the_ids_of_the_judge(server, opened, samples, tmp_path):
    """The answer is opened here, no template is applied there, and words are its own tokens."""
    tiny_models.tokenizer(chat_template=tiny_models.POLICY_TEMPLATE).save_pretrained(tmp_path / "t")
    read = "read: {yes: [Y], no: [N]}"
    refused = refusal(ConformanceError, opened, WORDS, "?tokenizer=t")
    server.called = {"Yes": "Y", " Yes": " Y", "No": "N"}
    model = opened(read, "?tokenizer=t")
    encoded = model.encode(samples)
    rewards = model.score(encoded)
    (path, body) = server.requests[-1]
    yes = [0.1 + 0.6 * number_of(repr(list(e.ids))) / 1000 for e in encoded]

    assert "'Yes' is 3 tokens here ('Y', 'e', 's')" in refused
    assert path == "/v1/completions"
    assert body["prompt"] in [list(e.ids) for e in encoded]
    assert body["logprobs"] == 20
    assert rewards.tolist() == pytest.approx([np.log(0.9 * p / (0.8 - p)) for p in yes])
    assert items(model, samples)["special_tokens"].status == "pass"


def test_every_answer_has_a_seed_of_question_and_number(server, opened, samples):
    """The reward is the mean of the numbers; the same question is asked with the same seeds."""
    model = opened(SCORE)
    encoded = model.encode(samples)

    rewards = model.score(encoded)
    expected = [
        np.mean([number_of(question(e.sample), answer_seed(e.key, i)) for i in range(3)])
        for e in encoded
    ]

    assert rewards.tolist() == expected
    assert model.score(encoded[::-1]).tolist() == expected[::-1]
    assert {body["temperature"] for _, body in server.requests} == {0.7}
    assert {body["max_tokens"] for _, body in server.requests} == {512}


def test_requests_go_side_by_side_up_to_the_limit(server, opened, samples):
    """At most `concurrency` at a time."""
    model = opened(SCORE, "?concurrency=2")

    model.score(model.encode(samples))

    assert server.most_at_once <= 2


# -- what is not shown ------------------------------------------------------------------------


def test_a_side_that_is_not_shown_stands_at_the_least_probability_shown(server, opened, samples):
    """It does not exceed that, so that the log-odds are bounded, and the page counts such texts."""
    server.hidden = {"No"}
    model = opened('read: {yes: [Yes, " Yes"], no: [No], censored_at_most: 1}')

    (reward,) = model.score(model.encode(samples[:1]))
    detail = items(model, samples)["censored"].detail

    yes = 0.1 + 0.6 * number_of(question(samples[0])) / 1000
    assert reward == pytest.approx(np.log(yes / min(0.03, 0.1 * yes)))
    assert detail.startswith("8 of 8 texts show words of one side only among the 20 likeliest")


def test_more_such_texts_than_stated_stop_the_run(server, opened, samples):
    """By default 5 %, one text aside; 0 allows none."""
    server.hidden = {"No"}
    encoded = opened().encode(samples)

    message = refusal(ScoringError, opened().score, encoded)
    none = 'read: {yes: [Yes, " Yes"], no: [No], censored_at_most: 0}'

    assert "of 8 of 8 texts the server shows words of one side only" in message
    assert "read.censored_at_most allows 5.0%" in message
    assert len(opened().score(encoded[:1])) == 1
    assert "1 of 1 texts" in refusal(ScoringError, opened(none).score, encoded[:1])


def test_a_text_without_either_word_has_no_reward(server, opened, samples):
    """It is named with the tokens that are likeliest; on the page that is a failure."""
    server.hidden = {"Yes", " Yes", "No"}
    model = opened()

    message = refusal(PartialScoringError, model.score, model.encode(samples[:2]))

    assert "prompt 'p0', response 1: none of the words" in message
    assert "which are 'Well' 0.15, 'The' 0.03" in message
    assert "fail  words" in refusal(ConformanceError, items, model, samples)


def test_a_judge_that_would_say_something_else_is_warned_of(opened, samples):
    """Below half of the probability the page shows the likeliest tokens."""
    model = opened('read: {yes: [" Yes"], no: [The]}')

    proven = model.prove(model.encode(samples))
    (item,) = [item for item in proven.items if item.name == "mass"]

    assert item.status == "note"
    assert item.detail.startswith("warning: p(yes) + p(no) is 0.0")
    assert "'Well' 0.15" in item.detail
    assert proven.described["warning"] == item.detail.removeprefix("warning: ")


# -- failures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["429", "500", "503"])
def test_passing_failures_are_tried_again(server, opened, samples, fault):
    """Nothing is lost."""
    server.faults = [fault] * 3
    model = opened(settings="?concurrency=1")

    rewards = model.score(model.encode(samples[:2]))

    assert rewards.tolist() == [pytest.approx(log_odds(question(s))) for s in samples[:2]]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("html", "the answer is an HTML page"),
        ("garbage", "the answer is no JSON"),
        ("choices", "no single choice"),
        ("logprobs", "no log-probabilities of the next token (20 were asked for)"),
        ("null", "no log-probabilities of the next token"),
    ],
)
def test_wrong_answers_stop_the_run_and_keep_the_rest(server, opened, samples, fault, said):
    """What was scored before is kept; nothing more is asked, and the prompt is named."""
    server.faults = ["", fault]
    model = opened(settings="?concurrency=1")

    with pytest.raises(PartialScoringError) as caught:
        model.score(model.encode(samples))

    assert said in str(caught.value)
    assert "stopped at 1 texts (prompts 'p0')" in str(caught.value)
    assert caught.value.rewards == {0: pytest.approx(log_odds(question(samples[0])))}
    assert not caught.value.goes_on


def test_an_answer_without_a_text_is_an_error(server, opened, samples):
    """A number where a text should be is no answer."""
    server.says = lambda *_: 7
    model = opened(SCORE)

    said = refusal(PartialScoringError, model.score, model.encode(samples[:1]))

    assert "no single choice with a text" in said


def test_a_refused_question_fails_alone(server, opened, samples):
    """The others have rewards, and other batches go on."""
    server.refused = {"why do foxes"}
    model = opened()

    with pytest.raises(PartialScoringError) as caught:
        model.score(model.encode(samples[:4]))

    assert sorted(caught.value.rewards) == [0, 1, 3]
    assert caught.value.goes_on
    assert "prompt 'p1', response 0" in str(caught.value)
    assert "this question is too long" in str(caught.value)


def test_servers_of_newer_models_are_asked_as_they_want(server, opened, samples):
    """OpenAI's newer models call the most tokens otherwise: refused once, right from then on."""
    server.newer = True
    model = opened(settings="?concurrency=1")

    rewards = model.score(model.encode(samples[:3]))

    assert rewards.tolist() == pytest.approx([log_odds(question(s)) for s in samples[:3]])
    names = [{name for name in body if name.startswith("max_")} for _, body in server.requests]
    assert names == [{"max_tokens"}, *[{"max_completion_tokens"}] * 3]


def test_what_newer_models_refuse_fails_alone_and_is_asked_once(server, opened, samples):
    """Only the name of the setting is a reason to ask again."""
    server.newer, server.refused = True, {"why do foxes"}
    model = opened(settings="?concurrency=1")

    with pytest.raises(PartialScoringError) as caught:
        model.score(model.encode(samples[:4]))

    assert sorted(caught.value.rewards) == [0, 1, 3]
    assert "this question is too long" in str(caught.value)


def test_a_server_that_is_gone_stops_the_run(server, opened, samples):
    """A status that no retry mends is told with the model's address."""
    server.faults = ["503"] * 50
    model = opened(settings="?tries=2&concurrency=1")

    message = refusal(PartialScoringError, model.score, model.encode(samples[:2]))

    assert f"{server.url}/v1/chat/completions: 503 Service Unavailable" in message


def test_the_key_is_sent_and_stands_nowhere(server, opened, samples, monkeypatch):
    """It comes from the environment and is in no message, spec or page."""
    server.key = KEY
    monkeypatch.setenv(HOST_VARIABLE, "127.0.0.1")
    keyless = opened()
    said = refusal(PartialScoringError, keyless.score, keyless.encode(samples[:1]))
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    model = opened()

    page = str(items(model, samples))

    assert "put it in the environment as RMCHECK_API_KEY" in said
    assert KEY not in page + str(model.description) + model.model.spec
    assert "API key: sent" in page


def test_the_model_must_be_one_that_the_server_has(server, opened):
    """A wrong name gets the list, and several models need a name."""
    wrong = refusal(UnknownModelError, opened, WORDS, "?model=juge")
    server.models.append({"id": "other"})

    assert "no model 'juge'. Models: judge." in wrong
    assert "say which model answers, model=NAME; it has judge, other" in refusal(UsageError, opened)
    assert opened(settings="?model=other").description["model"] == "other"


def test_a_server_that_is_not_there_is_said_when_opened(opened):
    """Before anything is scored."""
    message = refusal(UnknownModelError, opened, WORDS, "?tries=1", "", "http://127.0.0.1:9")

    assert "engine: http:http://127.0.0.1:9?tries=1: no server answers" in message


# -- what is kept -----------------------------------------------------------------------------


def test_scores_are_kept_where_a_version_names_the_weights(server, opened):
    """No address says which weights stand behind it."""
    assert not opened().model.kept
    assert opened(settings="?version=7").model.kept
    prints = {opened(settings=f"?version={version}").model.fingerprint for version in (7, 8)}
    assert len(prints) == 2


def test_speed_and_patience_are_no_part_of_the_fingerprint(opened):
    """Concurrency, timeout and tries change no reward."""
    plain = opened().model.fingerprint

    assert opened(settings="?concurrency=3&timeout=9&tries=2").model.fingerprint == plain


def test_the_page_says_who_makes_the_tokens(opened, samples):
    """Without a tokenizer a response may spell special tokens, and that is said."""
    page = items(opened(), samples)

    assert page["special_tokens"].status == "note"
    assert "tokenizer=DIR makes the ids here" in page["special_tokens"].detail
    assert page["server"].detail.endswith("answers as judge; API key: none is set")
