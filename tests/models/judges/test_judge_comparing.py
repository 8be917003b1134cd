"""Judges that compare responses: what they are asked, in which order, and the ratings of it."""

import re

import numpy as np
import pytest
from asking import refusal
from hypothesis import given
from hypothesis import strategies as st
from judging_server import JudgingServer

from rmcheck.errors import ScoringError, UsageError
from rmcheck.models.kinds.judge.lists import compared, design
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message
from rmcheck.scoring.members import fill_members, read_combined
from rmcheck.scoring.request import Request
from rmcheck.store.scores import MemoryStore, ScoreStore

PAIR = "{{ prompt }} A: {{ responses[0] }} B: {{ responses[1] }}"
LIST = "{{ prompt }}{% for one in responses %} / {{ one }}{% endfor %}"
CHOICE = r"read: {choice: '\[\[([A-Z])\]\]', tie: [T]"
SCORES = r"read: {scores: 'Scores: \[([^\]]*)\]', range: [0, 9]"


def responses(*texts, prompt="p"):
    """Samples of one prompt."""
    asked = (Message("user", f"Which, {prompt}?"),)
    return [Sample(prompt, i, asked, text) for i, text in enumerate(texts)]


def numbers(question):
    """The numbers that responses hold in angle brackets, as shown."""
    return [float(text) for text in re.findall(r"<(\d+)>", question)]


def larger(question, seed):
    """Says which response holds the larger number, whatever its place."""
    found = numbers(question)
    best = [i for i, number in enumerate(found) if number == max(found)]
    return f"Hm. [[{'T' if len(best) > 1 else 'ABCDEFGH'[best[0]]}]]"


def first(question, seed):
    """Always names the first place."""
    return "[[A]]"


@pytest.fixture
def server():
    """A server that knows the larger number."""
    with JudgingServer() as running:
        running.says = larger
        yield running


@pytest.fixture
def opened(server, tmp_path):
    """Opens judges of this server, and closes them."""
    models = []

    def open_it(read=CHOICE, more="}", rest="", prompt=PAIR, version="?version=1"):
        file = tmp_path / "compare.yaml"
        file.write_text(
            f"engine: http:{server.url}{version}\nprompt: '{prompt}'\n{read}{more}\n{rest}\n"
        )
        models.append(open_model(f"judge:{file}"))
        return models[-1]

    yield open_it
    for model in models:
        model.engine.server.client.close()


def judged(model, samples, store=None):
    """Rewards and columns, as a run comes to them."""
    request, store = Request(model, tuple(samples)), store or MemoryStore()
    fill_members([request], lambda _: store)
    return read_combined(request, lambda _: store)


def asked(server):
    """Every question that the server was sent, once."""
    return list(dict.fromkeys(body["messages"][-1]["content"] for _, body in server.requests))


# -- which questions are asked --------------------------------------------------------------------


def test_every_pair_is_asked_in_both_orders(server, opened):
    """Three responses are six questions; equal texts are one response."""
    judged(opened(), responses("<1>", "<2>", "<3>", "<2>"))

    pairs = [tuple(numbers(question)) for question in asked(server)]
    assert sorted(pairs) == [(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)]


@given(count=st.integers(0, 40), size=st.integers(2, 6), opponents=st.integers(2, 9))
def test_lists_connect_all_and_use_each_response_equally(count, size, opponents):
    """Whatever is asked, every two responses can be compared along a chain of lists."""
    lists = design(count, size, opponents, seed=count)
    times = np.bincount([number for one in lists for number in one], minlength=count)
    reached = {0}
    for _ in range(count):
        reached |= {number for one in lists if reached & set(one) for number in one}

    assert all(len(set(one)) == len(one) for one in lists)
    assert count < 2 or len(set(times)) == 1
    assert count < 2 or reached == set(range(count))


def test_up_to_eight_all_pairs_are_asked_and_of_more_each_has_six_others():
    """By default; `opponents` says another number."""
    assert len(design(8, 2, 7, seed=0)) == 28
    assert len(design(64, 2, 7, seed=0)) == 64 * 3
    assert len({tuple(sorted(pair)) for pair in design(64, 2, 7, seed=0)}) == 64 * 3


def test_the_order_of_a_pool_changes_no_question():
    """The texts of a prompt decide what is asked, not their places."""
    texts = [f"<{number}>" for number in range(12)]
    one, other = responses(*texts), responses(*texts[::-1])

    def shown(samples):
        (prompt,) = compared(samples, 2, 7)
        return [[s.response for s in each] for each in prompt.shown(samples)]

    assert shown(one) == shown(other)


# -- rewards --------------------------------------------------------------------------------------


def test_rewards_rank_as_the_judge_does(opened):
    """Over two prompts; equal texts have equal rewards, ties are none."""
    samples = responses("<4>", "<1>", "<3>", "<1>") + responses("<7>", "<2>", prompt="q")

    found = judged(opened(), samples)

    assert np.argsort(-found.rewards[:4], kind="stable").tolist() == [0, 2, 1, 3]
    assert found.rewards[1] == found.rewards[3]
    assert found.rewards[4] == -found.rewards[5] > 0
    assert not found.warning


def test_a_tie_in_both_orders_is_half_a_win_each(opened, server):
    """And so is one that each order decides for its first place."""
    samples = responses("<3> a", "<3> b")
    assert judged(opened(), samples).rewards.tolist() == [0, 0]

    server.says = first
    found = judged(opened(version="?version=2"), samples)

    assert found.rewards.tolist() == [0, 0]
    assert found.columns["order inconsistent"].sum() == 1
    assert found.columns["order consistent"].sum() == 0
    assert found.columns["order first"].sum() == 1


def test_the_best_of_a_list_is_chosen_in_both_orders(opened, server):
    """As RewardBench 2 ranks four responses: one question, and its reverse."""
    found = judged(opened(more=", of: 4}", prompt=LIST), responses("<1>", "<9>", "<3>", "<4>"))

    assert len(asked(server)) == 2
    assert int(np.argmax(found.rewards)) == 1
    assert len(set(found.rewards.tolist())) == 2


def test_scores_in_a_list_are_averaged_over_both_orders(opened, server):
    """Each response has the mean of its numbers, wherever it stood; one answer gives all."""
    server.says = lambda question, seed: (
        f"Scores: [{', '.join(str(n + (i == 0)) for i, n in enumerate(numbers(question)))}]"
    )
    samples = responses("<2>", "<8>", "<5>") + responses("<7>", prompt="q")

    found = judged(opened(SCORES, more=", of: 3}", prompt=LIST), samples)

    in_order = sorted(s.text_key for s in samples[:3])
    ends = [s.text_key in (in_order[0], in_order[-1]) for s in samples[:3]]
    expected = [n + 0.5 * end for n, end in zip((2, 8, 5), ends, strict=True)]
    assert found.rewards.tolist() == [*expected, 8]
    assert len(asked(server)) == 3


def test_a_checkpoint_in_this_process_compares_too(folder, tmp_path):
    """Three at a time, each list asked about once for all of its numbers."""
    (tmp_path / "compare.yml").write_text(
        f"engine: hf:{folder}\nprompt: '{LIST}'\nunparsed: {{verdict: tie, at_most: 1}}\n"
        "read: {choice: '([abct])', tie: [t], of: 3, temperature: 1.0, max_tokens: 12}\n"
    )
    model, samples = open_model(f"judge:{tmp_path / 'compare.yml'}"), responses(*"vwxyz")
    store = MemoryStore()

    found = judged(model, samples, store)
    conformance = store.open(model.fingerprint).provenance.conformance
    (page,) = (item.detail for item in conformance if item.name == "parsed")

    assert "answers have a choice among those shown" in page
    assert np.ptp(found.rewards) > 0
    assert "of 10 answers" in found.warning


# -- what goes wrong ------------------------------------------------------------------------------


def test_a_run_goes_on_where_it_stopped(opened, server, tmp_path):
    """Verdicts are kept by prompt and texts in order; a response more costs only its own pairs."""
    samples = responses("<1>", "<2>", "<3>")
    judged(opened(), samples, ScoreStore(tmp_path / "store"))
    server.requests.clear()

    again = judged(opened(), samples, ScoreStore(tmp_path / "store"))
    assert not server.requests
    more = judged(
        opened(),
        [*samples, *responses("<1>", "<2>", "<3>", "<9>")[3:]],
        ScoreStore(tmp_path / "store"),
    )

    new = {tuple(numbers(question)) for question in asked(server)}
    assert new == {pair for n in (1, 2, 3) for pair in ((n, 9), (9, n))}
    assert np.argsort(again.rewards).tolist() == [0, 1, 2]
    assert np.argsort(more.rewards).tolist() == [0, 1, 2, 3]


def test_an_answer_without_a_verdict_is_an_error_that_shows_it_and_keeps_the_others(
    opened, server, tmp_path
):
    """The prompt, the responses in their order and the end of the answer; five are stored."""
    server.says = lambda question, seed: (
        "I would rather not" if numbers(question) == [3.0, 1.0] else larger(question, seed)
    )
    model, store = opened(), ScoreStore(tmp_path / "store")

    message = refusal(ScoringError, judged, model, responses("<1>", "<2>", "<3>"), store)

    assert "prompt 'p', responses 2, 0 in this order: no choice among those shown" in message
    assert "which ends 'I would rather not'" in message
    assert len(store.open(model.fingerprint)) == 5


def test_answers_without_a_verdict_may_be_ties_up_to_a_share(opened, server):
    """They are counted and said; beyond the share the run stops."""
    server.says = lambda question, seed: (
        "[[Q]]" if numbers(question) == [3.0, 1.0] else larger(question, seed)
    )
    samples = responses("<1>", "<2>", "<3>")

    found = judged(opened(rest="unparsed: {verdict: tie, at_most: 0.2}"), samples)
    strict = opened(rest="unparsed: {verdict: tie, at_most: 0.1}")
    message = refusal(ScoringError, judged, strict, samples)

    assert np.argsort(found.rewards).tolist() == [0, 1, 2]
    assert "1 of 6 answers (16.7%) have no choice" in found.warning
    assert found.columns["order consistent"].sum() == pytest.approx(2)
    assert "unparsed.at_most allows 10.0%" in message


def test_a_list_of_another_length_is_no_answer(opened, server):
    """Three responses, two numbers."""
    server.says = lambda question, seed: "Scores: [3, 4]"

    message = refusal(
        ScoringError,
        judged,
        opened(SCORES, more=", of: 3}", prompt=LIST),
        responses("<1>", "<2>", "<3>"),
    )

    assert "no list of numbers from 0 to 9, one for each response" in message


def test_texts_of_a_prompt_each_cannot_be_compared(opened):
    """As when a test scores texts of its own."""
    message = refusal(UsageError, judged, opened(), responses("<1>"))

    assert "needs two different responses to a prompt" in message


def test_a_judge_that_compares_is_a_member_of_an_ensemble(opened, server):
    """Its ratings are combined with what others say of the same responses, and kept as its own."""
    judge, store = opened(), MemoryStore()
    ensemble = open_model(f"ensemble:{judge.spec},fake:length_biased?scale=prompt")
    samples = responses("<1>", "<2> and more", "<3>", "<2>") + responses("<7>", "<8>", prompt="q")

    found = judged(ensemble, samples, store)
    server.requests.clear()
    ratings = judged(judge, samples, store).rewards
    lengths = np.array([len(sample.response) for sample in samples], float)

    assert not server.requests  # each comparison is known
    assert ensemble.compares
    prompts = [slice(0, 4), slice(4, 6)]
    each = [np.concatenate([row[p] - row[p].mean() for p in prompts]) for row in (ratings, lengths)]
    expected = sum(row / np.sqrt((row**2).sum() / 4) for row in each) / 2
    np.testing.assert_allclose(found.rewards, expected, atol=1e-9)


AGAIN = CHOICE + ", temperature: 1.0"


def moody(question, seed):
    """Prefers the larger number in two answers of three."""
    a, b = numbers(question)
    return f"[[{'A' if (a > b) == (seed % 3 > 0) else 'B'}]]"


@pytest.mark.parametrize("more", [", repeat: 3}", ", repeat: 3, of: 3}"])
def test_a_judge_that_compares_is_asked_again(opened, server, more):
    """Each answer about a list is kept apart, and the reward is the mean of their ratings."""
    server.says = moody if "of" not in more else larger
    samples, store = responses("<1>", "<2>", "<3>"), MemoryStore()
    prompt = PAIR if "of" not in more else LIST
    model = opened(AGAIN, more, prompt=prompt)

    found = judged(model, samples, store)
    put = {(body["messages"][-1]["content"], body["seed"]) for _, body in server.requests}
    server.requests.clear()
    each = [judged(open_model(f"{model.spec}?answer={i}"), samples, store) for i in (1, 2, 3)]
    judged(opened(AGAIN, more.replace(", repeat: 3", ""), prompt=prompt), samples, store)

    assert not server.requests
    np.testing.assert_allclose(found.rewards, np.mean([one.rewards for one in each], axis=0))
    for number, one in enumerate(each, 1):
        np.testing.assert_allclose(found.columns[f"repeat {number}"], one.rewards)
    consistent = np.mean([one.columns["order consistent"] for one in each], axis=0)
    np.testing.assert_allclose(found.columns["order consistent"], consistent)
    if prompt == PAIR:  # six questions, and not all three answers say the same
        assert len(put) == 18
        assert np.ptp([one.rewards for one in each], axis=0).any()


def test_a_template_that_compares_shows_the_responses(opened):
    """And one that does not shows the response."""
    message = refusal(UsageError, lambda: opened(prompt="{{ response }}"))

    assert "it does not show the responses; write {{ responses[0] }}" in message
