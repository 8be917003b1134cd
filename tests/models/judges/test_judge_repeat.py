"""Judges that are asked again about every text: what is kept, and what follows."""

import numpy as np
import pytest
from asking import refusal
from judging_server import JudgingServer, number_of

from rmcheck.errors import UsageError
from rmcheck.models.kinds.judge.engine import answer_seed
from rmcheck.models.registry import open_model
from rmcheck.scoring.members import fill_members, read_combined
from rmcheck.scoring.request import Request
from rmcheck.store.scores import MemoryStore

SCORE = r"read: {score: 'Score: (\d+)', range: [0, 999], temperature: 1.0"
RUBRIC = (
    "read: {criteria: {good: {range: [0, 9], weight: 2}, short: {range: [0, 9]}}, temperature: 1.0"
)


@pytest.fixture
def server():
    """A server whose numbers hang on question and seed."""
    with JudgingServer() as running:
        yield running


@pytest.fixture
def opened(server, tmp_path):
    """Opens judges of this server, and closes them."""
    models = []

    def open_it(read=SCORE, repeat=", repeat: 3}", query=""):
        file = tmp_path / "judge.yaml"
        file.write_text(
            f"engine: http:{server.url}?version=1\nprompt: '{{{{ response }}}}'\n{read}{repeat}\n"
        )
        models.append(open_model(f"judge:{file}{query}"))
        return models[-1]

    yield open_it
    for model in models:
        model.engine.server.client.close()


def judged(model, samples, store):
    """What a run does."""
    request = Request(model, tuple(samples))
    fill_members([request], lambda _: store)
    return read_combined(request, lambda _: store)


def test_each_answer_is_kept_and_the_reward_is_their_mean(opened, server, samples):
    """Three answers a text, each drawn with its own number."""
    model = opened()
    first = model.members[0].load()
    expected = np.array(
        [
            [
                number_of(one.sample.response, answer_seed(one.key, i))
                for one in first.encode(samples)
            ]
            for i in range(3)
        ]
    )

    found = judged(model, samples, MemoryStore())

    np.testing.assert_allclose(found.rewards, expected.mean(axis=0))
    for i in range(3):
        np.testing.assert_allclose(found.columns[f"repeat {i + 1}"], expected[i])


def test_the_first_answer_is_that_of_the_judge_without_repeat(opened, server, samples):
    """What was asked once is not asked again."""
    store = MemoryStore()
    once = judged(opened(repeat="}"), samples, store)
    server.requests.clear()

    again = judged(opened(), samples, store)

    assert len({r.response for r in samples}) * 2 <= len(server.requests)
    np.testing.assert_allclose(again.columns["repeat 1"], once.rewards)
    assert opened().fingerprint != opened(repeat="}").fingerprint


def test_a_rubric_is_asked_again_too(opened, server, samples):
    """The mean of each criterion, and each answer's weighted mean."""
    server.says = lambda question, seed: (
        f'{{"good": {number_of(question, seed) % 10}, "short": {number_of(question, seed) % 7}}}'
    )

    found = judged(opened(RUBRIC), samples, MemoryStore())

    good, short = found.columns["component good"], found.columns["component short"]
    np.testing.assert_allclose(found.rewards, (2 * good + short) / 3)
    each = [found.columns[f"repeat {i}"] for i in (1, 2, 3)]
    np.testing.assert_allclose(found.rewards, np.mean(each, axis=0))


@pytest.mark.parametrize("read", [SCORE, RUBRIC])
def test_each_answer_is_a_model_of_its_own(opened, read):
    """Under the spec that members have, also behind a criterion."""
    for member in opened(read).members:
        again = open_model(member.spec)
        assert again.fingerprint == member.fingerprint
        assert again.name == member.name


def test_an_answer_that_is_not_asked_for_is_refused(opened):
    """The message says how often it is asked."""
    assert "is asked 3 times" in refusal(UsageError, lambda: opened(query="?answer=4"))
    assert "is asked 1 times" in refusal(UsageError, lambda: opened(repeat="}", query="?answer=2"))
