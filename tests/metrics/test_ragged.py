"""Pools in which prompts have different numbers of responses."""

import numpy as np
import pytest

from rmcheck import Rewards, make_metric
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import per_prompt_sums


def pool(*sizes):
    """Prompts of these numbers of responses."""
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=size) for size in sizes]
    return Rewards.from_arrays(rows, [row + rng.normal(size=row.size) for row in rows])


@pytest.mark.parametrize("name", ["xi", "mrr", "ndcg"])
def test_a_metric_that_depends_on_n_refuses_very_different_n(name):
    """Four and eight responses are not averaged; the way out is named."""
    with pytest.raises(UndefinedMetricError, match=r"4 to 8 a prompt; set normalized: true"):
        per_prompt_sums(make_metric(name), pool(4, 8))


@pytest.mark.parametrize("name", ["xi", "mrr", "ndcg"])
def test_a_few_missing_responses_are_no_reason_to_refuse(name):
    """54 to 56 responses differ by less than a tenth."""
    sums, measured = per_prompt_sums(make_metric(name), pool(54, 55, 56, 56))

    assert measured.all()
    assert np.isfinite(sums).all()


@pytest.mark.parametrize("name", ["accuracy", "kendall", "ece"])
def test_other_metrics_take_any_n(name):
    """Each prompt gives what it has."""
    rewards = pool(2, 3, 9, 40)
    metric = make_metric(name).fitted(rewards)

    assert per_prompt_sums(metric, rewards)[1].all()


def test_prompts_with_too_few_responses_are_left_out_and_counted():
    """Best-of-8 rests on the prompts that have eight."""
    _, measured = per_prompt_sums(make_metric("bon_drop_ratio", n=8), pool(3, 8, 12))

    assert measured.tolist() == [False, True, True]
