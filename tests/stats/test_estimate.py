"""What an estimate shows."""

from rmcheck.stats.estimate import Estimate


def test_an_estimate_shows_value_bounds_their_level_and_units():
    """With three digits; in a table a zero has no minus."""
    found = Estimate(-0.0001, -0.0126, 0.5, n=30, confidence=0.975)

    assert str(found) == "0.000 [-0.013, 0.500]"
    assert repr(found) == "Estimate(-0.000, 97.5% bounds [-0.013, 0.500], n=30)"
