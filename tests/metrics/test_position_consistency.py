"""Whether a judge says the same when the order of what it compares is turned around."""

import pytest

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.position import PositionConsistency
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards


def rewards(consistent, inconsistent, first):
    """Rewards of a judge that compared two responses of each prompt."""
    each = zip(consistent, inconsistent, first, strict=True)
    named = ("order consistent", "order inconsistent", "order first")
    columns = {name: [] for name in named}
    for row in each:
        for name, amount in zip(named, row, strict=True):
            columns[name].append([amount / 2, amount / 2])
    proxy = [[0.0, 1.0]] * len(consistent)
    return Rewards.from_arrays(proxy, proxy, columns=columns)


def test_by_hand():
    """Three of four pairs agree; where they do not, the first place won twice."""
    pool = rewards([1, 1, 1, 0] * 10, [0, 0, 0, 1] * 10, [0.5, 0.5, 0.5, 1] * 10)

    found = measure(PositionConsistency(), pool, sampling=Sampling(resamples=1000, seed=1))

    assert found.estimate.value == 0.75
    assert found.estimate.lower < 0.75 < found.estimate.upper
    assert found.facts["first_place_wins"] == 0.625


def test_a_model_that_does_not_compare_has_none():
    """And the message says what would."""
    pool = Rewards.from_arrays([[0.0, 1.0]], [[0.0, 1.0]])

    with pytest.raises(UndefinedMetricError, match="needs a judge that compares responses"):
        make_metric("position_consistency").require(pool)
