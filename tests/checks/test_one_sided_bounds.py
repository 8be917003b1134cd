"""Bounds of an estimate, whatever resampling said."""

import numpy as np
import pytest

from rmcheck.checks.bounds import estimated, one_sided_bounds
from rmcheck.stats.bootstrap import BCa, SortedDraws

# Every resample lies above 0.
ABOVE = BCa(SortedDraws(np.linspace(1.0, 2.0, 101)), 0.0, 0.0, 1000)


@pytest.mark.parametrize(
    ("value", "low", "high"), [(0.0, 0, 1.95), (1.5, 1.05, 1.95), (3, 1.05, 3)]
)
def test_bounds_never_exclude_the_value(value, low, high):
    """Where all resamples lie on one side of it, the value is a bound itself."""
    assert one_sided_bounds(ABOVE, value, 0.95) == pytest.approx((low, high), abs=0.001)


@pytest.mark.parametrize(
    ("units", "concerns"),
    [(29, ("29 independent prompts, fewer than 30", "other")), (30, ("other",))],
)
def test_too_few_units_are_a_concern(units, concerns):
    """As many as are asked for are enough; what else is a concern stays one."""
    found = estimated(1.5, ABOVE, units, ("other",), confidence=0.95, min_units=30)

    assert found.concerns == concerns
