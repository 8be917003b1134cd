"""What responses look like, as numbers."""

from pathlib import Path

import numpy as np
import pytest

from rmcheck.pool.pool import Message, Pool, Prompt
from rmcheck.pool.traits import ResponseText, drawn_traits, traits_of


@pytest.mark.parametrize(
    ("text", "trait", "value"),
    [
        ("It's a plain answer", "words", 4),
        ("Certainly! Here it is", "stock opening", 1),
        ("It is certainly so", "stock opening", 0),
        ("Perhaps it may be so", "hedges per 100 words", 40),
        ("Unfortunately not", "apology", 1),
        ("I'm sorry, I can't help with that", "refusal", 1),
        ("One can't see it from here", "refusal", 0),
        ("one two three one two three", "repeated runs", 0.25),
        ("- one\n- two", "formatting per 100 words", 100),
        ("one two\n\n  | a |\n\n\n* two", "formatting per 100 words", 50),
        ("\n" * 50_000, "formatting per 100 words", 0),
        ("", "words", 0),
        ("", "hedges per 100 words", 0),
    ],
)
def test_traits_are_counted(text, trait, value):
    """By English words, in small letters; an empty text has none."""
    assert traits_of([ResponseText(text)])[trait][0] == pytest.approx(value)


def pool_of(responses, prompts):
    """Prompts of so many responses each, told apart by their numbers of words."""
    made = tuple(
        Prompt(
            prompt_id=str(i),
            messages=(Message("user", "?"),),
            responses=tuple("word " * (j + 1) for j in range(responses)),
            labels={"golden": tuple(map(float, range(responses)))},
        )
        for i in range(prompts)
    )
    return Pool(Path("pool.jsonl"), "native", made, (), prompts)


@pytest.mark.parametrize(
    ("most", "expected"), [(1000, 8 * 10), (40, 40), (12, 6 * 2)], ids=["all", "some", "few"]
)
def test_as_many_responses_are_read_as_time_allows(most, expected):
    """All of a small pool; else some of each prompt, and at least six of each that is taken."""
    drawn = drawn_traits(pool_of(10, 8), 0, most=most, least=6 if most == 12 else 2)

    assert drawn.places.size == expected
    assert (np.diff(drawn.places) > 0).all()
    assert drawn.traits["words"] == pytest.approx(drawn.places % 10 + 1)


def test_another_seed_draws_others():
    """And the same seed the same."""
    drawn = [drawn_traits(pool_of(10, 8), seed, most=40, least=2).places for seed in (0, 0, 1)]

    assert drawn[0].tolist() == drawn[1].tolist()
    assert drawn[0].tolist() != drawn[2].tolist()
