"""How often two answers of a judge order two responses oppositely."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.flips import VerdictFlips
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.rewards import Rewards


def rewards(answers):
    """Rewards of a judge with (answers, prompts, responses) numbers."""
    answers = np.asarray(answers, dtype=float)
    columns = {f"repeat {i}": each.tolist() for i, each in enumerate(answers, 1)}
    return Rewards.from_arrays(answers.mean(axis=0).tolist(), answers[0].tolist(), columns=columns)


def value(answers):
    """The metric on such rewards."""
    metric = VerdictFlips(repeats=len(answers))
    sums, _ = per_prompt_sums(metric, rewards(answers))
    return float(metric.value(sums.sum(axis=0)))


def test_by_hand():
    """Of three pairs one is turned around by the third answer, against two others: 2 of 3."""
    assert value([[[1, 2, 3]], [[1, 2, 3]], [[2, 1, 3]]]) == pytest.approx((2 / 3) / 3)
    assert value([[[1, 2]], [[2, 1]]]) == 1
    assert value([[[1, 1]], [[2, 1]]]) == 0


@given(seed=st.integers(0, 999), answers=st.integers(2, 4), n=st.integers(2, 5))
def test_it_is_what_two_loops_count(seed, answers, n):
    """Over pairs of answers and pairs of responses of every prompt."""
    given = np.random.default_rng(seed).integers(0, 4, (answers, 3, n))
    flips = [
        (a[p, i] - a[p, j]) * (b[p, i] - b[p, j]) < 0
        for a, b in combinations(given, 2)
        for p in range(3)
        for i, j in combinations(range(n), 2)
    ]

    assert value(given) == pytest.approx(np.mean(flips))


def test_a_model_that_is_asked_less_often_has_none():
    """The message says what to write."""
    with pytest.raises(
        UndefinedMetricError, match=r"needs a judge that is asked 3 times .* 2 times"
    ):
        VerdictFlips(repeats=3).require(rewards([[[1, 2]], [[2, 1]]]))
