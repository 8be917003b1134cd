"""The `fake:` policy, and what every policy owes its callers."""

from collections import Counter

import pytest

from rmcheck.errors import UnknownModelError, UsageError
from rmcheck.policies.policy import Decoding, response_seed
from rmcheck.policies.registry import open_policy


def test_canned_texts_are_equally_likely(prompts):
    """4000 draws of four texts: each within five standard deviations (137) of a thousand."""
    (responses,) = open_policy("fake:a|b||two%20words").sample(prompts[:1], 4000)
    counts = Counter(response.text for response in responses)

    assert set(counts) == {"a", "b", "", "two words"}
    assert all(abs(count - 1000) < 137 for count in counts.values())


def test_a_word_is_a_token(prompts):
    """A text over max_tokens is cut and says so."""
    ((response,),) = open_policy("fake:one two three").sample(
        prompts[:1], 1, decoding=Decoding(max_tokens=2)
    )

    assert (response.text, response.cut) == ("one two", True)


def test_no_texts_and_no_responses_are_refused(prompts):
    """A policy that can say nothing, and a request for nothing, are mistakes."""
    with pytest.raises(UnknownModelError, match="fake:TEXT"):
        open_policy("fake:")
    with pytest.raises(UsageError, match="n"):
        open_policy("fake:a").sample(prompts, 0)


def test_seeds_of_responses_do_not_collide():
    """Seed, prompt and index are told apart wherever one ends and the next begins."""
    seeds = {
        response_seed(seed, prompt, index)
        for seed in range(20)
        for prompt in ("1", "11", "1:1", "")
        for index in range(20)
    }

    assert len(seeds) == 20 * 4 * 20
