"""Every way in which a server fails: those that pass, and those that stay."""

import time

import pytest
from served import many, truth

from rmcheck.errors import (
    PartialScoringError,
    ScoringError,
)


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

    with pytest.raises(ScoringError, match="no whole answer before the deadline"):
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
