"""Judges that write a number: what is parsed, drawn and counted."""

import numpy as np
import pytest
import torch
import transformers
from asking import ASK, answers_of, items, log_probabilities, refusal, scored, text_of

from rmcheck.errors import ConformanceError, PartialScoringError, ScoringError
from rmcheck.models.kinds.judge.engine import answer_seed


def test_a_score_is_the_mean_of_what_is_parsed(folder, opened, samples):
    """Answers without a digit are left out; a text without any has the reward of `unparsed`."""
    model = opened(scored(40))
    encoded, read = model.encode(samples), model.model.read

    rewards = model.score(encoded)
    answers = answers_of(model, encoded).found
    by_hand = []
    for place in range(len(samples)):
        numbers = [read.parsed(answer.text, samples[place]) for answer in answers[place]]
        known = [number for number in numbers if number is not None]
        by_hand.append(np.mean(known) if known else -1.0)

    assert rewards.tolist() == by_hand
    assert any(reward != -1 for reward in rewards)


def test_answers_do_not_hang_on_the_batch(opened, samples):
    """Alone, reversed, or all together: the same answers, since each has a seed of its own."""
    model = opened(scored(12))
    encoded = model.encode(samples)

    together = answers_of(model, encoded).found
    backwards = answers_of(model, encoded[::-1]).found
    alone = [answers_of(model, [e]).found[0] for e in encoded]

    assert [together[i] for i in range(8)] == alone
    assert [backwards[7 - i] for i in range(8)] == alone
    assert len(set(alone[0])) == 4


def test_fewer_answers_are_the_first_of_more():
    """A seed is decided by question and number alone, and fits every engine."""
    seeds = [answer_seed(b"question", i) for i in range(1000)]

    assert len(set(seeds)) == 1000
    assert max(seeds) < 2**53
    assert answer_seed(b"question", 0) != answer_seed(b"another", 0)


def test_temperature_zero_takes_the_likeliest_token(folder, opened, samples):
    """The answer is greedy decoding's, token by token by transformers."""
    greedy = ASK + "read: {score: '(.)', range: [0, 1], max_tokens: 3}\nunparsed: {reward: -1}"
    model = opened(greedy)

    (answer,) = answers_of(model, model.encode(samples[:1])).found[0]

    text, expected = text_of(samples[0]), []
    words, _ = log_probabilities(folder, text)
    ids = words(text, add_special_tokens=False)["input_ids"]
    network = transformers.AutoModelForCausalLM.from_pretrained(folder)
    for _ in range(3):
        with torch.inference_mode():
            expected.append(int(network(torch.tensor([ids + expected])).logits[0, -1].argmax()))
    assert answer.text == words.decode(expected, skip_special_tokens=True)
    assert answer.cut


def test_what_is_not_parsed_is_an_error_that_shows_the_answer(opened, samples):
    """By default; the prompt, the end of the answer and that it was cut are told."""
    model = opened(scored(3, "unparsed: error"))

    with pytest.raises(PartialScoringError) as caught:
        model.score(model.encode(samples))

    assert "no number from 0 to 9 by '([0-9])' in the answer (cut at max_tokens 3)" in str(
        caught.value
    )
    assert "response 0: " in str(caught.value)
    assert caught.value.goes_on


def test_the_share_of_unparsed_texts_is_bounded_over_the_pool(opened, samples):
    """Counted in the rewards themselves, so that stored scores count too."""
    allowed = opened(scored(3, "unparsed: {reward: -1, at_most: 0.5}"), load=False)
    rewards = np.array([-1.0, 3.0, 2.5, -1.0])
    strict = opened(scored(3, "unparsed: {reward: -1, at_most: 0.49}"), load=False)

    combined = allowed.combined(rewards, samples[:4])
    message = refusal(ScoringError, strict.combined, rewards, samples[:4])

    assert combined.rewards.tolist() == rewards.tolist()
    assert combined.warning == "2 of 4 texts (50.0%) have no parsed answer and the reward -1"
    assert "unparsed.at_most allows 49.0%" in message


def test_a_judge_that_rarely_writes_a_number_is_stopped_early(opened, samples):
    """Clearly more unparsed texts than allowed end the run before it is over."""
    never = ASK + "read: {score: '(zzzzz9)', range: [0, 9], max_tokens: 1}\nunparsed: "
    strict = opened(never + "{reward: -1, at_most: 0.05}")
    lax = opened(never + "{reward: -1, at_most: 1}")

    message = refusal(ScoringError, strict.score, strict.encode(samples))

    assert "8 of the 8 texts judged so far have no parsed answer" in message
    assert "unparsed.at_most allows 5.0%" in message
    assert lax.score(lax.encode(samples)).tolist() == [-1.0] * 8


def test_the_page_shows_an_answer_and_how_many_are_parsed(opened, samples):
    """With the share of texts that have none; a judge that never writes a number fails."""
    page = items(opened(scored(40)), samples)
    never = ASK + "read: {score: '(zzzzz9)', range: [0, 9], max_tokens: 2}\nunparsed: {reward: -1}"

    assert " of 32 answers have a number from 0 to 9" in page["parsed"].detail
    assert "the reward -1 (at most 100.0% of a pool)" in page["parsed"].detail
    assert page["batch_invariance"].status == "pass"
    assert "fail  parsed" in refusal(ConformanceError, items, opened(never), samples)
